//! What a message says: text, or a payload from a file; and the message around it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::error::CliError;
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::rng::{Rng as _, SystemRng};
use crate::proto::address::Address;
use crate::proto::json;
use crate::proto::nonce::Nonce;

/// Largest payload read, in bytes: no server takes more.
const MAX_PAYLOAD_BYTES: u64 = 64 * 1024 * 1024;

/// What the message says.
#[derive(Args)]
pub(super) struct Content {
    /// Text of the message
    #[arg(long, short, env = "ATP_BODY", value_name = "TEXT")]
    body: Option<String>,
    /// Subject of the message
    #[arg(long, short, env = "ATP_SUBJECT", value_name = "TEXT")]
    subject: Option<String>,
    /// File with the payload, a JSON object; - reads standard input
    #[arg(long, short, env = "ATP_PAYLOAD", value_name = "FILE", conflicts_with_all = ["body", "subject"])]
    payload: Option<PathBuf>,
}

impl Content {
    /// The payload.
    pub fn payload(&self) -> Result<Map<String, Value>, CliError> {
        if let Some(path) = &self.payload {
            return read_payload(path);
        }
        let texts = [("subject", &self.subject), ("body", &self.body)];
        let given = texts.into_iter().filter_map(|(name, text)| Some((name.into(), json!(text.as_ref()?))));
        Ok(given.collect())
    }
}

/// A message of the agent's, under a new nonce.
pub(super) fn message(
    from: &Address,
    to: &Address,
    kind: &str,
    payload: Map<String, Value>,
) -> Map<String, Value> {
    let mut random = [0; 6];
    SystemRng.fill(&mut random);
    let members = [
        ("from", json!(from.to_string())),
        ("to", json!(to.to_string())),
        ("timestamp", json!(SystemClock.now().seconds())),
        ("nonce", json!(Nonce::reference_style(random).as_str())),
        ("type", json!(kind)),
        ("payload", Value::Object(payload)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn read_payload(path: &Path) -> Result<Map<String, Value>, CliError> {
    let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
    let unreadable = |error: io::Error| {
        // `atp agent register` knows -p as the password.
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; -p is the payload, the password is -P",
            _ => "",
        };
        CliError::failed(format!("cannot read the payload {name}: {error}{hint}"))
    };
    let mut bytes = Vec::new();
    let limit = MAX_PAYLOAD_BYTES + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > MAX_PAYLOAD_BYTES {
        return Err(CliError::failed(format!("the payload {name} is over 64 MiB, which no server takes")));
    }
    match json::parse(&bytes) {
        Ok(Value::Object(payload)) => Ok(payload),
        Ok(_) => Err(CliError::failed(format!("the payload {name} is not a JSON object {{…}}"))),
        Err(error) => Err(CliError::failed(format!("the payload {name} is not JSON to send: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Result<Map<String, Value>, CliError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p.json");
        std::fs::write(&path, text).unwrap();
        read_payload(&path)
    }

    #[test]
    fn a_payload_keeps_its_numbers() {
        let payload =
            payload(r#"{"a": 1e-7, "b": 1152921504606846976, "c": 1180591620717411303424}"#).unwrap();
        let text = serde_json::to_string(&payload).unwrap();
        assert_eq!(text, r#"{"a":1e-7,"b":1152921504606846976,"c":1180591620717411303424}"#);
    }

    #[test]
    fn what_is_no_object_is_told_with_the_file() {
        for (text, wanted) in [
            ("[]", "not a JSON object"),
            ("{", "not JSON"),
            ("", "not JSON"),
            (r#"{"a":1,"a":2}"#, "not JSON"),
        ] {
            let error = payload(text).unwrap_err();
            assert!(error.message.contains("p.json") && error.message.contains(wanted), "{error:?}");
            assert_eq!(error.code, 1);
        }
        let error = read_payload(Path::new("/nonexistent/p.json")).unwrap_err();
        assert!(error.message.contains("/nonexistent/p.json"), "{error:?}");
    }
}
