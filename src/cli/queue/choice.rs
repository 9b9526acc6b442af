//! Which rows a command is about.

use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use crate::cli::error::CliError;
use crate::cli::http::Request;
use crate::config::units::parse_time;
use crate::proto::address::{Address, Domain};
use crate::proto::nonce::Nonce;

/// Conditions on rows.
#[derive(Args, Clone)]
pub(super) struct Filter {
    /// To this domain
    #[arg(long, env = "ATP_QUEUE_TO_DOMAIN", value_name = "DOMAIN", value_parser = Domain::parse)]
    to_domain: Option<Domain>,
    /// From this agent
    #[arg(long, env = "ATP_QUEUE_FROM", value_name = "ADDRESS", value_parser = Address::parse)]
    from: Option<Address>,
    /// Accepted longer ago than this, such as 30m, 2h or 1d
    #[arg(long, env = "ATP_QUEUE_OLDER_THAN", value_name = "TIME", value_parser = parse_time)]
    older_than: Option<Duration>,
    /// In this state
    #[arg(long, env = "ATP_QUEUE_STATE", value_enum)]
    state: Option<State>,
    /// Whose latest attempt ended with this in its code or text, whatever the case
    #[arg(long, env = "ATP_QUEUE_ERROR", value_name = "TEXT")]
    error: Option<String>,
}

/// A state of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Queued,
    Delivering,
    Held,
}

impl Filter {
    fn is_empty(&self) -> bool {
        let Filter { to_domain, from, older_than, state, error } = self;
        to_domain.is_none() && from.is_none() && older_than.is_none() && state.is_none() && error.is_none()
    }

    /// A request about rows that meet the conditions.
    pub(super) fn put(&self, mut request: Request) -> Request {
        let state = self.state.map(|state| match state {
            State::Queued => "queued",
            State::Delivering => "delivering",
            State::Held => "held",
        });
        let conditions = [
            ("to_domain", self.to_domain.as_ref().map(Domain::to_string)),
            ("from", self.from.as_ref().map(Address::to_string)),
            ("older_than", self.older_than.map(|age| age.as_secs().to_string())),
            ("state", state.map(str::to_owned)),
            ("error", self.error.clone()),
        ];
        for (name, value) in conditions {
            if let Some(value) = value {
                request = request.query(name, &value);
            }
        }
        request
    }
}

/// Rows that something is to be done to.
#[derive(Args)]
pub(super) struct Choice {
    /// Messages by their nonces, or single rows, such as 12.0
    #[arg(value_name = "NONCE|ROW", value_parser = message)]
    messages: Vec<String>,
    #[command(flatten)]
    filter: Filter,
    /// Every row of the queue
    #[arg(long, env = "ATP_QUEUE_ALL", value_parser = FalseyValueParser::new(), conflicts_with = "messages")]
    all: bool,
}

/// A part of a choice: rows that one request asks for.
pub(super) struct Part<'a> {
    /// `None`: the conditions alone choose.
    pub(super) message: Option<&'a str>,
    filter: &'a Filter,
}

impl Choice {
    /// What to ask for, one after the other.
    ///
    /// # Errors
    /// Exit code 2 if nothing was chosen.
    pub(super) fn parts(&self) -> Result<Vec<Part<'_>>, CliError> {
        if self.messages.is_empty() && self.filter.is_empty() && !self.all {
            return Err(CliError::usage(
                "which rows? name messages or rows, or give a condition such as --to-domain, or --all",
            ));
        }
        let filter = &self.filter;
        if self.messages.is_empty() {
            return Ok(vec![Part { message: None, filter }]);
        }
        Ok(self.messages.iter().map(|message| Part { message: Some(message), filter }).collect())
    }
}

impl Part<'_> {
    /// A request about these rows.
    pub(super) fn put(&self, request: Request) -> Request {
        let request = self.filter.put(request);
        match self.message {
            Some(message) => request.query("message", message),
            None if self.filter.is_empty() => request.query("all", "true"),
            None => request,
        }
    }
}

/// A nonce or a row; every row has the form of a nonce.
pub(super) fn message(text: &str) -> Result<String, String> {
    Nonce::parse(text).map(|nonce| nonce.as_str().to_owned()).map_err(|error| error.to_string())
}
