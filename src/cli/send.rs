//! `atp send`

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::access::{Access, AccessOptions};
use super::error::CliError;
use super::http::{Client, Request};
use super::names;
use super::output::{self, Output};
use crate::env::clock::{Clock as _, SystemClock};
use crate::env::rng::{Rng as _, SystemRng};
use crate::proto::address::Address;
use crate::proto::json;
use crate::proto::nonce::Nonce;

/// Largest payload read, in bytes: no server takes more.
const MAX_PAYLOAD_BYTES: u64 = 64 * 1024 * 1024;

/// Send a message.
#[derive(Args)]
pub(super) struct Send {
    /// The recipient: NAME@DOMAIN, or a name at the same server
    to: String,
    /// The sending agent: NAME@DOMAIN, or a name at the server [default: the one logged in]
    #[arg(long, env = "ATP_AGENT", value_name = "AGENT")]
    from: Option<String>,
    #[command(flatten)]
    access: AccessOptions,
    /// Text of the message
    #[arg(long, short, env = "ATP_BODY", value_name = "TEXT")]
    body: Option<String>,
    /// Subject of the message
    #[arg(long, short, env = "ATP_SUBJECT", value_name = "TEXT")]
    subject: Option<String>,
    /// File with the payload, a JSON object; - reads standard input
    #[arg(long, short, env = "ATP_PAYLOAD", value_name = "FILE", conflicts_with_all = ["body", "subject"])]
    payload: Option<PathBuf>,
    /// A further recipient; may be repeated
    #[arg(long, env = "ATP_CC", value_name = "AGENT", value_delimiter = ',')]
    cc: Vec<String>,
    /// Nonce of the message this one answers
    #[arg(long, env = "ATP_IN_REPLY_TO", value_name = "NONCE")]
    in_reply_to: Option<String>,
}

impl Send {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let payload = self.payload()?;
        let Access { mut client, agent: from, credential } = self.access.open(self.from.as_deref()).await?;
        let message = self.message(&mut client, &from, payload).await?;
        let body = serde_json::to_vec(&message).map_err(CliError::failed)?;
        let request = Request::post("message", "application/atp+json", body).authorize(&credential);
        let reply = client.call(request).await?.success()?;
        report(&message, &reply, output)
    }

    fn payload(&self) -> Result<Map<String, Value>, CliError> {
        if let Some(path) = &self.payload {
            return read_payload(path);
        }
        let texts = [("subject", &self.subject), ("body", &self.body)];
        let given = texts.into_iter().filter_map(|(name, text)| Some((name.into(), json!(text.as_ref()?))));
        Ok(given.collect())
    }

    async fn message(
        &self,
        client: &mut Client,
        from: &Address,
        payload: Map<String, Value>,
    ) -> Result<Map<String, Value>, CliError> {
        let mut random = [0; 6];
        SystemRng.fill(&mut random);
        let mut message = Map::new();
        message.insert("from".into(), json!(from.to_string()));
        message.insert("to".into(), json!(names::complete(client, &self.to).await?.to_string()));
        message.insert("timestamp".into(), json!(SystemClock.now().seconds()));
        message.insert("nonce".into(), json!(Nonce::reference_style(random).as_str()));
        message.insert("type".into(), json!("message"));
        message.insert("payload".into(), Value::Object(payload));
        let mut cc = Vec::with_capacity(self.cc.len());
        for name in &self.cc {
            cc.push(json!(names::complete(client, name).await?.to_string()));
        }
        if !cc.is_empty() {
            message.insert("cc".into(), Value::Array(cc));
        }
        if let Some(nonce) = &self.in_reply_to {
            let nonce = Nonce::parse(nonce)
                .map_err(|error| CliError::usage(format!("--in-reply-to {nonce:?}: {error}")))?;
            message.insert("in_reply_to".into(), json!(nonce.as_str()));
        }
        Ok(message)
    }
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

fn report(message: &Map<String, Value>, reply: &Value, output: &Output) -> Result<(), CliError> {
    // The published implementation's answer has less in it; what is missing is what we sent.
    let member = |name: &str| reply.get(name).or_else(|| message.get(name)).cloned().unwrap_or_default();
    let status = reply.get("status").cloned().unwrap_or_else(|| json!("accepted"));
    let (nonce, timestamp) = (member("nonce"), member("timestamp"));
    if output.is_json_unless_terminal() {
        return output::print_json(&json!({ "status": status, "nonce": nonce, "timestamp": timestamp }));
    }
    let nonce = output::one_line(nonce.as_str().unwrap_or_default());
    output::print(&format!("Message sent. nonce={nonce}"))
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
