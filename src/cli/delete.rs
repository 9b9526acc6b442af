//! `atp delete`

use clap::Args;
use serde_json::{Value, json};

use super::access::{Access, AgentOptions};
use super::error::CliError;
use super::http::Request;
use super::mailbox::cursor;
use super::output::{self, Output};

/// Delete messages of a mailbox, for good.
#[derive(Args)]
pub(super) struct Delete {
    /// The messages, by their cursors, as recv shows them: 17 or #17
    #[arg(value_name = "CURSOR", required_unless_present = "through", value_parser = cursor)]
    cursors: Vec<u64>,
    /// Instead: every message up to this one, itself included
    #[arg(long, env = "ATP_THROUGH", value_name = "CURSOR", conflicts_with = "cursors", value_parser = cursor)]
    through: Option<u64>,
    #[command(flatten)]
    agent: AgentOptions,
}

/// What was done so far.
#[derive(Default)]
struct Tally {
    deleted: u64,
    absent: u64,
    held: u64,
}

impl Delete {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let Access { mut client, credential, .. } = self.agent.open().await?;
        let mut tally = Tally::default();
        for cursor in &self.cursors {
            let request = Request::delete(&format!("me/messages/{cursor}")).authorize(&credential);
            let reply = client.call(request).await?.success();
            let reply = reply.map_err(|error| tally.broken_off(*cursor, error))?;
            match reply.get("status").and_then(Value::as_str) {
                Some("deleted") => tally.deleted += 1,
                _ => tally.absent += 1,
            }
        }
        let mut after = self.through.map(|_| 0);
        while let (Some(from), Some(through)) = (after, self.through) {
            let request = Request::delete("me/messages").authorize(&credential);
            let request = request.query("through", &through.to_string()).query("after_id", &from.to_string());
            let reply = client.call(request).await?.success()?;
            let number = |name| reply.get(name).and_then(Value::as_u64);
            tally.deleted += number("deleted").unwrap_or_default();
            tally.held += number("held").unwrap_or_default();
            // It must go on, or a server that does not would be asked for ever.
            after = number("next").filter(|next| *next > from);
        }
        tally.print(output)
    }
}

impl Tally {
    /// What went wrong, where, and what had been done before.
    fn broken_off(&self, cursor: u64, error: CliError) -> CliError {
        let before = match self.deleted {
            0 => String::new(),
            deleted => format!("; {deleted} deleted before it"),
        };
        CliError { message: format!("message {cursor}: {}{before}", error.message), ..error }
    }

    fn print(&self, output: &Output) -> Result<(), CliError> {
        let Tally { deleted, absent, held } = self;
        if output.is_json() {
            return output::print_json(&json!({ "deleted": deleted, "absent": absent, "held": held }));
        }
        let mut text = match deleted {
            1 => "1 message deleted.".to_owned(),
            _ => format!("{deleted} messages deleted."),
        };
        if *absent > 0 {
            text += &format!(" {absent} were not there.");
        }
        if *held > 0 {
            text += &format!(" {held} stay: workers have them in hand.");
        }
        output::print(&text)
    }
}
