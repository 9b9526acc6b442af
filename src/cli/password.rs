//! `atp agent password`

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::control;
use super::error::CliError;
use super::http::{Request, encoded};
use super::options::HomeOptions;
use super::output::{self, Output};
use super::prompt::Prompt;
use crate::secret::Secret;

/// Change an agent's password.
#[derive(Args)]
pub(super) struct Password {
    /// With --reset: the agent, NAME@DOMAIN, or a name if this machine serves one domain
    #[arg(value_name = "AGENT", requires = "reset")]
    of: Option<String>,
    /// As the operator of a server on this machine: without the old password; ends all tokens
    #[arg(long, env = "ATP_RESET", value_parser = FalseyValueParser::new(), requires = "of")]
    reset: bool,
    #[command(flatten)]
    agent: AgentOptions,
    /// The new password; asked for if there is a terminal
    #[arg(long, env = "ATP_NEW_PASSWORD", hide_env_values = true)]
    new_password: Option<Secret>,
    /// End all tokens too, as after somebody else has had the password
    #[arg(long, env = "ATP_REVOKE_TOKENS", value_parser = FalseyValueParser::new())]
    revoke_tokens: bool,
}

impl Password {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        if let (true, Some(agent)) = (self.reset, &self.of) {
            return reset(&self.agent.access.home, agent, self.new_password, output).await;
        }
        let Access { mut client, agent, credential } = self.agent.open_as_owner().await?;
        let new = Prompt::new().new_password(self.new_password, &agent.to_string())?;
        let body = json!({ "password": new.expose(), "revoke_tokens": self.revoke_tokens });
        let request = Request::post("me/password", "application/json", body.to_string());
        let reply = client.call(request.authorize(&credential)).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        output::print(&format!("Password changed: {agent}"))?;
        if let Some(left @ 1..) = reply.get("tokens").and_then(Value::as_u64) {
            eprintln!("atp: {left} tokens go on working; --revoke-tokens ends them with the password");
        }
        Ok(())
    }
}

/// At the operator's word, over the control socket.
async fn reset(
    home: &HomeOptions,
    agent: &str,
    new: Option<Secret>,
    output: &Output,
) -> Result<(), CliError> {
    let home = home.home()?;
    let agent = control::address(&home, agent)?;
    let mut client = control::client(&home, agent.domain())?;
    let new = Prompt::new().new_password(new, &agent.to_string())?;
    let path = format!("admin/agents/{}/password", encoded(&agent.to_string()));
    let body = json!({ "password": new.expose() }).to_string();
    let reply = client.call(Request::post(&path, "application/json", body)).await?.success()?;
    if output.is_json() {
        return output::print_json(&reply);
    }
    output::print(&format!("Password reset: {agent}; all of its tokens have ended"))
}
