//! `atp agent limits`

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::control;
use super::error::CliError;
use super::http::{Request, encoded};
use super::options::HomeOptions;
use super::output::{self, Output};
use super::queue::words::text;
use crate::config::{limits, rates};

/// `atp agent limits`
#[derive(Args)]
pub(super) struct Limits {
    /// The agent: NAME@DOMAIN, or a name if this machine serves one domain; postmaster, abuse and security too
    name: String,
    /// How long its messages stay after they were acknowledged: a time such as 7d, never, or default
    #[arg(long, env = "ATP_KEEP_ACKNOWLEDGED", value_name = "TIME", value_parser = keep)]
    keep_acknowledged: Option<String>,
    /// How long its messages stay that nobody acknowledges: a time such as 30d, never, or default
    #[arg(long, env = "ATP_KEEP_UNREAD", value_name = "TIME", value_parser = keep)]
    keep_unread: Option<String>,
    /// How many bytes of messages its mailbox takes: a size such as 10GiB, unlimited, or default
    #[arg(long, env = "ATP_QUOTA", value_name = "SIZE", value_parser = quota)]
    quota: Option<String>,
    /// How much it may send, counted by recipient: rates such as "60/m 1000/h 10000/d", unlimited, or default
    #[arg(long, env = "ATP_RATE", value_name = "RATES", value_parser = rate)]
    rate: Option<String>,
    /// To how many addresses elsewhere that are new to it it may write: such as 500/d, unlimited, or default
    #[arg(long, env = "ATP_NEW_RECIPIENTS", value_name = "RATE", value_parser = daily)]
    new_recipients: Option<String>,
    #[command(flatten)]
    home: HomeOptions,
}

fn keep(text: &str) -> Result<String, String> {
    if text == "default" { Ok(text.into()) } else { limits::keep(text).map(|_| text.into()) }
}

fn quota(text: &str) -> Result<String, String> {
    if text == "default" { Ok(text.into()) } else { limits::quota(text).map(|_| text.into()) }
}

fn rate(text: &str) -> Result<String, String> {
    if text == "default" { Ok(text.into()) } else { rates::parse(text).map(|_| text.into()) }
}

fn daily(text: &str) -> Result<String, String> {
    if text == "default" { Ok(text.into()) } else { rates::parse_daily(text).map(|_| text.into()) }
}

impl Limits {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let home = self.home.home()?;
        let agent = control::address(&home, &self.name)?;
        let mut client = control::client(&home, agent.domain())?;
        let path = format!("admin/agents/{}/limits", encoded(&agent.to_string()));
        let changes = [
            ("keep_acknowledged", &self.keep_acknowledged),
            ("keep_unread", &self.keep_unread),
            ("quota", &self.quota),
            ("rate", &self.rate),
            ("new_recipients", &self.new_recipients),
        ];
        let changes: Vec<_> =
            changes.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        let request = match changes.is_empty() {
            true => Request::get(&path),
            false => changes
                .into_iter()
                .fold(Request::command(&path), |request, (name, value)| request.query(name, value)),
        };
        let reply = client.call(request).await?.success()?;
        if output.is_json() {
            return output::print_json(&reply);
        }
        let number = |name: &str| reply.get(name).and_then(Value::as_u64);
        let time = |name| limits::print_keep(number(name).map(Duration::from_secs));
        let today = |name| number(name).map_or_else(String::new, |count| format!(" ({count} today)"));
        let lines = [
            format!("Mailbox:            {agent}"),
            format!("Holds:              {} bytes of messages", number("bytes").unwrap_or_default()),
            format!("Quota:              {}", limits::print_quota(number("quota"))),
            format!("Keep acknowledged:  {}", time("keep_acknowledged")),
            format!("Keep unread:        {}", time("keep_unread")),
            format!("May send:           {}{}", text(&reply, "rate"), today("sent_today")),
            format!(
                "New recipients:     {}{}",
                text(&reply, "new_recipients"),
                today("new_recipients_today")
            ),
        ];
        output::print(&lines.join("\n"))
    }
}
