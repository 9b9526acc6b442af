//! Acceptance: a submission's rows, mailbox entries, bounces and identity, in one write.

use bytes::Bytes;

use super::Writer;
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::{Acceptance, Fate, NewRecipient, NewSubmission, StoreError};
use crate::spool::entry::{self, Arrival, Body, MailRecord, Row, RowId, SentRecipient, SentRecord, Step};
use crate::spool::keys;
use crate::spool::state::{Ending, State};

/// Where a recipient's copy can go at once.
#[derive(Clone, Copy)]
enum OwnPlace {
    /// Into this mailbox.
    Mailbox(u64),
    /// Into a mailbox that has no room now.
    Full,
    /// Nowhere here.
    NotHere,
}

impl Writer {
    pub(super) fn accept(&mut self, submission: NewSubmission) -> Result<Acceptance, StoreError> {
        let sent_key = keys::sent(&submission.from, &submission.nonce);
        if let Some(known) = self.recall(&sent_key)? {
            let known: SentRecord = entry::decode(&known)?;
            let same = known.digest == submission.digest && !self.is_predecessors(&known)?;
            return Ok(if same { Acceptance::Already } else { Acceptance::Conflict });
        }
        if self.queue_is_full(&submission)? {
            return Ok(Acceptance::QueueFull);
        }
        let Some(places) = self.own_places(&submission)? else {
            return Ok(Acceptance::Changed);
        };
        if matches!(places[..], [OwnPlace::Full]) {
            return Ok(Acceptance::Full);
        }
        let holders =
            submission.recipients.iter().filter(|r| !matches!(r.fate, Fate::Unknown { .. })).count();
        let holders = u16::try_from(holders)
            .map_err(|_| StoreError::Unreadable("a submission has too many recipients".into()))?;
        let body = self.store_body(&submission.message, holders)?;
        let number = self.number();
        let mut rows = Vec::new();
        let mut recipients = Vec::with_capacity(submission.recipients.len());
        let mut here = Vec::new();
        for (index, recipient) in (0u16..).zip(&submission.recipients) {
            let sent = match (&recipient.fate, places[usize::from(index)]) {
                (Fate::Own, OwnPlace::Mailbox(mailbox)) => {
                    self.put_local_mail(mailbox, submission.at.wall, body.clone())?;
                    here.push(index);
                    ended(&recipient.address, Ending::Delivered, None)
                }
                (Fate::Unknown { bounce, step }, _) => {
                    if let Some(bounce) = bounce {
                        self.put_bounce(&submission.from, number, bounce, submission.at.wall)?;
                    }
                    ended(&recipient.address, Ending::Bounced, Some(step.clone()))
                }
                // A full mailbox is tried again like another server.
                (Fate::Remote, _) | (Fate::Own, OwnPlace::Full | OwnPlace::NotHere) => {
                    let id = RowId { entry: number, recipient: index };
                    let row = new_row(id, &submission, usize::from(index), body.clone());
                    self.put(keys::fresh(id), entry::encode(&row)?);
                    let address = recipient.address.clone();
                    rows.push(row);
                    SentRecipient {
                        address,
                        row: Some(id),
                        ending: None,
                        attempts: 0,
                        last: None,
                        story: Vec::new(),
                    }
                }
            };
            recipients.push(sent);
        }
        let mut record = SentRecord {
            from: submission.from,
            nonce: submission.nonce,
            digest: submission.digest,
            at: submission.at.wall,
            updated: submission.at.wall,
            expires: submission.expires,
            recipients,
        };
        record.keep_if_ended(submission.at);
        self.ask_receipts(&sent_key, &mut record, submission.receipts, submission.at, &here)?;
        self.remember(sent_key, entry::encode(&record)?, record.is_ended());
        Ok(Acceptance::Accepted { rows })
    }

    /// Whether it was sent by somebody who had the name before: its nonces are no longer free, but nothing that its
    /// successor sends has been accepted.
    fn is_predecessors(&self, known: &SentRecord) -> Result<bool, StoreError> {
        let account = self.reader().account(&known.from)?;
        Ok(account.is_some_and(|account| known.at < account.created_at))
    }

    /// Whether so much of the sender's mail waits after trouble that no more remote recipients are taken.
    fn queue_is_full(&self, submission: &NewSubmission) -> Result<bool, StoreError> {
        if !submission.recipients.iter().any(|recipient| matches!(recipient.fate, Fate::Remote)) {
            return Ok(false);
        }
        let waiting = self.reader().number(&keys::count_of_sender(&submission.from))?;
        Ok(waiting >= submission.max_waiting)
    }

    /// Where each recipient's copy can go at once. `None`: an `Own` recipient has gone.
    fn own_places(&self, submission: &NewSubmission) -> Result<Option<Vec<OwnPlace>>, StoreError> {
        let reader = self.reader();
        let mut places = Vec::with_capacity(submission.recipients.len());
        for NewRecipient { address, fate } in &submission.recipients {
            places.push(match fate {
                Fate::Own => match reader.account(address)? {
                    Some(account) if self.is_full(address, &account, submission.message.len())? => {
                        OwnPlace::Full
                    }
                    Some(account) => OwnPlace::Mailbox(account.mailbox),
                    None => return Ok(None),
                },
                Fate::Remote | Fate::Unknown { .. } => OwnPlace::NotHere,
            });
        }
        Ok(Some(places))
    }

    pub(super) fn put_local_mail(
        &mut self,
        mailbox: u64,
        at: UnixMillis,
        body: Body,
    ) -> Result<(), StoreError> {
        self.put_mail(mailbox, &MailRecord { arrival: Arrival::local(at), restore: false, body })?;
        Ok(())
    }

    /// Tells the sender of submission number `entry`, or the operator where the sender has gone.
    pub(super) fn put_bounce(
        &mut self,
        sender: &Address,
        entry: u64,
        bounce: &Bytes,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        let reader = self.reader();
        // Numbers only grow: a mailbox made after the submission belongs to somebody else of that name.
        let (owner, account) = match reader.account(sender)?.filter(|account| account.mailbox < entry) {
            Some(account) => (sender.clone(), Some(account)),
            None => {
                let postmaster = Address::postmaster(sender.domain());
                let account = reader.account(&postmaster)?;
                (postmaster, account)
            }
        };
        let Some(account) = account else {
            tracing::error!(%sender, "a bounce has no mailbox to go to: neither the sender's nor postmaster's");
            return Ok(());
        };
        self.put_notice(&owner, &account, bounce, at)
    }
}

fn ended(address: &Address, ending: Ending, last: Option<Step>) -> SentRecipient {
    let (address, story) = (address.clone(), Vec::new());
    SentRecipient { address, row: None, ending: Some(ending), attempts: 0, last, story }
}

fn new_row(id: RowId, submission: &NewSubmission, index: usize, body: Body) -> Row {
    let recipient = submission.recipients[index].address.clone();
    Row {
        id,
        sender: submission.from.clone(),
        nonce: submission.nonce.clone(),
        accepted: submission.at,
        state: State::Leased { until: submission.first_lease },
        attempts: 0,
        first_attempt: Some(submission.at.wall),
        last_attempt: Some(submission.at.wall),
        restamp: false,
        renamed: 0,
        deferred: false,
        held_millis: 0,
        noticed: false,
        unanswered: None,
        trail: Vec::new(),
        recipient,
        body,
    }
}
