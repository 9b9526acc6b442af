//! Taking in what was exported, line by line. A line that has been taken in before changes nothing.

use bytes::Bytes;

use super::Writer;
use crate::proto::address::Address;
use crate::proto::routing::CopyNonce;
use crate::proto::time::{Moment, UnixMillis};
use crate::spool::contract::StoreError;
use crate::spool::contract::tokens::MAX_TOKENS;
use crate::spool::entry::keeping::LimitsRecord;
use crate::spool::entry::tokens::TokenRecord;
use crate::spool::entry::webhooks::{WebhookRecord, WebhookSecret, WebhookState};
use crate::spool::entry::work::{Acknowledgement, DeadRecord, Why, WorkRecord, WorkState};
use crate::spool::entry::{self, AccountRecord, Arrival, MailRecord, Row, RowId, SentRecipient, SentRecord};
use crate::spool::exchange::line::{self, from_hex};
use crate::spool::exchange::{Line, VERSION};
use crate::spool::keys::{self, Place};
use crate::spool::state::State;

/// The largest cursor that is taken: numbers go on above it, and must be ones that JSON's readers everywhere can hold.
const MAX_CURSOR: u64 = 1 << 53;

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
            Line::Message(message) => self.import_message(*message),
            Line::Submission(submission) => self.import_submission(*submission, now),
        }
    }

    fn import_agent(&mut self, agent: line::Agent, now: UnixMillis) -> Result<Taken, StoreError> {
        if let Some(known) = self.reader().account(&agent.address)? {
            let same = known.password_hash == agent.password_hash;
            return Ok(if same || agent.address.is_operator_mailbox() {
                Ok(false)
            } else {
                Err(format!("{} is registered already, with another password", agent.address))
            });
        }
        let is_hash = |hash: &String| hash.starts_with("$argon2id$") && hash.len() <= 512;
        if !agent.address.is_operator_mailbox() && !agent.password_hash.as_ref().is_some_and(is_hash) {
            return Ok(Err("password_hash must be a PHC string of Argon2id, beginning $argon2id$".into()));
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

    /// Puts a record unless it is there already.
    fn put_if_new(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<Taken, StoreError> {
        if self.get(&key)?.as_deref() == Some(&value[..]) {
            return Ok(Ok(false));
        }
        self.put(key, value);
        Ok(Ok(true))
    }

    fn import_token(&mut self, token: line::Token) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&token.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
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
        let line::Token { agent, name, scope, created_at, expires_at, .. } = token;
        let record = TokenRecord { agent, mailbox, name, scope, created_at, expires_at };
        self.put(listed, key.clone());
        self.put(key, entry::encode(&record)?);
        Ok(Ok(true))
    }

    fn import_limits(&mut self, limits: &line::Limits) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&limits.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
        let line::Limits { keep_acknowledged, keep_unread, quota, .. } = *limits;
        let record = LimitsRecord { keep_acknowledged, keep_unread, quota };
        self.put_if_new(keys::keeping::limits_of_mailbox(mailbox), entry::encode(&record)?)
    }

    fn import_webhook(&mut self, webhook: line::Webhook) -> Result<Taken, StoreError> {
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

    fn import_message(&mut self, message: line::Message) -> Result<Taken, StoreError> {
        let mailbox = match self.mailbox_of(&message.agent)? {
            Ok(mailbox) => mailbox,
            Err(why) => return Ok(Err(why)),
        };
        let cursor = message.cursor;
        if cursor == 0 || cursor >= MAX_CURSOR {
            return Ok(Err(format!("the cursor {cursor} is out of range")));
        }
        let bytes = Bytes::from(message.message.into_bytes());
        let reader = self.reader();
        if let Some(known) = self.get(&keys::mail(mailbox, cursor))? {
            let known: MailRecord = entry::decode(&known)?;
            let same = reader.body(&known.body)? == bytes;
            return Ok(if same { Ok(false) } else { Err(format!("another message lies at {cursor}")) });
        }
        // What is handed out from now on lies behind it.
        self.next_number = self.next_number.max(cursor.saturating_add(1));
        let line::Received { at, from_ip, ats, atk, tls } = message.received;
        let body = self.store_body(&bytes, 1)?;
        let arrival = Arrival { at, from_ip, ats, atk, tls };
        self.put_mail_at(mailbox, cursor, &MailRecord { arrival, restore: message.restore, body })?;
        if let Some(work) = message.work {
            self.import_work(mailbox, cursor, work)?;
        }
        Ok(Ok(true))
    }

    fn import_work(&mut self, mailbox: u64, cursor: u64, work: line::Work) -> Result<(), StoreError> {
        let record = |state, returns, ack| WorkRecord { state, claim: None, returns, ack };
        match work {
            line::Work::Done { outcome, payload, at, returns } => {
                self.keep_until_after_ack(mailbox, cursor, at)?;
                let ack = Acknowledgement { outcome, payload, at };
                self.put_work(mailbox, cursor, &record(WorkState::Done, returns, Some(ack)))
            }
            line::Work::Waiting { due, returns } => {
                self.put_work(mailbox, cursor, &record(WorkState::Delayed { due }, returns, None))
            }
            line::Work::Dead { at, returns, given_back, reason } => {
                let why = if given_back { Why::GivenBack { reason } } else { Why::Expired };
                let dead = DeadRecord { why, at, returns };
                self.put(keys::work::dead_letter(mailbox, cursor), entry::encode(&dead)?);
                self.put_work(mailbox, cursor, &record(WorkState::Dead, returns, None))
            }
        }
    }

    fn import_submission(
        &mut self,
        submission: line::Submission,
        now: UnixMillis,
    ) -> Result<Taken, StoreError> {
        let key = keys::sent(&submission.from, &submission.nonce);
        if let Some(known) = self.recall(&key)? {
            let same = entry::decode::<SentRecord>(&known)?.digest == submission.digest.0;
            return Ok(if same { Ok(false) } else { Err("something else was sent under its nonce".into()) });
        }
        if let Err(why) = self.mailbox_of(&submission.from)? {
            return Ok(Err(why));
        }
        let open = submission.recipients.iter().filter(|recipient| recipient.row.is_some()).count();
        let Some(open) = u16::try_from(open).ok().filter(|open| *open > 0) else {
            return Ok(Err("a submission under way has a recipient that is open".into()));
        };
        let body = self.store_body(&Bytes::from(submission.message.into_bytes()), open)?;
        let entry_number = self.number();
        let mut recipients = Vec::with_capacity(submission.recipients.len());
        for (place, recipient) in (0u16..).zip(submission.recipients) {
            let id = RowId { entry: entry_number, recipient: place };
            if let Some(row) = &recipient.row {
                let row = Row {
                    id,
                    sender: submission.from.clone(),
                    nonce: submission.nonce.clone(),
                    recipient: recipient.address.clone(),
                    accepted: self.moment_of(submission.at, now),
                    state: match (row.due, row.held_since) {
                        (Some(due), _) => State::Queued { due },
                        (None, since) => State::Held { since: since.unwrap_or(now) },
                    },
                    attempts: row.attempts,
                    first_attempt: row.first_attempt,
                    last_attempt: row.last_attempt,
                    restamp: row.restamp,
                    renamed: row.renamed,
                    deferred: true,
                    held_millis: row.held_millis,
                    noticed: row.noticed,
                    unanswered: row.unanswered.clone(),
                    trail: row.trail.clone(),
                    body: body.clone(),
                };
                self.import_row(&row)?;
            }
            recipients.push(SentRecipient {
                address: recipient.address,
                row: recipient.row.as_ref().map(|_| id),
                ending: recipient.ending,
                attempts: recipient.attempts,
                last: recipient.last,
                story: recipient.story,
            });
        }
        let record = SentRecord {
            from: submission.from,
            nonce: submission.nonce,
            digest: submission.digest.0,
            at: submission.at,
            updated: submission.updated,
            expires: self.moment_of(submission.expires, now),
            recipients,
        };
        self.remember(key, entry::encode(&record)?, false);
        Ok(Ok(true))
    }

    fn import_row(&mut self, row: &Row) -> Result<(), StoreError> {
        if let Some(due) = row.state.due() {
            let place = Place::of(&row.sender, &row.recipient);
            self.put(keys::due(due, row.id), place.encode());
        }
        if let Some(unanswered) = row.unanswered.as_ref().filter(|known| known.nonce != CopyNonce::Author) {
            self.put_derived(row, unanswered.nonce);
        }
        self.count_row(row, 1);
        self.put(keys::queued(row.id), entry::encode(row)?);
        Ok(())
    }

    /// A time by the wall clock as one by both clocks, of which this daemon's own is as far from it as from `now`.
    fn moment_of(&self, wall: UnixMillis, now: UnixMillis) -> Moment {
        let here = self.running.moment(now);
        let running = here
            .running
            .plus(wall.since(now))
            .0
            .saturating_sub(u64::try_from(now.since(wall).as_millis()).unwrap_or(u64::MAX));
        Moment { wall, running: crate::proto::time::RunningMillis(running) }
    }
}
