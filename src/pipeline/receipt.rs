//! Receipts on their way: a row of the queue from our postmaster, which ends without a word where nobody wants it.

use std::sync::Arc;

use serde_json::Value;
use tracing::Instrument as _;

use super::{Pipeline, settle};
use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::message::Message;
use crate::proto::receipt::{Receipt, ReceiptOutcome};
use crate::proto::time::UnixMillis;
use crate::spool::contract::work::{Acked, NewAck};
use crate::spool::contract::{NewReceipt, Settlement};
use crate::spool::entry::Row;
use crate::transfer::Via;

impl Pipeline {
    /// The receipt about a message as its author wrote it, to be made in the write that makes it true. `here`: it came
    /// from an agent of this daemon. `None`: the author did not ask for it.
    pub fn receipt(
        &self,
        message: &Message,
        here: bool,
        recipient: &Address,
        outcome: ReceiptOutcome,
        payload: Option<Value>,
    ) -> Option<NewReceipt> {
        let now = self.store.moment(self.env.clock.now());
        let receipt = Receipt {
            original_nonce: message.nonce().clone(),
            recipient: recipient.clone(),
            outcome,
            at: now.wall.seconds(),
            payload,
        };
        NewReceipt::about(message, here, receipt, now, self.settings.now().schedule.wait_after(1))
    }

    /// Writes down that a message of an agent is acknowledged, and hands over the receipt made with it. Dropping the future
    /// takes neither back.
    ///
    /// # Errors
    /// [`Fault`] if the store fails, or as [`WorkStore::ack`](crate::spool::contract::work::WorkStore::ack) refuses it.
    pub async fn acknowledge(self: &Arc<Self>, agent: Address, ack: NewAck) -> Result<Acked, Fault> {
        let pipeline = Arc::clone(self);
        // A task of its own, as for what is taken in.
        let acknowledging = async move {
            let mut acked = pipeline.store.ack(agent, ack).await??;
            pipeline.hand_over(acked.receipt.take());
            Ok(acked)
        };
        tokio::spawn(acknowledging.in_current_span()).await.map_err(Fault::internal)?
    }

    /// A receipt has been written with what it reports: its first attempt may begin. `None`: there is none.
    pub fn hand_over(&self, receipt: Option<Box<Row>>) {
        if let (Some(row), Some(handover)) = (receipt, self.handover.get()) {
            handover.rows(vec![*row]);
        }
    }
}

/// Whether a row carries a receipt. Nothing else is ever sent in the name of a postmaster.
pub(super) fn is_one(row: &Row) -> bool {
    row.sender.is_automaton() && Receipt::is_nonce(&row.nonce)
}

/// The peer does not list `receipt`: it would take it for mail.
pub(super) fn unwanted(row: &Row, via: Via, now: UnixMillis) -> Settlement {
    tracing::debug!(nonce = %row.nonce, to = %row.recipient, remote = via.remote, "the peer wants no receipts");
    let text = "The recipient's server takes no receipts.";
    Settlement::Dropped { step: settle::step(Some(via), now, String::new(), text.into()) }
}
