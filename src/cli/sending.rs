//! Handing a message over, and waiting for what becomes of it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::access::Access;
use super::error::CliError;
use super::http::{Client, Credential, Request, encoded};
use super::output::{self, Output};

/// Longest that one question waits, in seconds; the client waits a little longer for an answer.
const ASK_SECONDS: u64 = 20;
/// Pause after a question that could not be asked, or that a server answers at once which does not wait.
const PAUSE: Duration = Duration::from_millis(500);

/// What a message asks for, and how long the command stays for it.
#[derive(Args)]
pub(super) struct Sending {
    /// Wait until every recipient's copy is delivered or has failed; with --wait=acked until every recipient has
    /// acknowledged it. Succeeds only if all is well
    #[arg(long, env = "ATP_SEND_WAIT", value_name = "FOR", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "delivered")]
    wait: Option<WaitFor>,
    /// How long --wait waits, in seconds; what has not ended by then goes on all the same
    #[arg(long, env = "ATP_TIMEOUT", value_name = "SECS", default_value_t = 30)]
    timeout: u32,
    /// Receipts wanted from the recipients' servers, which atp inspect shows; --wait=acked wants acked
    #[arg(long, env = "ATP_RECEIPT", value_name = "RECEIPT", value_delimiter = ',')]
    receipt: Vec<Wanted>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    Delivered,
    Acked,
}

/// A receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    Delivered,
    Acked,
}

/// How a message stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// Something is still open: this, in words.
    Open(String),
    /// What was waited for has come.
    Well,
    /// All has ended, and not all is well: this, in words.
    Failed(String),
}

impl Sending {
    /// Submits a message, and waits as far as that is wanted.
    pub async fn send(
        &self,
        access: &mut Access,
        mut message: Map<String, Value>,
        output: &Output,
    ) -> Result<(), CliError> {
        let receipts = self.receipts();
        if !receipts.is_empty() {
            message.insert("receipt".into(), json!(receipts));
        }
        let reply = submit(access, &message).await?;
        // The published implementation's answer has less in it; what is missing is what we sent.
        let member = |name: &str| reply.get(name).or_else(|| message.get(name)).cloned().unwrap_or_default();
        let status = reply.get("status").cloned().unwrap_or_else(|| json!("accepted"));
        let (nonce, timestamp) = (member("nonce"), member("timestamp"));
        let mut told = json!({ "status": status, "nonce": nonce, "timestamp": timestamp });
        let nonce = output::one_line(nonce.as_str().unwrap_or_default());
        let Some(wait) = self.wait else {
            return print(&told, &format!("Message sent. nonce={nonce}"), output);
        };
        let deadline = Instant::now() + Duration::from_secs(self.timeout.into());
        let (state, standing) = wait.until(&mut access.client, &access.credential, &nonce, deadline).await?;
        let (status, failure) = match standing {
            Standing::Well if wait == WaitFor::Acked => ("acknowledged", None),
            Standing::Well => ("delivered", None),
            Standing::Failed(what) => ("failed", Some(what)),
            Standing::Open(what) => (
                "timeout",
                Some(format!(
                    "not all is known after {} s: {what}; the server goes on, ask again with: atp inspect {nonce}",
                    self.timeout
                )),
            ),
        };
        told["status"] = json!(status);
        told["recipients"] = state.get("recipients").cloned().unwrap_or_default();
        let text = format!("Message {status}. nonce={nonce}");
        match failure {
            None => print(&told, &text, output),
            Some(failure) => {
                print(&told, &text, output)?;
                Err(CliError::failed(failure))
            }
        }
    }

    fn receipts(&self) -> Vec<&'static str> {
        let wants = |wanted| self.receipt.contains(&wanted);
        let acked = wants(Wanted::Acked) || self.wait == Some(WaitFor::Acked);
        [("delivered", wants(Wanted::Delivered)), ("acked", acked)]
            .into_iter()
            .filter_map(|(name, wanted)| wanted.then_some(name))
            .collect()
    }
}

fn print(told: &Value, text: &str, output: &Output) -> Result<(), CliError> {
    if output.is_json_unless_terminal() { output::print_json(told) } else { output::print(text) }
}

/// Submits a message.
pub(super) async fn submit(access: &mut Access, message: &Map<String, Value>) -> Result<Value, CliError> {
    let body = serde_json::to_vec(message).map_err(CliError::failed)?;
    let request = Request::post("message", "application/atp+json", body).authorize(&access.credential);
    access.client.call(request).await?.success()
}

/// What has become of a message: at once, or as soon as it is something else than what was `seen`, within `seconds`.
pub(super) async fn state(
    client: &mut Client,
    credential: &Credential,
    nonce: &str,
    seen: Option<&str>,
    seconds: u64,
) -> Result<Value, CliError> {
    let mut request = Request::get(&format!("me/sent/{}", encoded(nonce)));
    if let Some(seen) = seen {
        request = request.query("wait", &seconds.to_string()).query("seen", seen);
    }
    client.call(request.authorize(credential)).await?.success()
}

/// Why a message has not reached one of its recipients and never will. `None`: there is still hope.
pub(super) fn failure(state: &Value) -> Option<String> {
    recipients(state).find_map(|recipient| match judge(recipient, WaitFor::Delivered) {
        Standing::Failed(what) => Some(what),
        Standing::Open(_) | Standing::Well => None,
    })
}

impl WaitFor {
    /// Asks until it has come, or never will, or the time is up. A server that is away for a moment is asked again.
    async fn until(
        self,
        client: &mut Client,
        credential: &Credential,
        nonce: &str,
        deadline: Instant,
    ) -> Result<(Value, Standing), CliError> {
        let (mut last, mut seen) = (Value::Null, None::<String>);
        loop {
            let asked = Instant::now();
            let seconds = deadline.saturating_duration_since(asked).as_secs().min(ASK_SECONDS);
            match state(client, credential, nonce, seen.as_deref(), seconds).await {
                Ok(found) => last = found,
                // At first it must be known whether this can be asked at all.
                Err(error) if last.is_null() || asked >= deadline => return Err(error),
                Err(_) => {}
            }
            let standing = self.judge(&last);
            if !matches!(standing, Standing::Open(_)) || Instant::now() >= deadline {
                return Ok((last, standing));
            }
            let version = last.get("version").and_then(Value::as_str).map(str::to_owned);
            if seen == version && asked.elapsed() < PAUSE {
                sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
            }
            seen = version;
        }
    }

    fn judge(self, state: &Value) -> Standing {
        let (mut open, mut failed) = (Vec::new(), Vec::new());
        for recipient in recipients(state) {
            match judge(recipient, self) {
                Standing::Open(what) => open.push(what),
                Standing::Failed(what) => failed.push(what),
                Standing::Well => {}
            }
        }
        match (open.is_empty(), failed.is_empty()) {
            (true, true) => Standing::Well,
            (true, false) => Standing::Failed(failed.join("; ")),
            (false, _) => Standing::Open(failed.into_iter().chain(open).collect::<Vec<_>>().join("; ")),
        }
    }
}

fn recipients(state: &Value) -> impl Iterator<Item = &Value> {
    state.get("recipients").and_then(Value::as_array).into_iter().flatten()
}

fn judge(recipient: &Value, wait: WaitFor) -> Standing {
    let text = |name: &str| recipient.get(name).and_then(Value::as_str).map(output::one_line);
    let (who, state) = (text("address").unwrap_or_default(), text("state").unwrap_or_default());
    let why = text("error").map(|error| format!(": {error}")).unwrap_or_default();
    let outcome = recipient.pointer("/receipt/outcome").and_then(Value::as_str).unwrap_or_default();
    match (state.as_str(), wait) {
        ("bounced" | "cancelled", _) => Standing::Failed(format!("not delivered to {who}, {state}{why}")),
        ("delivered" | "delivered (inferred)" | "acknowledged", WaitFor::Delivered) => Standing::Well,
        ("acknowledged", WaitFor::Acked) if outcome == "completed" => Standing::Well,
        ("acknowledged", WaitFor::Acked) if outcome == "failed" || outcome == "rejected" => {
            Standing::Failed(format!("{who} has {outcome} it"))
        }
        ("acknowledged", WaitFor::Acked) => Standing::Open(format!("{who} has {outcome} it")),
        ("delivered" | "delivered (inferred)", WaitFor::Acked) => {
            Standing::Open(format!("{who} has it and has not acknowledged it"))
        }
        _ => Standing::Open(format!("{state} for {who}{why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(recipients: &[(&str, Value)]) -> Value {
        let recipients: Vec<_> = recipients
            .iter()
            .map(|(state, receipt)| json!({ "address": "b@b.test", "state": state, "error": null, "receipt": receipt }))
            .collect();
        json!({ "recipients": recipients })
    }

    #[test]
    fn all_must_be_well() {
        let completed = json!({ "outcome": "completed" });
        let accepted = json!({ "outcome": "accepted" });
        let rejected = json!({ "outcome": "rejected" });
        type Recipients<'a> = &'a [(&'a str, Value)];
        let none = Value::Null;
        let cases: [(Recipients<'_>, &str, &str); 7] = [
            (&[("delivered", none.clone())], "well", "open"),
            (&[("delivered (inferred)", none.clone()), ("queued", none.clone())], "open", "open"),
            (&[("acknowledged", completed.clone())], "well", "well"),
            (&[("acknowledged", accepted)], "well", "open"),
            (&[("acknowledged", rejected), ("acknowledged", completed)], "well", "failed"),
            (&[("bounced", none.clone()), ("delivered", none.clone())], "failed", "open"),
            (&[("cancelled", none.clone()), ("held", none)], "open", "open"),
        ];
        for (recipients, delivered, acked) in cases {
            for (wait, wanted) in [(WaitFor::Delivered, delivered), (WaitFor::Acked, acked)] {
                let found = match wait.judge(&state(recipients)) {
                    Standing::Well => "well",
                    Standing::Open(_) => "open",
                    Standing::Failed(_) => "failed",
                };
                assert_eq!(found, wanted, "{recipients:?} {wait:?}");
            }
        }
    }
}
