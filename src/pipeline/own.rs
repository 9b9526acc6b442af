//! An attempt at a row whose recipient is an agent of this daemon: its mailbox was full when the message was accepted
//! (`docs/protocol.md` §7).

use super::Pipeline;
use super::settings::Settings;
use crate::error::Fault;
use crate::proto::status::{Contact, Reason};
use crate::spool::contract::keeping::OwnDelivery;
use crate::spool::due::Attempted;
use crate::spool::entry::Row;
use crate::transfer::{Failure, Outcome};

impl Pipeline {
    /// Puts the message into its mailbox, or writes down why that cannot be yet, or never.
    pub(super) async fn attempt_own(&self, settings: &Settings, row: &Row) -> Attempted {
        let failure = match self.store.deliver_own(row.id, self.env.clock.now()).await {
            Ok(OwnDelivery::Delivered) => {
                self.counters.delivered.add();
                tracing::info!(nonce = %row.nonce, from = %row.sender, to = %row.recipient, "delivered");
                return ended();
            }
            Ok(OwnDelivery::Ended) => return ended(),
            Ok(OwnDelivery::Full) => {
                Failure::from(Fault::new(Reason::MailboxFull, "The recipient's mailbox is full."))
            }
            Ok(OwnDelivery::UnknownAgent) => {
                Failure::from(Fault::new(Reason::UnknownAgent, "There is no such agent here."))
            }
            Err(error) => Failure::from(Fault::from(error)),
        };
        // One mailbox is full: the others are not.
        let failure = Failure { contact: Contact::Answered, ..failure };
        let message = self.read(row).await.ok();
        let settlement = self.settlement(settings, row, message.as_ref(), Outcome::Failed(failure), 0);
        self.settle(row, Contact::Answered, settlement).await
    }
}

fn ended() -> Attempted {
    Attempted { due: None, contact: Contact::Answered, trouble: None, settled: true }
}
