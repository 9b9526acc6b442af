//! Mailboxes as lines.

use std::ops::ControlFlow;

use super::{Exporter, damaged};
use crate::proto::address::Address;
use crate::spool::contract::StoreError;
use crate::spool::entry::work::{DeadRecord, Why, WorkRecord, WorkState};
use crate::spool::entry::{self, Body, MailRecord};
use crate::spool::exchange::Line;
use crate::spool::exchange::line::message::{Message, Received, Work};
use crate::spool::keys;

impl Exporter<'_, '_> {
    pub(super) fn message(
        &mut self,
        agent: &Address,
        mailbox: u64,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let record: MailRecord = entry::decode(value)?;
        let cursor = keys::number_of(key).ok_or_else(|| damaged("a mailbox entry's key"))?;
        let work = self.lookup::<WorkRecord>(&keys::work::work(mailbox, cursor))?;
        let work = match work {
            Some(work) => self.work(mailbox, cursor, work)?,
            None => None,
        };
        let arrival = record.arrival;
        let received = Received {
            at: arrival.at,
            from_ip: arrival.from_ip,
            ats: arrival.ats,
            atk: arrival.atk,
            tls: arrival.tls,
        };
        let (message, restore) = (self.text(&record.body)?, record.restore);
        self.tell(Line::Message(Box::new(Message {
            agent: agent.clone(),
            cursor,
            received,
            restore,
            message,
            work,
        })))
    }

    fn work(&self, mailbox: u64, cursor: u64, work: WorkRecord) -> Result<Option<Work>, StoreError> {
        let returns = work.returns;
        Ok(match (work.state, work.ack) {
            (WorkState::Done, Some(ack)) => {
                Some(Work::Done { outcome: ack.outcome, payload: ack.payload, at: ack.at, returns })
            }
            (WorkState::Done, None) => None,
            (WorkState::Leased { until: due } | WorkState::Delayed { due }, _) => {
                Some(Work::Waiting { due, returns })
            }
            (WorkState::Dead, _) => {
                let dead = self.lookup::<DeadRecord>(&keys::work::dead_letter(mailbox, cursor))?;
                dead.map(|dead| {
                    let (given_back, reason) = match dead.why {
                        Why::Expired => (false, None),
                        Why::GivenBack { reason } => (true, reason),
                    };
                    Work::Dead { at: dead.at, returns: dead.returns, given_back, reason }
                })
            }
        })
    }

    /// A message.
    pub(super) fn text(&self, body: &Body) -> Result<String, StoreError> {
        let bytes = match body {
            Body::Inline(bytes) => bytes.clone(),
            Body::Chunks { number, length } => {
                let mut bytes = Vec::with_capacity(*length as usize);
                let prefix = keys::chunks(*number);
                self.disk.scan(&prefix, &prefix, &mut |_, chunk| {
                    bytes.extend_from_slice(chunk);
                    ControlFlow::Continue(())
                })?;
                bytes
            }
        };
        String::from_utf8(bytes).map_err(|_| damaged("a message"))
    }
}
