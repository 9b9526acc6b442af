//! Receipts, both ways: what a sender is told of a delivery, and what a peer tells us of our agents' messages
//! (`docs/protocol.md` §10).

use std::sync::Arc;
use std::time::Duration;

use crate::error::Fault;
use crate::proto::receipt::{Receipt, ReceiptError, ReceiptOutcome};
use crate::proto::status::Reason;
use crate::proto::time::Moment;
use crate::spool::contract::receipts::Hearing;
use crate::spool::contract::{NewReceipt, Store};
use crate::verify::Verified;

/// The receipt for a delivery at `now`. `None`: its author did not ask for one.
pub(super) fn delivered(verified: &Verified, now: Moment, first_wait: Duration) -> Option<NewReceipt> {
    let restored = verified.restored();
    let receipt = Receipt {
        original_nonce: restored.nonce().clone(),
        recipient: restored.recipient.clone(),
        outcome: ReceiptOutcome::Delivered,
        at: now.wall.seconds(),
        payload: None,
    };
    NewReceipt::about(&restored.author, false, receipt, now, first_wait)
}

/// Takes in a receipt: it is for the server, and never put into a mailbox. Whether it was news. `None`: the message is
/// no receipt.
///
/// # Errors
/// [`Reason::Forbidden`] if it does not come from the domain of the recipient it speaks of, [`Reason::Malformed`] if
/// it cannot be read, or the store's fault.
pub async fn hear(store: &Arc<dyn Store>, verified: &Verified) -> Result<Option<bool>, Fault> {
    let restored = verified.restored();
    let Some(receipt) = Receipt::read(&restored.author) else { return Ok(None) };
    let receipt = receipt?;
    let (from, about) = (restored.author.from(), &receipt.recipient);
    if from.domain() != about.domain() {
        let sentence = format!("{from} cannot say what became of a message at {about}.");
        return Err(Fault::new(Reason::Forbidden, sentence));
    }
    let (nonce, outcome) = (receipt.original_nonce.clone(), receipt.outcome.as_str());
    let (by, to) = (about.clone(), &restored.recipient);
    let hearing = Hearing { author: to.clone(), receipt, now: verified.at() };
    let news = store.hear(hearing).await?;
    tracing::info!(%nonce, from = %to, to = %by, outcome, news, "receipt");
    Ok(Some(news))
}

impl From<ReceiptError> for Fault {
    fn from(error: ReceiptError) -> Fault {
        Fault::new(Reason::Malformed, format!("The receipt is malformed: {error}."))
    }
}
