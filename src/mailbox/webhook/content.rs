//! What is pushed, and what an agent is told when pushing ends.

use bytes::Bytes;
use serde_json::{Value, json};

use super::schedule::DISABLE_AFTER;
use crate::env::rng::Rng;
use crate::error::Fault;
use crate::mailbox::shown;
use crate::proto::address::Address;
use crate::proto::calendar::Calendar;
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;
use crate::spool::contract::Mail;
use crate::spool::entry::webhooks::{Disabling, WebhookRecord};

/// The body of a push: a message as `GET messages` shows it.
///
/// # Errors
/// [`Fault`] if a stored message cannot be read any more.
pub fn message(mail: &Mail, owner: &Address) -> Result<Bytes, Fault> {
    let data = json!({
        "agent": owner.to_string(),
        "message": shown::author(mail)?,
        "received": shown::received(mail, owner),
    });
    Ok(event("message.received", mail.arrival.at, data))
}

/// The body of a trial push.
pub fn trial(owner: &Address, now: UnixMillis) -> Bytes {
    event("webhook.test", now, json!({ "agent": owner.to_string() }))
}

fn event(kind: &str, at: UnixMillis, data: Value) -> Bytes {
    let Calendar { year, month, day, hour, minute, second } = Calendar::from(at);
    let timestamp =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", at.0 % 1000);
    Bytes::from(json!({ "type": kind, "timestamp": timestamp, "data": data }).to_string())
}

/// The message that tells an agent that nothing is pushed any more, and why.
pub fn notice(rng: &dyn Rng, webhook: &WebhookRecord, why: Disabling, now: UnixMillis) -> Bytes {
    let agent = &webhook.agent;
    let reason = match why {
        Disabling::Gone => "Its receiver answered 410 (Gone), which says that it wants no more.".to_owned(),
        Disabling::Failing => {
            format!("No push to it has succeeded for {} days.", DISABLE_AFTER.as_secs() / (24 * 3600))
        }
    };
    let mut random = [0; 6];
    rng.fill(&mut random);
    let message = json!({
        "from": Address::postmaster(agent.domain()).to_string(),
        "to": agent.to_string(),
        "timestamp": now.seconds(),
        "nonce": Nonce::reference_style(random).as_str(),
        "type": "message",
        "payload": {
            "subject": "Your webhook has been disabled",
            "body": format!(
                "Your messages are not pushed to your webhook any more. {reason}\n\nAll messages are in your mailbox. \
                 To have them pushed again, set the webhook again; it goes on where it stopped."
            ),
            "webhook": {
                "state": "disabled",
                "reason": word(why),
                "failing_since": webhook.failing_since.map(UnixMillis::seconds),
            },
        },
    });
    Bytes::from(message.to_string())
}

/// A reason as programs read it.
pub fn word(why: Disabling) -> &'static str {
    match why {
        Disabling::Gone => "gone",
        Disabling::Failing => "failing",
    }
}
