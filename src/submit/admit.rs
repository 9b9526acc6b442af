//! Who the recipients are, and the step to disk.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::request::Submission;
use crate::env::Env;
use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::limits::IDENTITY_GRACE_SECONDS;
use crate::proto::status::Reason;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::rates::{OverCap, SenderCaps};
use crate::spool::contract::{Acceptance, Fate, NewRecipient, NewSubmission, Store};
use crate::spool::entry::{Row, Step};

/// How often the recipients are looked up anew because one of them went away in between.
const MAX_LOOKS: usize = 3;
const NO_SUCH_AGENT: &str = "There is no such agent here.";
const TOO_LARGE: &str = "The message is larger than the recipient's domain takes.";

/// When the sender of a message to a full mailbox may come back.
const FULL_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Makes the bounce for a recipient of ours that does not get the message: that recipient, why, and in words.
pub type MakeBounce<'a> = &'a (dyn Fn(&Address, Reason, &str) -> Option<bytes::Bytes> + Sync);

/// What became of a submission that was not refused.
#[derive(Debug)]
pub enum Admitted {
    /// It is on disk.
    Now {
        /// One for each recipient elsewhere, or here without room; their first attempts may begin.
        rows: Vec<Row>,
        /// Recipients here who have it now.
        delivered: u64,
    },
    /// It was accepted before.
    Before,
    /// A limit of the day stands in its way.
    Over(OverCap),
}

/// What admission needs to know.
pub struct Admission<'a> {
    /// Where accepted messages go.
    pub store: &'a Arc<dyn Store>,
    /// The clock.
    pub env: &'a Env,
    /// The largest message that a domain of ours takes, in bytes. `None`: its agents do not live here.
    pub max_bytes: &'a (dyn Fn(&Domain) -> Option<usize> + Sync),
    /// How old a timestamp may be.
    pub max_message_age: Duration,
    /// How long until a first attempt that vanished is made again.
    pub first_wait: Duration,
    /// Rows of one sender that may wait in the queue after trouble.
    pub max_waiting: u64,
    /// What its sender may send in a day.
    pub caps: SenderCaps,
}

impl Admission<'_> {
    /// Accepts an authenticated submission: on return it is on disk.
    ///
    /// # Errors
    /// [`Reason::UnknownAgent`] if its only recipient would be one of ours and does not exist, [`Reason::TooLarge`] if
    /// that one's domain takes no message of this size,
    /// [`Reason::MailboxFull`] if that has no room, [`Reason::Conflict`] if the nonce was used for something else, or the store's fault.
    pub async fn admit(&self, submission: &Submission, bounce: MakeBounce<'_>) -> Result<Admitted, Fault> {
        for _ in 0..MAX_LOOKS {
            let recipients = match self.recipients(submission, bounce).await {
                Ok(recipients) => recipients,
                Err(refusal) => return self.repeated(submission, refusal).await,
            };
            let own = recipients.iter().filter(|recipient| matches!(recipient.fate, Fate::Own)).count();
            let now = self.store.moment(self.env.clock.now());
            let wall = UnixMillis::from_seconds(submission.message().timestamp());
            let stamped = Moment { wall, ..Moment::default() };
            let fresh_until = now.max(stamped).plus(self.max_message_age);
            let new = NewSubmission {
                from: submission.message().from().clone(),
                nonce: submission.message().nonce().clone(),
                digest: submission.digest(),
                message: submission.bytes(),
                at: now,
                expires: fresh_until.plus(Duration::from_secs(IDENTITY_GRACE_SECONDS.unsigned_abs())),
                first_lease: now.wall.plus(self.first_wait),
                max_waiting: self.max_waiting,
                receipts: submission.message().receipts_wanted(),
                recipients,
            };
            let accepted = if self.caps.is_off() {
                Ok(self.store.accept(new).await?)
            } else {
                self.store.accept_within(new, self.caps).await?
            };
            let acceptance = match accepted {
                Ok(acceptance) => acceptance,
                Err(over) => return Ok(Admitted::Over(over)),
            };
            match acceptance {
                Acceptance::Accepted { rows } => {
                    // Those whose mailbox is full.
                    let wait = rows.iter().filter(|row| (self.max_bytes)(row.recipient.domain()).is_some());
                    let delivered = own.saturating_sub(wait.count()) as u64;
                    return Ok(Admitted::Now { rows, delivered });
                }
                Acceptance::Already => return Ok(Admitted::Before),
                Acceptance::Conflict => return Err(conflict()),
                Acceptance::QueueFull => {
                    let text = "Too many of your messages wait for delivery; please try again later.";
                    return Err(Fault::new(Reason::NoSpace, text));
                }
                Acceptance::Full => {
                    let text = "The recipient's mailbox is full; please try again later.";
                    return Err(Fault::new(Reason::MailboxFull, text).after(FULL_RETRY_AFTER));
                }
                Acceptance::Changed => {}
            }
        }
        Err(Fault::internal("recipients kept changing while a submission was accepted"))
    }

    /// What would be refused now may have been accepted before, when its recipient was still there.
    async fn repeated(&self, submission: &Submission, refusal: Fault) -> Result<Admitted, Fault> {
        let message = submission.message();
        let since = self.store.account(message.from().clone()).await?.map(|account| account.created_at);
        match self.store.sent(message.from().clone(), message.nonce().clone()).await? {
            Some((known, _)) if known.nonce != *message.nonce() => Err(refusal),
            // Sent by somebody who had the name before.
            Some((known, _)) if since.is_some_and(|since| known.at < since) => Err(conflict()),
            Some((known, _)) if known.digest == submission.digest() => Ok(Admitted::Before),
            Some(_) => Err(conflict()),
            None => Err(refusal),
        }
    }

    /// Every recipient once, in the order of `to`, `cc`, and what is to become of its copy.
    async fn recipients(
        &self,
        submission: &Submission,
        bounce: MakeBounce<'_>,
    ) -> Result<Vec<NewRecipient>, Fault> {
        let message = submission.message();
        let mut seen = HashSet::new();
        let mut recipients = Vec::with_capacity(1 + message.cc().len());
        for address in std::iter::once(message.to()).chain(message.cc()) {
            if !seen.insert(address) {
                continue;
            }
            let refusal = match (self.max_bytes)(address.domain()) {
                None => {
                    recipients.push(NewRecipient { address: address.clone(), fate: Fate::Remote });
                    continue;
                }
                Some(max) if submission.bytes().len() > max => Some((Reason::TooLarge, TOO_LARGE)),
                Some(_) if self.store.account(address.clone()).await?.is_none() => {
                    Some((Reason::UnknownAgent, NO_SUCH_AGENT))
                }
                Some(_) => None,
            };
            let fate = match refusal {
                None => Fate::Own,
                Some((reason, text)) if message.cc().is_empty() => return Err(Fault::new(reason, text)),
                Some((reason, text)) => {
                    let at = self.env.clock.now();
                    let step =
                        Step { at, remote: None, tls: None, code: reason.code().into(), text: text.into() };
                    Fate::Unknown { bounce: bounce(address, reason, text), step }
                }
            };
            recipients.push(NewRecipient { address: address.clone(), fate });
        }
        Ok(recipients)
    }
}

fn conflict() -> Fault {
    Fault::new(Reason::Conflict, "This nonce was used for another message before.")
}
