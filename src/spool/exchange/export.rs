//! A store as lines.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::line::{
    Agent, Export, Hex, Limits, Message, Received, Recipient, Submission, Token, Webhook, Work, to_hex,
};
use super::{Line, VERSION, What};
use crate::env::disk::Disk;
use crate::proto::address::Address;
use crate::spool::contract::{Snapshot, StoreError};
use crate::spool::entry::keeping::LimitsRecord;
use crate::spool::entry::tokens::TokenRecord;
use crate::spool::entry::webhooks::{WebhookRecord, WebhookState};
use crate::spool::entry::work::{DeadRecord, Why, WorkRecord, WorkState};
use crate::spool::entry::{self, AccountRecord, Body, MailRecord, Row, SentRecord, Unanswered};
use crate::spool::identities::{self, Identities, manifest};
use crate::spool::keys;
use crate::spool::state::State;

/// Records read at a time.
const PAGE: usize = 100;

/// What is to be exported.
pub struct Wanted {
    /// What about.
    pub what: Vec<What>,
    /// Whose. `None`: everybody's.
    pub agent: Option<Address>,
}

/// Takes lines, in order; says whether it wants more.
pub type Out<'a> = dyn FnMut(&Line) -> ControlFlow<()> + 'a;

/// Writes everything that is wanted. Blocks.
///
/// # Errors
/// [`StoreError`] if something cannot be read, [`StoreError::Closed`] if no more is wanted.
pub fn export(snapshot: &Snapshot, wanted: &Wanted, out: &mut Out<'_>) -> Result<(), StoreError> {
    let packed = Identities::new(Arc::clone(&snapshot.files), identities::Limits::default());
    if wanted.what.contains(&What::Queue) && wanted.agent.is_none() {
        packed.follow(&manifest::read(&*snapshot.disk)?)?;
    }
    let mut exporter = Exporter { disk: &*snapshot.disk, packed, out };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    exporter.tell(Line::Export(Export { version: VERSION, program }))?;
    let accounts = exporter.accounts(wanted)?;
    for what in What::ALL.into_iter().filter(|what| wanted.what.contains(what)) {
        match what {
            What::Queue if wanted.agent.is_none() => exporter.queue()?,
            What::Queue => {}
            _ => {
                for account in accounts.values() {
                    exporter.of_account(what, account)?;
                }
            }
        }
    }
    Ok(())
}

/// Does something with a key and its value.
type Each<'a, T> = dyn FnMut(&mut T, &[u8], &[u8]) -> Result<(), StoreError> + 'a;

struct Exporter<'a, 'b> {
    disk: &'a dyn Disk,
    packed: Identities,
    out: &'a mut Out<'b>,
}

impl Exporter<'_, '_> {
    fn tell(&mut self, line: Line) -> Result<(), StoreError> {
        if (self.out)(&line).is_break() { Err(StoreError::Closed) } else { Ok(()) }
    }

    /// Calls `each` with every record under a prefix, a page at a time.
    fn each(&mut self, prefix: &[u8], each: &mut Each<'_, Self>) -> Result<(), StoreError> {
        let mut from = prefix.to_vec();
        loop {
            let mut page = Vec::new();
            self.disk.scan(prefix, &from, &mut |key, value| {
                page.push((key.to_vec(), value.to_vec()));
                if page.len() < PAGE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = [&last[..], &[0]].concat();
            for (key, value) in &page {
                each(self, key, value)?;
            }
        }
    }

    /// The accounts that are wanted: there are few enough to hold them.
    fn accounts(
        &mut self,
        wanted: &Wanted,
    ) -> Result<BTreeMap<String, (Address, AccountRecord)>, StoreError> {
        let mut found = BTreeMap::new();
        self.each(keys::ACCOUNTS, &mut |_, key, value| {
            let text = std::str::from_utf8(key.get(1..).unwrap_or_default()).unwrap_or_default();
            let address = Address::parse(text)
                .map_err(|error| StoreError::Unreadable(format!("an account's key: {error}")))?;
            if wanted.agent.as_ref().is_none_or(|agent| *agent == address) {
                found.insert(text.to_owned(), (address, entry::decode(value)?));
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn of_account(
        &mut self,
        what: What,
        (agent, account): &(Address, AccountRecord),
    ) -> Result<(), StoreError> {
        let mailbox = account.mailbox;
        match what {
            What::Agents => self.tell(Line::Agent(Agent {
                address: agent.clone(),
                password_hash: account.password_hash.clone(),
                created_at: Some(account.created_at),
            })),
            What::Tokens => {
                self.each(&keys::tokens::tokens_of(mailbox), &mut |this, _, key| this.token(agent, key))
            }
            What::Limits => self.limits(agent, mailbox),
            What::Webhooks => self.webhook(agent, mailbox),
            What::Mail => self.each(&keys::mailbox(mailbox), &mut |this, key, value| {
                this.message(agent, mailbox, key, value)
            }),
            What::Queue => Ok(()),
        }
    }

    fn token(&mut self, agent: &Address, key: &[u8]) -> Result<(), StoreError> {
        let Some(record) = self.lookup::<TokenRecord>(key)? else { return Ok(()) };
        let hash = key.get(1..).and_then(|hash| hash.try_into().ok());
        let hash = hash.ok_or_else(|| StoreError::Unreadable("a token's key is damaged".into()))?;
        self.tell(Line::Token(Token {
            agent: agent.clone(),
            name: record.name,
            hash: Hex(hash),
            scope: record.scope,
            created_at: record.created_at,
            expires_at: record.expires_at,
        }))
    }

    fn limits(&mut self, agent: &Address, mailbox: u64) -> Result<(), StoreError> {
        let Some(record) = self.lookup::<LimitsRecord>(&keys::keeping::limits_of_mailbox(mailbox))? else {
            return Ok(());
        };
        let LimitsRecord { keep_acknowledged, keep_unread, quota } = record;
        self.tell(Line::Limits(Limits { agent: agent.clone(), keep_acknowledged, keep_unread, quota }))
    }

    fn webhook(&mut self, agent: &Address, mailbox: u64) -> Result<(), StoreError> {
        let Some(record) = self.lookup::<WebhookRecord>(&keys::webhooks::webhook(mailbox))? else {
            return Ok(());
        };
        if record.state != WebhookState::Enabled {
            return Ok(());
        }
        let mut pushed_up_to = record.pushed_up_to;
        // What is being pushed is pushed once more.
        let pushes = keys::webhooks::pushes(mailbox);
        self.disk.scan(&pushes, &pushes, &mut |key, _| {
            let cursor = keys::number_of(key).unwrap_or(pushed_up_to);
            pushed_up_to = pushed_up_to.min(cursor.saturating_sub(1));
            ControlFlow::Break(())
        })?;
        let secret = to_hex(record.secret.expose());
        let (url, created) = (record.url, record.created);
        self.tell(Line::Webhook(Webhook { agent: agent.clone(), url, secret, created, pushed_up_to }))
    }

    fn message(&mut self, agent: &Address, mailbox: u64, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
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

    fn queue(&mut self) -> Result<(), StoreError> {
        for kind in [keys::FRESH, keys::QUEUED] {
            self.each(kind, &mut |this, _, value| this.submission(&entry::decode(value)?))?;
        }
        Ok(())
    }

    /// The submission of a row, if this is the first of its rows that are open.
    fn submission(&mut self, row: &Row) -> Result<(), StoreError> {
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
        let mut recipients = Vec::with_capacity(sent.recipients.len());
        for known in sent.recipients {
            let open = match known.row {
                Some(id) => match self.lookup::<Row>(&keys::queued(id))? {
                    Some(open) => Some(open),
                    None => self.lookup::<Row>(&keys::fresh(id))?,
                },
                None => None,
            };
            let row = open.map(shown);
            let (address, ending, attempts) = (known.address, known.ending, known.attempts);
            recipients.push(Recipient {
                address,
                ending,
                attempts,
                last: known.last,
                story: known.story,
                row,
            });
        }
        let message = self.text(&row.body)?;
        self.tell(Line::Submission(Box::new(Submission {
            from: sent.from,
            nonce: sent.nonce,
            digest: Hex(sent.digest),
            at: sent.at,
            updated: sent.updated,
            expires: sent.expires.wall,
            message,
            recipients,
        })))
    }

    fn lookup<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        Ok(self.disk.get(key)?.map(|value| entry::decode(&value)).transpose()?)
    }

    fn text(&self, body: &Body) -> Result<String, StoreError> {
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

/// A row as a line has it: an attempt under way is taken to have vanished.
fn shown(row: Row) -> super::line::Row {
    let (due, held_since, unanswered) = match row.state {
        State::Held { since } => (None, Some(since), row.unanswered),
        State::Leased { until } => {
            let vanished = || row.last_attempt.map(Unanswered::vanished);
            (Some(until), None, row.unanswered.clone().or_else(vanished))
        }
        state => (state.due(), None, row.unanswered),
    };
    super::line::Row {
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

fn damaged(what: &str) -> StoreError {
    StoreError::Unreadable(format!("{what} is damaged"))
}
