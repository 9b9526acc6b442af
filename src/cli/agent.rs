//! `atp agent register`, `list` and `remove`; `limits`, `password` and `token` have files of their own

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::control;
use super::error::CliError;
use super::http::{Client, Request, encoded};
use super::options::{AdminOptions, HomeOptions, NO_SERVER, ServerOptions};
use super::output::{self, Output};
use super::password::Password;
use super::prompt::Prompt;
use super::token::Token;
use crate::proto::address::Domain;
use crate::secret::Secret;

/// Register, list and remove agents; change their passwords and tokens.
#[derive(Subcommand)]
pub(super) enum Agent {
    /// Register an agent at a server; at that of this machine, if --server names no other
    Register(Register),
    /// List the agents of a server, likewise
    List(List),
    /// Show or set how much a mailbox keeps and an agent may send, at a server on this machine
    Limits(super::limits::Limits),
    /// Remove an agent of a server on this machine
    Remove(Remove),
    /// Change an agent's password
    Password(Password),
    /// Make, list and end tokens, which programs use in place of the password
    #[command(subcommand)]
    Token(Token),
}

/// `atp agent register`
#[derive(Args)]
pub(super) struct Register {
    /// The agent: a name, or NAME@DOMAIN
    name: String,
    #[command(flatten)]
    server: ServerOptions,
    /// The agent's password; asked for if there is a terminal
    #[arg(long, short, env = "ATP_PASSWORD", hide_env_values = true)]
    password: Option<Secret>,
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    home: HomeOptions,
}

/// `atp agent list`
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    server: ServerOptions,
    #[command(flatten)]
    admin: AdminOptions,
    #[command(flatten)]
    home: HomeOptions,
}

/// `atp agent remove`
#[derive(Args)]
pub(super) struct Remove {
    /// The agent: NAME@DOMAIN, or a name if this machine serves one domain
    name: String,
    /// Let anyone have the name at once, instead of after 30 days; also after it was removed
    #[arg(long, env = "ATP_RELEASE", value_parser = FalseyValueParser::new())]
    release: bool,
    #[command(flatten)]
    home: HomeOptions,
}

impl Agent {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        match self {
            Agent::Register(register) => register.run(output).await,
            Agent::List(list) => list.run(output).await,
            Agent::Limits(limits) => limits.run(output).await,
            Agent::Remove(remove) => remove.run(output).await,
            Agent::Password(password) => password.run(output).await,
            Agent::Token(token) => token.run(output).await,
        }
    }
}

/// The server that is named, else the one on this machine, whose operator needs no token.
fn near_or_named(
    server: &ServerOptions,
    home: &HomeOptions,
    domain: Option<&Domain>,
    prompt: Prompt,
) -> Result<Client, CliError> {
    if server.is_given() {
        return Client::new(server, prompt);
    }
    control::client_of(&home.home()?, domain).map_err(|_| CliError::usage(NO_SERVER))
}

impl Register {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let prompt = Prompt::new();
        let domain = self.name.split_once('@').and_then(|(_, domain)| Domain::parse(domain).ok());
        let mut client = near_or_named(&self.server, &self.home, domain.as_ref(), prompt)?;
        let password = prompt.new_password(self.password, &self.name)?;
        // A short name goes as it is: the server knows its domain, and its rules for names.
        let body = json!({ "agent_id": self.name, "password": password.expose() });
        let mut request = Request::post("register", "application/json", body.to_string());
        if let Some(token) = &self.admin.admin_token {
            request = request.bearer(token);
        }
        let reply = client.call(request).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let agent = reply.get("agent_id").and_then(Value::as_str).unwrap_or(&self.name);
        output::print(&format!("Agent registered: {}", output::one_line(agent)))
    }
}

impl List {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let mut client = near_or_named(&self.server, &self.home, None, Prompt::new())?;
        let mut request = Request::get("agents");
        if self.server.is_given() {
            request = request.bearer(self.admin.token()?);
        }
        let reply = client.call(request).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let agents: Vec<_> = reply.get("agents").and_then(Value::as_array).into_iter().flatten().collect();
        let lines: Vec<_> = agents.iter().filter_map(|agent| agent.as_str()).map(output::one_line).collect();
        output::print(
            if lines.is_empty() { "No agents registered.".into() } else { lines.join("\n") }.as_str(),
        )
    }
}

impl Remove {
    async fn run(self, output: &Output) -> Result<(), CliError> {
        let home = self.home.home()?;
        let agent = control::address(&home, &self.name)?;
        let mut client = control::client(&home, agent.domain())?;
        let mut request = Request::delete(&format!("admin/agents/{}", encoded(&agent.to_string())));
        if self.release {
            request = request.query("release", "true");
        }
        let reply = client.call(request).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let released = reply.get("status").and_then(Value::as_str) == Some("released");
        output::print(&format!("{}: {agent}", if released { "Name released" } else { "Agent removed" }))
    }
}
