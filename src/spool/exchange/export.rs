//! A store as lines.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::line::Export;
use super::line::agent::{Agent, Limits, Reserved, Token, Webhook};
use super::line::hex::{Hex, to_hex};
use super::{Line, VERSION, What};
use crate::env::disk::Disk;
use crate::proto::address::Address;
use crate::spool::contract::{Snapshot, StoreError};
use crate::spool::entry::keeping::LimitsRecord;
use crate::spool::entry::tokens::{ReservedName, TokenRecord};
use crate::spool::entry::webhooks::{WebhookRecord, WebhookState};
use crate::spool::entry::{self, AccountRecord};
use crate::spool::identities::{self, Identities, manifest};
use crate::spool::keys;

mod mail;
mod queue;
mod remembered;

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
    if wanted.what.contains(&What::Queue) || wanted.what.contains(&What::Remembered) {
        packed.follow(&manifest::read(&*snapshot.disk)?)?;
    }
    let mut exporter = Exporter { disk: &*snapshot.disk, packed, out };
    let program = env!("CARGO_PKG_VERSION").to_owned();
    exporter.tell(Line::Export(Export { version: VERSION, program }))?;
    let accounts = exporter.accounts(wanted)?;
    for what in What::ALL.into_iter().filter(|what| wanted.what.contains(what)) {
        match what {
            What::Remembered => exporter.remembered(wanted.agent.as_ref())?,
            What::Queue => exporter.queue(wanted.agent.as_ref())?,
            _ => {
                for account in accounts.values() {
                    exporter.of_account(what, account)?;
                }
                if what == What::Agents {
                    exporter.reserved(wanted.agent.as_ref())?;
                }
            }
        }
    }
    Ok(())
}

/// Whether an agent is one of this store, or was one lately.
///
/// # Errors
/// [`StoreError`] if that cannot be read.
pub fn knows(snapshot: &Snapshot, agent: &Address) -> Result<bool, StoreError> {
    let is_there = snapshot.disk.get(&keys::account(agent))?.is_some();
    Ok(is_there || snapshot.disk.get(&keys::tokens::reserved(agent))?.is_some())
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
            let address = address_in(key)?;
            if wanted.agent.as_ref().is_none_or(|agent| *agent == address) {
                found.insert(address.to_string(), (address, entry::decode(value)?));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Names of agents that were removed.
    fn reserved(&mut self, agent: Option<&Address>) -> Result<(), StoreError> {
        self.each(keys::RESERVED, &mut |this, key, value| {
            let address = address_in(key)?;
            if agent.is_some_and(|agent| *agent != address) {
                return Ok(());
            }
            let ReservedName { until } = entry::decode(value)?;
            this.tell(Line::Reserved(Reserved { address, until: until.wall }))
        })
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
            What::Remembered | What::Queue => Ok(()),
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

    fn lookup<T: serde::de::DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        Ok(self.disk.get(key)?.map(|value| entry::decode(&value)).transpose()?)
    }
}

/// The address that a key ends in.
fn address_in(key: &[u8]) -> Result<Address, StoreError> {
    let text = std::str::from_utf8(key.get(1..).unwrap_or_default()).unwrap_or_default();
    Address::parse(text).map_err(|error| StoreError::Unreadable(format!("a key's address: {error}")))
}

fn damaged(what: &str) -> StoreError {
    StoreError::Unreadable(format!("{what} is damaged"))
}
