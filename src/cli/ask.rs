//! `atp ask`

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::access::{Access, AccessOptions};
use super::content::{self, Content};
use super::error::CliError;
use super::http::Request;
use super::mailbox::{self, Found, Query};
use super::names;
use super::output::{self, Output};
use super::recv::payload_text;
use super::sending;
use crate::proto::address::Address;

/// Longest that one look into the mailbox waits, in seconds: so often it is asked whether the request has failed.
const LOOK_SECONDS: u64 = 5;
/// Answers fetched at a time.
const LOOK_LIMIT: usize = 50;
/// Pause after a look that ended at once, at a server that does not wait.
const PAUSE: Duration = Duration::from_millis(500);

/// Send a request and wait for the response.
///
/// The response is the first message from TO, of type response or message, that answers the request. When the time is
/// up the command ends with exit code 1 and leaves nothing behind; a response that comes later is mail like any other.
#[derive(Args)]
pub(super) struct Ask {
    /// Who is asked: NAME@DOMAIN, or a name at the same server
    to: String,
    /// The asking agent: NAME@DOMAIN, or a name at the server [default: the one logged in]
    #[arg(long, env = "ATP_AGENT", value_name = "AGENT")]
    from: Option<String>,
    #[command(flatten)]
    access: AccessOptions,
    #[command(flatten)]
    content: Content,
    /// The conversation it belongs to
    #[arg(long, env = "ATP_CONTEXT_ID", value_name = "ID")]
    context_id: Option<String>,
    /// How long to wait for the response, in seconds
    #[arg(long, env = "ATP_TIMEOUT", value_name = "SECS", default_value_t = 30)]
    timeout: u32,
}

/// What came of a request.
enum Answer {
    Response(Found),
    Failed(String),
    Nothing(Value),
}

impl Ask {
    pub async fn run(self, output: &Output) -> Result<(), CliError> {
        let payload = self.content.payload()?;
        let mut access = self.access.open(self.from.as_deref()).await?;
        let to = names::complete(&mut access.client, &self.to).await?;
        let mut message = content::message(&access.agent, &to, "request", payload);
        if let Some(context) = &self.context_id {
            message.insert("context_id".into(), json!(context));
        }
        let nonce = message.get("nonce").and_then(Value::as_str).unwrap_or_default().to_owned();
        // From before it is sent: no answer can come unnoticed.
        let after = mailbox::end(&mut access).await?;
        let deadline = Instant::now() + Duration::from_secs(self.timeout.into());
        sending::submit(&mut access, &message).await?;
        match answer(&mut access, &to, &nonce, after, deadline).await? {
            Answer::Response(found) => {
                print(&found, output)?;
                acknowledge(&mut access, &found).await;
                Ok(())
            }
            Answer::Failed(why) => {
                ended("failed", &nonce, output)?;
                Err(CliError::failed(format!("the request {nonce} has failed: {why}")))
            }
            Answer::Nothing(state) => {
                ended("timeout", &nonce, output)?;
                let state = state.pointer("/recipients/0/state").and_then(Value::as_str).unwrap_or("sent");
                let (state, seconds) = (output::one_line(state), self.timeout);
                Err(CliError::failed(format!(
                    "no response from {to} within {seconds} s to the request {nonce}, which is {state}; a later one \
                     comes into the mailbox"
                )))
            }
        }
    }
}

/// Looks for the response until it is there, or will never be, or the time is up. A server that is away for a moment
/// is asked again.
async fn answer(
    access: &mut Access,
    to: &Address,
    nonce: &str,
    mut after: u64,
    deadline: Instant,
) -> Result<Answer, CliError> {
    loop {
        let asked = Instant::now();
        let outcome = look(access, to, nonce, &mut after, deadline).await;
        let left = deadline.saturating_duration_since(Instant::now());
        match outcome {
            Ok(Answer::Nothing(state)) if left.is_zero() => return Ok(Answer::Nothing(state)),
            Ok(Answer::Nothing(_)) => {}
            Err(error) if left.is_zero() => return Err(error),
            Err(_) => {}
            Ok(answer) => return Ok(answer),
        }
        if asked.elapsed() < PAUSE {
            sleep(PAUSE.min(left)).await;
        }
    }
}

/// One look, behind `after`, which moves on.
async fn look(
    access: &mut Access,
    to: &Address,
    nonce: &str,
    after: &mut u64,
    deadline: Instant,
) -> Result<Answer, CliError> {
    loop {
        let wait = deadline.saturating_duration_since(Instant::now()).as_secs().min(LOOK_SECONDS);
        let query = Query { after: *after, in_reply_to: Some(nonce), wait, limit: LOOK_LIMIT };
        let page = mailbox::look(access, query).await?;
        *after = page.last;
        if let Some(found) = page.found.into_iter().find(|found| is_answer(found, to, nonce)) {
            return Ok(Answer::Response(found));
        }
        if !page.more {
            break;
        }
    }
    let state = sending::state(&mut access.client, &access.credential, nonce, None, 0).await?;
    Ok(sending::failure(&state).map_or(Answer::Nothing(state), Answer::Failed))
}

/// The response has been handed out. Where that cannot be said (the credential is for something else, a worker has the
/// message in hand, the server does not know the call) it stays in the mailbox like any other mail.
async fn acknowledge(access: &mut Access, found: &Found) {
    let Some(cursor) = found.cursor else { return };
    let body = json!({ "outcome": "completed" }).to_string();
    let request = Request::post(&format!("me/messages/{cursor}/ack"), "application/json", body);
    let _ = access.client.call(request.authorize(&access.credential)).await;
}

fn is_answer(found: &Found, to: &Address, nonce: &str) -> bool {
    let from = found.text("from").and_then(|from| Address::parse(from).ok());
    from.as_ref() == Some(to)
        && found.text("in_reply_to") == Some(nonce)
        && matches!(found.text("type"), Some("response" | "message"))
}

fn print(found: &Found, output: &Output) -> Result<(), CliError> {
    if output.is_json_unless_terminal() {
        return output::print_json(&found.message);
    }
    output::print(&payload_text(found.message.get("payload").unwrap_or(&Value::Null)))
}

/// For programs: why there is no response.
fn ended(status: &str, nonce: &str, output: &Output) -> Result<(), CliError> {
    if output.is_json_unless_terminal() {
        return output::print_json(&json!({ "status": status, "nonce": nonce }));
    }
    Ok(())
}
