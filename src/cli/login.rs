//! `atp login`, `use`, `whoami` and `logout`: who the user of this machine is.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::access::{Access, AgentOptions, Chosen};
use super::error::CliError;
use super::found;
use super::http::{Client, Credential, Request, encoded};
use super::identities::{Identities, Identity};
use super::options::{HomeOptions, ServerOptions};
use super::output::{self, Output};
use super::prompt::Prompt;
use super::token::{self, Wanted};
use crate::env::rng::{SystemRng, hex};
use crate::proto::address::Address;
use crate::proto::calendar::Calendar;
use crate::proto::time::UnixMillis;
use crate::secret::Secret;

/// Characters of the machine's name that stand in a token's.
const MAX_MACHINE_CHARS: usize = 40;
/// Dice behind the machine's name, in bytes: two users of a machine may be the same agent.
const NAME_BYTES: usize = 3;

/// Note on this machine who you are: the password makes a token, which is kept in a file that only you can read.
#[derive(Args)]
pub(super) struct Login {
    #[command(flatten)]
    agent: AgentOptions,
    /// What to call the token at the server [default: the machine's name and some digits]
    #[arg(long, env = "ATP_TOKEN_NAME", value_name = "NAME")]
    token_name: Option<String>,
    #[command(flatten)]
    wanted: Wanted,
}

/// Choose the identity that commands act as.
#[derive(Args)]
pub(super) struct Use {
    /// Its name, or the agent's; without it all are listed
    name: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
}

/// Show as which agent commands act.
#[derive(Args)]
pub(super) struct Whoami {
    #[command(flatten)]
    agent: AgentOptions,
}

/// Forget an identity and end its token.
#[derive(Args)]
pub(super) struct Logout {
    /// The identity's name, or the agent's [default: the current one]
    name: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
}

impl Login {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let access = &self.agent.access;
        let home = access.home.of_user()?;
        // Told now rather than after a token has been made.
        let before = Identities::read(&home)?;
        let known = access.identity.as_deref().is_some_and(|name| before.named(name).is_ok());
        let mut options = self.agent.clone();
        if !known {
            // It is what the new one is to be called.
            options.access.identity = None;
        }
        let Chosen { mut server, identity } = options.access.choose(options.agent_id.as_deref())?;
        if !server.is_given() {
            found::name_server(&mut server, options.agent_id.as_deref()).await?;
            options.access.server = server.clone();
        }
        let (new, agent) = match &access.token {
            Some(token) => {
                let Access { agent, .. } = options.open().await?;
                (noted(&server, &agent, token.clone(), None)?, agent)
            }
            None => {
                let Access { mut client, agent, credential } = options.open_as_owner().await?;
                let name = self.token_name.clone().unwrap_or_else(machines_name);
                let made = token::make(&mut client, &credential, &name, &self.wanted).await?;
                let token = made.get("token").and_then(Value::as_str);
                let token =
                    token.ok_or_else(|| CliError::failed("the server's answer has no token in it"))?;
                (noted(&server, &agent, token.into(), Some(name))?, agent)
            }
        };
        let name = match (&access.identity, identity) {
            (Some(name), _) if !known => name.clone(),
            (_, Some((name, _))) => name,
            (_, None) => agent.to_string(),
        };
        let replaced = Identities::change(&home, |all| all.put(&name, new.clone())).await?;
        if let Some(old) = replaced {
            // By itself, so that no password is needed.
            let _ = end(&old).await;
        }
        let answer = json!({ "identity": name, "agent_id": agent.to_string(), "server": new.server });
        if output.is_json() {
            return output::print_json(&answer);
        }
        output::print(&format!("Logged in as {agent} at {}, identity {name}.", new.place()))
    }
}

fn noted(
    server: &ServerOptions,
    agent: &Address,
    token: Secret,
    token_name: Option<String>,
) -> Result<Identity, CliError> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(CliError::failed);
    Ok(Identity {
        agent: agent.to_string(),
        server: server.server()?.to_owned(),
        token,
        token_name,
        no_verify: server.no_verify,
        ca: server.ca.as_ref().map(absolute).transpose()?,
    })
}

/// Ends the token of an identity at its server. One that was made elsewhere is left alone.
async fn end(identity: &Identity) -> Result<(), CliError> {
    let Some(name) = &identity.token_name else { return Ok(()) };
    let Identity { server, no_verify, ca, .. } = identity.clone();
    let mut client =
        Client::new(&ServerOptions { server: Some(server), no_verify, ca, is_found: false }, Prompt::new())?;
    let request = Request::delete(&format!("me/tokens/{}", encoded(name)));
    let reply = client.call(request.authorize(&Credential::bearer(&identity.token))).await?;
    // Whose token is worth nothing any more has none to end.
    if reply.status == 401 { Ok(()) } else { reply.success().map(drop) }
}

/// A name for this machine's token: fit for the server, and not another's.
fn machines_name() -> String {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let fit: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let fit: String = fit.trim_matches('-').chars().take(MAX_MACHINE_CHARS).collect();
    let machine = if fit.is_empty() { "machine" } else { &fit };
    format!("{machine}-{}", hex(&SystemRng, NAME_BYTES))
}

impl Use {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let home = self.home.of_user()?;
        let Some(wanted) = &self.name else { return list(&Identities::read(&home)?, output) };
        let choose = |all: &mut Identities| {
            let (name, identity) = all.named(wanted)?;
            let (name, agent) = (name.to_owned(), identity.agent.clone());
            all.current = Some(name.clone());
            Ok((name, agent))
        };
        let (name, agent) = Identities::change(&home, choose).await?;
        if output.is_json() {
            return output::print_json(&json!({ "identity": name, "agent_id": agent }));
        }
        output::print(&format!("Commands act as {agent} (identity {name})."))
    }
}

fn list(all: &Identities, output: &Output) -> Result<(), CliError> {
    let current = all.current().map(|(name, _)| name);
    if output.is_json() {
        let described = |(name, identity): (&str, &Identity)| {
            json!({ "identity": name, "agent_id": identity.agent, "server": identity.server,
                    "current": current == Some(name) })
        };
        return output::print_json(&all.iter().map(described).collect::<Vec<_>>());
    }
    let lines = all.iter().map(|(name, identity)| {
        let mark = if current == Some(name) { '*' } else { ' ' };
        format!("{mark} {name}  {} at {}", identity.agent, identity.place())
    });
    let lines: Vec<_> = lines.map(|line| output::one_line(&line)).collect();
    output::print(&if lines.is_empty() { "Nobody has logged in.".into() } else { lines.join("\n") })
}

impl Whoami {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let Chosen { identity, .. } = self.agent.access.choose(self.agent.agent_id.as_deref())?;
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let mut me = client.call(Request::get("me").authorize(&credential)).await?.success()?;
        if let Some(members) = me.as_object_mut() {
            members.insert("identity".into(), json!(identity.as_ref().map(|(name, _)| name)));
            members.insert("server".into(), json!(client.authority()));
        }
        if output.is_json() {
            return output::print_json(&me);
        }
        output::print(&who(&me))
    }
}

fn who(me: &Value) -> String {
    let text = |name| me.get(name).and_then(Value::as_str).map(output::one_line);
    let date = |seconds| Calendar::from(UnixMillis::from_seconds(seconds)).to_string();
    let lines = [
        ("Agent", text("agent_id")),
        ("Server", text("server")),
        ("Identity", text("identity")),
        ("Token", text("token")),
        ("Scope", text("scope")),
        ("Expires", me.get("expires_at").and_then(Value::as_i64).map(date)),
    ];
    let known = lines.into_iter().filter_map(|(label, value)| Some((label, value?)));
    known.fold(String::new(), |mut out, (label, value)| {
        let _ = writeln!(out, "{:<10}{value}", format!("{label}:"));
        out
    })
}

impl Logout {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let home = self.home.of_user()?;
        let forget = |all: &mut Identities| {
            let name = match &self.name {
                Some(name) => all.named(name)?.0.to_owned(),
                None => match all.current() {
                    Some((name, _)) => name.to_owned(),
                    None => return Err(CliError::usage("log out of what? atp use lists the identities")),
                },
            };
            let identity = all.remove(&name);
            Ok((name, identity))
        };
        let (name, identity) = Identities::change(&home, forget).await?;
        let Some(identity) = identity else { return Ok(()) };
        if let Err(error) = end(&identity).await {
            let token = identity.token_name.unwrap_or_default();
            return Err(CliError::failed(format!(
                "{name} is forgotten here, but its token was not ended: {}; atp agent token revoke {token} does that",
                error.message
            )));
        }
        if output.is_json() {
            return output::print_json(&json!({ "identity": name, "status": "logged out" }));
        }
        output::print(&format!("Logged out of {name}."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_name_is_fit_for_a_token() {
        let name = machines_name();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{name}");
        assert!(name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 64, "{name}");
        assert_ne!(name, machines_name());
    }

    #[test]
    fn who_one_is_is_told_as_far_as_it_is_known() {
        let me = json!({ "agent_id": "bot@a.test", "scope": "owner", "token": null, "expires_at": null,
                         "server": "a.test:7443", "identity": null });
        assert_eq!(who(&me), "Agent:    bot@a.test\nServer:   a.test:7443\nScope:    owner\n");
    }
}
