//! `atp recv`: reading a mailbox, once or for as long as messages come.

use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use tokio::time::Instant;

use self::choice::Conditions;
use self::mailbox::{Mailbox, Place};
use self::page::Page;
use super::access::{Access, AccessOptions};
use super::control;
use super::error::CliError;
use super::http::{Client, Request};
use super::output::{self, Output};
use crate::proto::address::{Address, OPERATOR_MAILBOXES};
use crate::proto::limits::DEFAULT_PAGE;

mod choice;
mod follow;
mod mailbox;
mod page;

pub(super) use page::payload_text;

/// Receive messages.
#[derive(Args)]
pub(super) struct Recv {
    /// The agent: NAME@DOMAIN, or a name at the server [default: the one logged in]; postmaster@, abuse@ and
    /// security@ of a server on this machine need no password
    #[arg(long, alias = "agent", env = "ATP_AGENT", value_name = "AGENT")]
    agent_id: Option<String>,
    #[command(flatten)]
    access: AccessOptions,
    /// Wait until there are messages
    #[arg(long, env = "ATP_WAIT", value_parser = FalseyValueParser::new())]
    wait: bool,
    /// How long --wait waits, in seconds
    #[arg(long, env = "ATP_TIMEOUT", value_name = "SECS", default_value_t = 30)]
    timeout: u32,
    /// Print each message as it comes, until stopped; json is one object a line, with message and received
    #[arg(long, env = "ATP_FOLLOW", value_parser = FalseyValueParser::new())]
    follow: bool,
    /// Most messages to receive; with --follow, at a time
    #[arg(long, env = "ATP_LIMIT", value_name = "N", default_value_t = DEFAULT_PAGE)]
    limit: usize,
    /// Only messages after this one: its cursor, as recv shows it
    #[arg(long, env = "ATP_AFTER", value_name = "CURSOR", value_parser = super::mailbox::cursor)]
    after: Option<u64>,
    /// Only messages that come from now on; for --wait and --follow
    #[arg(long, env = "ATP_NEW", value_parser = FalseyValueParser::new(), conflicts_with = "after")]
    new: bool,
    /// In json, print objects with message and received, which says how the message came, and its cursor
    #[arg(long, env = "ATP_RECEIVED", value_parser = FalseyValueParser::new())]
    received: bool,
    #[command(flatten)]
    conditions: Conditions,
}

impl Recv {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let mut mailbox = match self.operators_mailbox() {
            Some(name) => self.as_operator(name)?,
            None => self.as_agent().await?,
        };
        if self.follow {
            return follow::follow(mailbox, output.is_json_unless_terminal()).await;
        }
        let deadline = Instant::now() + Duration::from_secs(self.timeout.into());
        let left = || if self.wait { deadline.duration_since(Instant::now()) } else { Duration::ZERO };
        let mut page = mailbox.next(left()).await?;
        while page.messages.is_empty() && (page.more || !left().is_zero()) {
            page = mailbox.next(left()).await?;
        }
        self.print(&page, output)
    }

    fn operators_mailbox(&self) -> Option<&str> {
        let name = self.agent_id.as_deref()?;
        let local = name.split('@').next().unwrap_or_default();
        OPERATOR_MAILBOXES.iter().any(|mailbox| mailbox.eq_ignore_ascii_case(local)).then_some(name)
    }

    fn as_operator(&self, name: &str) -> Result<Mailbox, CliError> {
        let home = self.access.home.home()?;
        let owner = control::address(&home, name)?;
        let request = Request::get("admin/messages").query("agent", &owner.to_string());
        self.mailbox(control::client(&home, owner.domain())?, owner, request)
    }

    async fn as_agent(&self) -> Result<Mailbox, CliError> {
        let Access { client, agent, credential } = self.access.open(self.agent_id.as_deref()).await?;
        self.mailbox(client, agent, Request::get("messages").authorize(&credential))
    }

    fn mailbox(&self, client: Client, owner: Address, request: Request) -> Result<Mailbox, CliError> {
        let place = match self.after {
            _ if self.new => Place::End,
            Some(cursor) => Place::Behind(cursor),
            None => Place::Beginning,
        };
        let (request, filter) = (self.conditions.put(request), self.conditions.filter()?);
        Ok(Mailbox { client, request, owner, filter, limit: self.limit, place })
    }

    fn print(&self, page: &Page, output: &Output) -> Result<(), CliError> {
        if output.is_json_unless_terminal() {
            if self.received {
                output::print_json(&page.full().collect::<Vec<_>>())?;
            } else {
                output::print_json(&page.messages)?;
            }
        } else if page.messages.is_empty() {
            output::print("No messages.")?;
        } else {
            output::print(&page.text())?;
        }
        if let (true, Some(id)) = (page.more, page.last_id) {
            eprintln!("atp: there are more messages; go on with --after {id}");
        }
        Ok(())
    }
}
