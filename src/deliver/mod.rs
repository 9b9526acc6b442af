//! Stage 7: a verified message into its recipient's mailbox.
//!
//! Only [`Verified`] gets in here, so unverified mail cannot reach a mailbox. Entry and identity are one
//! write; a repeat of what is there is accepted and changes nothing (`docs/protocol.md` §10, "Once").

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::env::clock::micros_since;
use crate::error::Fault;
use crate::proto::limits::IDENTITY_GRACE_SECONDS;
use crate::proto::status::Reason;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::rates::{OverCap, PeerCaps};
use crate::spool::contract::{DeliveryOutcome, NewDelivery, Store};
use crate::spool::entry::{Arrival, ReceivedIdentity, Row};
use crate::verify::Verified;

pub mod bounce;
pub mod receipt;

/// When the sender of a message to a full mailbox may come back.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(10);

/// What became of a message that was not refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It is in the mailbox, on disk.
    Now {
        /// The receipt on its way to the author, whose first attempt may begin. `None`: there is none.
        receipt: Option<Box<Row>>,
    },
    /// It was there already.
    Before,
    /// A limit of the day on its sender's domain stands in its way.
    Over(OverCap),
}

/// Puts a verified message into its mailbox, and makes the receipt that its author asked for in the same write.
/// `first_wait`: how long until a receipt's first attempt that vanished is made again; `caps`: what is counted with it.
///
/// # Errors
/// [`Fault`] if the identity is known with other content, nobody has the address, its mailbox is full, or the store
/// fails.
pub async fn deliver(
    store: &Arc<dyn Store>,
    verified: &Verified,
    max_message_age: Duration,
    first_wait: Duration,
    caps: PeerCaps,
) -> Result<Delivered, Fault> {
    let restored = verified.restored();
    let at = verified.at();
    let stamped =
        Moment { wall: UnixMillis::from_seconds(verified.message().timestamp()), ..Moment::default() };
    let now = store.moment(at);
    let fresh_until = now.max(stamped).plus(max_message_age);
    let delivery = NewDelivery {
        identity: ReceivedIdentity {
            from: verified.message().from().clone(),
            nonce: restored.nonce().clone(),
            recipient: restored.recipient.clone(),
            digest: restored.digest,
            at,
            expires: fresh_until.plus(Duration::from_secs(IDENTITY_GRACE_SECONDS.unsigned_abs())),
        },
        arrival: Arrival {
            at,
            from_ip: Some(verified.source()),
            ats: verified.ats().as_str().to_owned(),
            atk: "pass".into(),
            tls: Some("TLSv1.3".into()),
        },
        restore: restored.author.object() != verified.message().object(),
        message: verified.bytes().clone(),
        receipt: receipt::delivered(verified, now, first_wait),
    };
    let started = Instant::now();
    let delivered = if caps.is_off() {
        Ok(store.deliver(delivery).await?)
    } else {
        store.deliver_within(delivery, caps).await?
    };
    let outcome = match delivered {
        Ok(outcome) => outcome,
        Err(over) => return Ok(Delivered::Over(over)),
    };
    match outcome {
        DeliveryOutcome::Delivered { cursor, receipt } => {
            let (from, to) = (verified.message().from(), &restored.recipient);
            let micros = micros_since(started);
            tracing::info!(nonce = %restored.nonce(), %from, %to, cursor, micros, "delivered");
            Ok(Delivered::Now { receipt })
        }
        DeliveryOutcome::Already => Ok(Delivered::Before),
        DeliveryOutcome::Conflict => Err(Fault::new(
            Reason::Conflict,
            "Another message with this sender, nonce and recipient was delivered before.",
        )),
        DeliveryOutcome::Full => {
            Err(Fault::new(Reason::MailboxFull, "The recipient's mailbox is full; please try again later.")
                .after(FULL_RETRY_AFTER))
        }
        DeliveryOutcome::UnknownAgent => {
            Err(Fault::new(Reason::UnknownAgent, "There is no such agent here."))
        }
    }
}
