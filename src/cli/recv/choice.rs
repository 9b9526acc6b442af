//! Which messages are wanted.

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::http::Request;
use crate::config::units::parse_time;
use crate::env::clock::{Clock as _, SystemClock};
use crate::proto::address::Address;
use crate::proto::filter::Filter;

/// Conditions on messages, all of which must hold.
#[derive(Args, Clone)]
pub(super) struct Conditions {
    /// Only messages from this address
    #[arg(long, env = "ATP_RECV_FROM", value_name = "ADDRESS", value_parser = Address::parse)]
    from: Option<Address>,
    /// Only messages of this type, such as response
    #[arg(long = "type", env = "ATP_RECV_TYPE", value_name = "TYPE")]
    kind: Option<String>,
    /// Only messages of this context
    #[arg(long, env = "ATP_RECV_CONTEXT_ID", value_name = "ID")]
    context_id: Option<String>,
    /// Only answers to the message of this nonce, bounces included
    #[arg(long, env = "ATP_RECV_IN_REPLY_TO", value_name = "NONCE")]
    in_reply_to: Option<String>,
    /// Only messages that came in this time, such as 30m, 2h or 1d, or since a point in time in Unix seconds
    #[arg(long, env = "ATP_RECV_SINCE", value_name = "TIME", value_parser = since)]
    since: Option<i64>,
}

/// A point in time, in Unix seconds, or how long ago it was.
fn since(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let ago = parse_time(text).map_err(|error| error.to_string())?;
    let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
    Ok(SystemClock.now().seconds().saturating_sub(ago))
}

impl Conditions {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let all = [
            ("from", self.from.as_ref().map(Address::to_string)),
            ("type", self.kind.clone()),
            ("context_id", self.context_id.clone()),
            ("in_reply_to", self.in_reply_to.clone()),
            ("since", self.since.map(|seconds| seconds.to_string())),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// A request for messages that meet them.
    pub fn put(&self, request: Request) -> Request {
        self.parameters().iter().fold(request, |request, (name, value)| request.query(name, value))
    }

    /// The same, for servers that know no filters.
    pub fn filter(&self) -> Result<Filter, CliError> {
        let parameters = self.parameters();
        let value =
            |wanted: &str| parameters.iter().find(|(name, _)| *name == wanted).map(|(_, value)| &**value);
        Filter::parse(value).map_err(|error| CliError::usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_point_in_time_or_a_while_ago() {
        assert_eq!(since("1767225600"), Ok(1_767_225_600));
        let hour_ago = SystemClock.now().seconds() - 3600;
        assert!((hour_ago - 1..=hour_ago + 1).contains(&since("1h").unwrap()));
        assert!(since("yesterday").is_err() && since("").is_err());
    }
}
