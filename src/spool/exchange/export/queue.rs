//! Submissions as lines: those that are under way, with their messages, and those that are only remembered.

use super::Exporter;
use crate::proto::address::Address;
use crate::proto::routing::Identity;
use crate::spool::contract::StoreError;
use crate::spool::entry::receipts::{AskedRecord, HeardRecord};
use crate::spool::entry::{self, Row, SentRecord, Unanswered};
use crate::spool::exchange::Line;
use crate::spool::exchange::line::hex::Hex;
use crate::spool::exchange::line::submission::{self, Heard, Receipts, Recipient, Submission};
use crate::spool::keys;
use crate::spool::state::State;

impl Exporter<'_, '_> {
    /// Submissions that are under way. Of one `agent`, if that is given.
    pub(super) fn queue(&mut self, agent: Option<&Address>) -> Result<(), StoreError> {
        for kind in [keys::FRESH, keys::QUEUED] {
            self.each(kind, &mut |this, _, value| {
                let row: Row = entry::decode(value)?;
                if agent.is_some_and(|agent| *agent != row.sender) { Ok(()) } else { this.under_way(&row) }
            })?;
        }
        Ok(())
    }

    /// The submission of a row, if this is the first of its rows that are open.
    fn under_way(&mut self, row: &Row) -> Result<(), StoreError> {
        let key = keys::sent(&row.sender, &row.nonce);
        let sent = match self.disk.get(&key)? {
            Some(sent) => Some(sent),
            None => self.packed.get(&key)?,
        };
        // Receipts are nobody's submission, and are not exported.
        let Some(sent) = sent else { return Ok(()) };
        let sent: SentRecord = entry::decode(&sent)?;
        if sent.recipients.iter().find_map(|recipient| recipient.row) != Some(row.id) {
            return Ok(());
        }
        let message = self.text(&row.body)?;
        self.submission(sent, Some(message))
    }

    /// A submission. `message`: `None` if it has ended.
    pub(super) fn submission(&mut self, sent: SentRecord, message: Option<String>) -> Result<(), StoreError> {
        let key = keys::sent(&sent.from, &sent.nonce);
        let asked = self.lookup::<AskedRecord>(&keys::receipts::asked(&key))?;
        let mut recipients = Vec::with_capacity(sent.recipients.len());
        for (place, known) in (0u16..).zip(sent.recipients) {
            let open = match known.row {
                Some(id) => match self.lookup::<Row>(&keys::queued(id))? {
                    Some(open) => Some(open),
                    None => self.lookup::<Row>(&keys::fresh(id))?,
                },
                None => None,
            };
            let heard = match asked {
                Some(_) => self.lookup::<HeardRecord>(&keys::receipts::heard(&key, place))?,
                None => None,
            };
            let identity = Identity {
                from: sent.from.clone(),
                nonce: sent.nonce.clone(),
                recipient: known.address.clone(),
            };
            recipients.push(Recipient {
                derived: self.disk.get(&keys::derived(&identity.derived_digits()))?.is_some(),
                heard: heard.map(|HeardRecord { outcome, at, payload, heard }| Heard {
                    outcome,
                    at,
                    payload,
                    heard,
                }),
                address: known.address,
                ending: known.ending,
                attempts: known.attempts,
                last: known.last,
                story: known.story,
                row: open.map(shown),
            });
        }
        let receipts = asked.map(|AskedRecord { delivered, acked, expires, .. }| Receipts {
            delivered,
            acked,
            expires: expires.wall,
        });
        self.tell(Line::Submission(Box::new(Submission {
            from: sent.from,
            nonce: sent.nonce,
            digest: Hex(sent.digest),
            at: sent.at,
            updated: sent.updated,
            expires: sent.expires.wall,
            message,
            receipts,
            recipients,
        })))
    }
}

/// A row as a line has it: an attempt under way is taken to have vanished.
fn shown(row: Row) -> submission::Row {
    let (due, held_since, unanswered) = match row.state {
        State::Held { since } => (None, Some(since), row.unanswered),
        State::Leased { until } => {
            let vanished = || row.last_attempt.map(Unanswered::vanished);
            (Some(until), None, row.unanswered.clone().or_else(vanished))
        }
        state => (state.due(), None, row.unanswered),
    };
    submission::Row {
        due,
        held_since,
        attempts: row.attempts,
        first_attempt: row.first_attempt,
        last_attempt: row.last_attempt,
        restamp: row.restamp,
        renamed: row.renamed,
        held_millis: row.held_millis,
        noticed: row.noticed,
        unanswered,
        trail: row.trail,
    }
}
