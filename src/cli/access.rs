//! As which agent a command acts, at which server, and what it shows there: flags, then the environment, then what
//! `atp login` has noted.

use clap::Args;
use serde_json::Value;

use super::error::CliError;
use super::found;
use super::http::{Client, Credential, Request};
use super::identities::{Identities, Identity};
use super::names;
use super::options::{HomeOptions, ServerOptions};
use super::prompt::Prompt;
use crate::proto::address::Address;
use crate::secret::Secret;

/// The agent as which a command acts; for commands that name it `--agent-id`.
#[derive(Args, Clone)]
pub(super) struct AgentOptions {
    /// The agent: NAME@DOMAIN, or a name at the server [default: the one logged in]
    #[arg(long, alias = "agent", env = "ATP_AGENT", value_name = "AGENT")]
    pub agent_id: Option<String>,
    #[command(flatten)]
    pub access: AccessOptions,
}

/// The same but for the agent's own flag.
#[derive(Args, Clone)]
pub(super) struct AccessOptions {
    /// Act as this identity, one that atp login has noted
    #[arg(long = "as", env = "ATP_AS", value_name = "NAME")]
    pub identity: Option<String>,
    #[command(flatten)]
    pub server: ServerOptions,
    /// The agent's password; asked for if there is a terminal and nobody has logged in
    #[arg(long, short = 'P', env = "ATP_PASSWORD", hide_env_values = true)]
    pub password: Option<Secret>,
    /// A token of the agent, in place of the password; better given in the environment, which others cannot see
    #[arg(long, env = "ATP_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<Secret>,
    #[command(flatten)]
    pub home: HomeOptions,
}

/// What a command needs to act as an agent.
pub(super) struct Access {
    /// A client of the agent's server.
    pub client: Client,
    /// The agent.
    pub agent: Address,
    /// What is shown with each request: see [`Request::authorize`].
    pub credential: Credential,
}

/// What somebody gave to be shown.
enum Given {
    Password(Secret),
    Token(Secret),
}

/// What a command is about, as far as flags, environment and the noted identities say it.
pub(super) struct Chosen {
    /// The server, and how far to trust it.
    pub server: ServerOptions,
    /// The name under which the identity is noted, and the identity. `None`: none is meant.
    pub identity: Option<(String, Identity)>,
}

impl AgentOptions {
    /// As [`AccessOptions::open`].
    pub async fn open(&self) -> Result<Access, CliError> {
        self.access.open(self.agent_id.as_deref()).await
    }

    /// As [`AccessOptions::open_as_owner`].
    pub async fn open_as_owner(&self) -> Result<Access, CliError> {
        self.access.open_as_owner(self.agent_id.as_deref()).await
    }
}

impl AccessOptions {
    /// For what a token is good for. `agent`: what the command's own flag says. Asks for a password if nothing else
    /// is given or noted.
    pub async fn open(&self, agent: Option<&str>) -> Result<Access, CliError> {
        let agent = named(agent);
        let Chosen { mut server, identity } = self.choose(agent)?;
        if !server.is_given() {
            found::name_server(&mut server, agent).await?;
        }
        let prompt = Prompt::new();
        let mut client = Client::new(&server, prompt)?;
        let noted = identity.as_ref().map(|(_, identity)| identity);
        let (address, credential) = match (self.given(), &identity) {
            (Some(Given::Token(token)), _) => with_token(&mut client, agent, noted, &token).await?,
            (None, Some((name, noted))) => {
                client.explain_unauthorized(format!("log in again: atp login --as {name}"));
                (names::parse(&noted.agent)?, Credential::bearer(&noted.token))
            }
            (given, _) => {
                let given = match given {
                    Some(Given::Password(password)) => Some(password),
                    _ => None,
                };
                let address = address_of(&mut client, agent, noted).await?;
                let password = prompt.password(given, &address.to_string())?;
                let credential = Credential::basic(&address, &password);
                (address, credential)
            }
        };
        Ok(Access { client, agent: address, credential })
    }

    /// For what only the password is good for. Asks for it unless it is given.
    pub async fn open_as_owner(&self, agent: Option<&str>) -> Result<Access, CliError> {
        let agent = named(agent);
        let Chosen { mut server, identity } = self.choose(agent)?;
        if !server.is_given() {
            found::name_server(&mut server, agent).await?;
        }
        let prompt = Prompt::new();
        let mut client = Client::new(&server, prompt)?;
        let noted = identity.as_ref().map(|(_, identity)| identity);
        let address = address_of(&mut client, agent, noted).await?;
        let password = prompt.password(self.password.clone(), &address.to_string());
        let password = password.map_err(|error| match noted {
            Some(_) => {
                CliError { message: format!("{}; a token is not enough for this", error.message), ..error }
            }
            None => error,
        })?;
        let credential = Credential::basic(&address, &password);
        Ok(Access { client, agent: address, credential })
    }

    /// Whether something is given to be shown, as opposed to noted.
    pub fn has_secret(&self) -> bool {
        self.password.is_some() || self.token.is_some()
    }

    /// Which server, and which of the identities that are noted, if any.
    pub fn choose(&self, agent: Option<&str>) -> Result<Chosen, CliError> {
        let identity = self.identity(agent)?;
        let mut server = self.server.clone();
        if let Some((_, noted)) = &identity {
            server.server = Some(noted.server.clone());
            server.no_verify |= noted.no_verify;
            server.ca = server.ca.or_else(|| noted.ca.clone());
        }
        Ok(Chosen { server, identity })
    }

    /// The identity meant. Its token never goes to another server than its own, nor is anything that was given for
    /// another agent taken for its.
    fn identity(&self, agent: Option<&str>) -> Result<Option<(String, Identity)>, CliError> {
        let owned = |(name, identity): (&str, &Identity)| (name.to_owned(), identity.clone());
        let server = named(self.server.server.as_deref());
        if let Some(name) = named(self.identity.as_deref()) {
            let all = Identities::read(&self.home.of_user()?)?;
            let (name, identity) = all.named(name)?;
            let differs = |what: &str, given: &str| {
                CliError::usage(format!(
                    "identity {name} is {}, not {given}; leave out {what}",
                    identity.agent
                ))
            };
            if let Some(agent) = agent.filter(|agent| !identity.is_agent(agent)) {
                return Err(differs("--as or the agent", agent));
            }
            if let Some(server) = server.filter(|server| !identity.is_at(server)) {
                return Err(differs("--as or --server", &format!("at {server}")));
            }
            return Ok(Some(owned((name, identity))));
        }
        let told_all = server.is_some() && agent.is_some() && self.has_secret();
        if told_all || (agent.is_none() && self.token.is_some()) {
            return Ok(None);
        }
        let Ok(home) = self.home.of_user() else { return Ok(None) };
        let all = Identities::read(&home)?;
        let fits = |identity: &Identity| {
            agent.is_none_or(|agent| identity.is_agent(agent))
                && server.is_none_or(|server| identity.is_at(server))
        };
        if let Some(current) = all.current().filter(|(_, identity)| fits(identity)) {
            return Ok(Some(owned(current)));
        }
        let Some(agent) = agent else { return Ok(None) };
        let mut fitting = all.iter().filter(|(_, identity)| fits(identity));
        match (fitting.next(), fitting.next()) {
            (Some(_), Some(_)) => {
                let text = format!("which {agent}? choose with --as; there are: {}", all.names());
                Err(CliError::usage(text))
            }
            (found, _) => Ok(found.map(owned)),
        }
    }

    fn given(&self) -> Option<Given> {
        let password = self.password.clone().map(Given::Password);
        let Some(token) = self.token.clone() else { return password };
        // What is on the command line wins over what is in the environment.
        let typed_password =
            self.password.as_ref().is_some_and(|password| !is_in_environment("ATP_PASSWORD", password));
        if typed_password && is_in_environment("ATP_TOKEN", &token) {
            return password;
        }
        Some(Given::Token(token))
    }
}

/// With an agent named, the server is made to check that the token is that agent's.
async fn with_token(
    client: &mut Client,
    agent: Option<&str>,
    noted: Option<&Identity>,
    token: &Secret,
) -> Result<(Address, Credential), CliError> {
    if agent.is_some() || noted.is_some() {
        let address = address_of(client, agent, noted).await?;
        let credential = Credential::basic(&address, token);
        return Ok((address, credential));
    }
    let credential = Credential::bearer(token);
    let me = client.call(Request::get("me").authorize(&credential)).await?.success()?;
    let agent = me.get("agent_id").and_then(Value::as_str);
    let agent = agent.ok_or_else(|| CliError::failed("the server does not say whose token it is"))?;
    Ok((names::parse(agent)?, credential))
}

async fn address_of(
    client: &mut Client,
    agent: Option<&str>,
    noted: Option<&Identity>,
) -> Result<Address, CliError> {
    match (noted, agent) {
        (Some(noted), _) => names::parse(&noted.agent),
        (None, Some(agent)) => names::complete(client, agent).await,
        (None, None) => Err(CliError::usage(MISSING)),
    }
}

/// What to do where nothing says which agent is meant.
const MISSING: &str = "which agent? name it with --agent-id (send: --from), or log in: atp login";

fn named(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn is_in_environment(variable: &str, secret: &Secret) -> bool {
    std::env::var(variable).is_ok_and(|value| secret.matches(&Secret::new(value)))
}
