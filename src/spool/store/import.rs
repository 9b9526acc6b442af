//! Taking in what was exported, line by line. A line that has been taken in before changes nothing.

use std::collections::BTreeMap;

use argon2::Params;
use argon2::password_hash::phc::PasswordHash;
use serde::de::IgnoredAny;

use super::Writer;
use crate::proto::address::Address;
use crate::proto::limits::MAX_TOKEN_NAME_BYTES;
use crate::proto::time::{Moment, RunningMillis, UnixMillis};
use crate::spool::contract::StoreError;
use crate::spool::contract::tokens::MAX_TOKENS;
use crate::spool::entry::keeping::LimitsRecord;
use crate::spool::entry::tokens::TokenRecord;
use crate::spool::entry::webhooks::{WebhookRecord, WebhookSecret, WebhookState};
use crate::spool::entry::{self, AccountRecord};
use crate::spool::exchange::line;
use crate::spool::exchange::line::hex::from_hex;
use crate::spool::exchange::{Line, VERSION};
use crate::spool::keys;

mod mail;
mod submission;

/// Memory in KiB, and passes, that checking a password against a hash may take: whoever logs in makes the server spend it.
const MAX_HASH_KIB: u32 = 256 * 1024;
const MAX_HASH_PASSES: u32 = 64;

/// What came of a line: `true`: it is there now, `false`: it was before. Or why it is not taken.
pub type Taken = Result<bool, String>;

impl Writer {
    /// Takes lines in, each as a whole, in order. With `strict` none after the first that is not taken.
    pub(super) fn import(
        &mut self,
        lines: Vec<Line>,
        now: UnixMillis,
        strict: bool,
    ) -> Result<Vec<Taken>, StoreError> {
        let mut taken = Vec::with_capacity(lines.len());
        for line in lines {
            let outcome = self.import_line(line, now)?;
            let is_last = strict && outcome.is_err();
            taken.push(outcome);
            // The next line sees what this one has written.
            self.apply_batch()?;
            if is_last {
                break;
            }
        }
        Ok(taken)
    }

    fn import_line(&mut self, line: Line, now: UnixMillis) -> Result<Taken, StoreError> {
        match line {
            Line::Export(first) if first.version == VERSION => Ok(Ok(false)),
            Line::Export(first) => Ok(Err(format!(
                "this export has version {}, and this program reads {VERSION}",
                first.version
            ))),
            Line::Agent(agent) => self.import_agent(agent, now),
            Line::Token(token) => self.import_token(token),
            Line::Limits(limits) => self.import_limits(&limits),
            Line::Webhook(webhook) => self.import_webhook(webhook),
            Line::Reserved(name) => self.import_reserved(&name, now),
            Line::Received(identity) => self.import_received(identity, now),
            Line::Message(message) => self.import_message(*message),
            Line::Submission(submission) => self.import_submission(*submission, now),
        }
    }

    fn import_agent(&mut self, agent: line::agent::Agent, now: UnixMillis) -> Result<Taken, StoreError> {
        if let Some(known) = self.reader().account(&agent.address)? {
            let same = known.password_hash == agent.password_hash;
            return Ok(if same || agent.address.is_operator_mailbox() {
                Ok(false)
            } else {
                Err(format!("{} is registered already, with another password", agent.address))
            });
        }
        let is_hash = |hash: &String| is_password_hash(hash);
        if !agent.address.is_operator_mailbox() && !agent.password_hash.as_ref().is_some_and(is_hash) {
            return Ok(Err(
                "password_hash must be a PHC string beginning $argon2id$, of at most 256 MiB and 64 passes"
                    .into(),
            ));
        }
        if agent.address.is_reserved() && !agent.address.is_operator_mailbox() {
            return Ok(Err(format!("{} is nobody's name", agent.address)));
        }
        let created_at = agent.created_at.unwrap_or(now);
        let record = AccountRecord { password_hash: agent.password_hash, created_at, mailbox: self.number() };
        self.put_account(&agent.address, &record)?;
        self.delete(keys::tokens::reserved(&agent.address));
        Ok(Ok(true))
    }

    /// The mailbox of an agent that must be there.
    fn mailbox_of(&self, agent: &Address) -> Result<Result<u64, String>, StoreError> {
        let account = self.reader().account(agent)?;
        Ok(account.map(|account| account.mailbox).ok_or_else(|| format!("there is no agent {agent}")))
    }

    fn import_token(&mut self, token: line::agent::Token) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&token.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
        if token.name.is_empty()
            || token.name.len() > MAX_TOKEN_NAME_BYTES
            || token.name.chars().any(char::is_control)
        {
            return Ok(Err(format!("a token's name has 1 to {MAX_TOKEN_NAME_BYTES} bytes, on one line")));
        }
        let key = keys::tokens::token(&token.token_hash());
        let listed = keys::tokens::listed_token(mailbox, &token.name);
        match (self.get(&listed)?, self.get(&key)?) {
            (Some(known), Some(_)) if known == key => return Ok(Ok(false)),
            (None, None) => {}
            _ => return Ok(Err(format!("{} has another token {:?}", token.agent, token.name))),
        }
        let prefix = keys::tokens::tokens_of(mailbox);
        if self.reader().list(&prefix, &prefix, MAX_TOKENS, |_, _| Ok(()))?.len() >= MAX_TOKENS {
            return Ok(Err(format!("{} has {MAX_TOKENS} tokens, and may have no more", token.agent)));
        }
        let line::agent::Token { agent, name, scope, created_at, expires_at, .. } = token;
        let record = TokenRecord { agent, mailbox, name, scope, created_at, expires_at };
        self.put(listed, key.clone());
        self.put(key, entry::encode(&record)?);
        Ok(Ok(true))
    }

    fn import_limits(&mut self, limits: &line::agent::Limits) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&limits.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
        let line::agent::Limits { keep_acknowledged, keep_unread, quota, .. } = *limits;
        let key = keys::keeping::limits_of_mailbox(mailbox);
        let record = entry::encode(&LimitsRecord { keep_acknowledged, keep_unread, quota })?;
        if let Some(known) = self.get(&key)? {
            let same = known == record;
            return Ok(if same { Ok(false) } else { Err(format!("{} has other limits", limits.agent)) });
        }
        self.put(key, record);
        Ok(Ok(true))
    }

    fn import_webhook(&mut self, webhook: line::agent::Webhook) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&webhook.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
        let key = keys::webhooks::webhook(mailbox);
        let known = self.get(&key)?.map(|bytes| entry::decode::<WebhookRecord>(&bytes)).transpose()?;
        if let Some(known) = known.filter(|known| known.state != WebhookState::Removed) {
            let same = known.url == webhook.url;
            return Ok(if same { Ok(false) } else { Err(format!("{} has another webhook", webhook.agent)) });
        }
        let Some(secret) = from_hex(&webhook.secret).filter(|secret| !secret.is_empty()) else {
            return Ok(Err("secret must be in hexadecimal".into()));
        };
        if !webhook.url.starts_with("https://") {
            return Ok(Err("a webhook's url begins with https://".into()));
        }
        let record = WebhookRecord {
            setting: self.number(),
            agent: webhook.agent,
            url: webhook.url,
            secret: WebhookSecret::new(secret),
            previous: None,
            created: webhook.created,
            pushed_up_to: webhook.pushed_up_to,
            state: WebhookState::Enabled,
            failing_since: None,
            failures: 0,
            resume_at: UnixMillis(0),
            catching_up: None,
            last: None,
            given_up: 0,
        };
        self.put(key, entry::encode(&record)?);
        self.wake(mailbox);
        Ok(Ok(true))
    }

    fn import_reserved(
        &mut self,
        name: &line::agent::Reserved,
        now: UnixMillis,
    ) -> Result<Taken, StoreError> {
        let key = keys::tokens::reserved(&name.address);
        if self.reader().account(&name.address)?.is_some() {
            return Ok(Err(format!("{} is registered here", name.address)));
        }
        if name.until <= now || self.is_reserved(&key, self.running.moment(now))? {
            return Ok(Ok(false));
        }
        let until = self.moment_of(name.until, now);
        self.reserve(key, Some(until))?;
        Ok(Ok(true))
    }

    /// A time by the wall clock as one by both clocks, of which this daemon's own is as far from it as from `now`.
    fn moment_of(&self, wall: UnixMillis, now: UnixMillis) -> Moment {
        let here = self.running.moment(now);
        let running = here
            .running
            .plus(wall.since(now))
            .0
            .saturating_sub(u64::try_from(now.since(wall).as_millis()).unwrap_or(u64::MAX));
        Moment { wall, running: RunningMillis(running) }
    }
}

/// Whether a text is one JSON object of at most so many bytes, as everything is that readers are given.
fn is_object(text: &str, most: usize) -> bool {
    text.len() <= most && serde_json::from_str::<BTreeMap<String, IgnoredAny>>(text).is_ok()
}

/// Whether a text is JSON of at most so many bytes.
fn is_json(text: &str, most: usize) -> bool {
    text.len() <= most && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Whether a text is the hash of a password that can be checked here.
fn is_password_hash(text: &str) -> bool {
    let Ok(hash) = PasswordHash::new(text) else { return false };
    let cost = Params::try_from(&hash);
    text.starts_with("$argon2id$")
        && hash.hash.is_some()
        && cost.is_ok_and(|cost| cost.m_cost() <= MAX_HASH_KIB && cost.t_cost() <= MAX_HASH_PASSES)
}
