//! One line: an object with one member that says what it is about.

use serde::{Deserialize, Serialize};

use super::MAX_LINE_BYTES;
use crate::proto::address::{Address, Domain};

pub mod agent;
pub mod hex;
pub mod message;
pub mod submission;

use agent::{Agent, Limits, Reserved, Token, Webhook};
use message::Message;
use submission::{Identity, Submission};

/// What lines may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Accounts, with their hashed passwords, and names that are kept from others.
    Agents,
    /// Their tokens, hashed.
    Tokens,
    /// What the operator has set for their mailboxes.
    Limits,
    /// Where their messages are pushed to.
    Webhooks,
    /// What is remembered of messages that have ended, so that nothing is delivered or sent twice.
    Remembered,
    /// The messages in their mailboxes.
    Mail,
    /// Submissions that are still under way.
    Queue,
}

impl What {
    /// Everything, in the order in which it is written.
    pub const ALL: [What; 7] = [
        What::Agents,
        What::Tokens,
        What::Limits,
        What::Webhooks,
        // Before the mail, so that nothing can come twice meanwhile.
        What::Remembered,
        What::Mail,
        What::Queue,
    ];

    /// As the command line has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            What::Agents => "agents",
            What::Tokens => "tokens",
            What::Limits => "limits",
            What::Webhooks => "webhooks",
            What::Remembered => "remembered",
            What::Mail => "mail",
            What::Queue => "queue",
        }
    }

    /// Reads what [`What::as_str`] writes. `None`: it is something else.
    pub fn parse(text: &str) -> Option<What> {
        What::ALL.into_iter().find(|what| what.as_str() == text)
    }
}

/// A line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Line {
    /// The first of a file: which form the others have.
    Export(Export),
    /// An account.
    Agent(Agent),
    /// A token.
    Token(Token),
    /// Limits of a mailbox.
    Limits(Limits),
    /// A webhook.
    Webhook(Webhook),
    /// A name that is kept from others.
    Reserved(Reserved),
    /// A message that was delivered from elsewhere.
    Received(Identity),
    /// A message in a mailbox.
    Message(Box<Message>),
    /// A submission that is under way, or is remembered.
    Submission(Box<Submission>),
}

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    /// The form.
    pub version: u32,
    /// The program that wrote it.
    pub program: String,
}

/// What the parser says, without the names of our types.
fn plain(said: &str) -> String {
    match said.split_once("expected struct ") {
        Some((before, after)) => {
            let place = after.find(" at line ").and_then(|at| after.get(at..)).unwrap_or_default();
            format!("{before}expected an object{place}")
        }
        None => said.to_owned(),
    }
}

impl Line {
    /// Reads a line, which must be about agents of one of these domains.
    ///
    /// # Errors
    /// Why it is none, in one sentence.
    pub fn parse(bytes: &[u8], domains: &[Domain]) -> Result<Line, String> {
        if bytes.len() > MAX_LINE_BYTES {
            return Err("the line is too long".into());
        }
        let line: Line = serde_json::from_slice(bytes).map_err(|error| plain(&error.to_string()))?;
        match line.about().map(Address::domain) {
            Some(domain) if !domains.contains(domain) => Err(format!("{domain} is not served here")),
            _ => Ok(line),
        }
    }

    /// Whose it is. `None`: nobody's.
    fn about(&self) -> Option<&Address> {
        match self {
            Line::Export(_) => None,
            Line::Agent(agent) => Some(&agent.address),
            Line::Token(token) => Some(&token.agent),
            Line::Limits(limits) => Some(&limits.agent),
            Line::Webhook(webhook) => Some(&webhook.agent),
            Line::Reserved(name) => Some(&name.address),
            Line::Received(identity) => Some(&identity.recipient),
            Line::Message(message) => Some(&message.agent),
            Line::Submission(submission) => Some(&submission.from),
        }
    }
}
