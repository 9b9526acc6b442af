//! Handing out: what has come back and is due, then what was never handed out.

use super::{MAX_LOOKED_AT, damaged};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::contract::work::{Claimed, Grant, MAX_RETURNS, NewClaims};
use crate::spool::entry::work::{ClaimId, DeadRecord, Why, WorkRecord, WorkState};
use crate::spool::entry::{self, MailRecord};
use crate::spool::keys;
use crate::spool::store::Writer;
use crate::spool::store::reads::Reader;

/// What has been handed out, before the messages are read.
pub(super) struct Handed {
    mailbox: u64,
    grants: Vec<Promise>,
    bytes: usize,
    dead: Vec<u64>,
    next: Option<UnixMillis>,
}

/// A message that is in a worker's hands once this is on disk.
struct Promise {
    claim: ClaimId,
    until: UnixMillis,
    returns: u32,
}

impl Handed {
    fn is_full(&self, claims: &NewClaims) -> bool {
        self.grants.len() >= claims.limit
    }

    /// Whether one more message, of so many bytes, may be handed out.
    fn has_room(&self, claims: &NewClaims, bytes: usize) -> bool {
        self.grants.is_empty() || (!self.is_full(claims) && self.bytes + bytes <= claims.max_bytes)
    }
}

impl Writer {
    /// `None`: there is no such mailbox.
    pub(super) fn claim(
        &mut self,
        owner: &Address,
        claims: &NewClaims,
    ) -> Result<Option<Handed>, StoreError> {
        let Some(account) = self.reader().account(owner)? else { return Ok(None) };
        let mut handed =
            Handed { mailbox: account.mailbox, grants: Vec::new(), bytes: 0, dead: Vec::new(), next: None };
        if self.claim_returned(claims, &mut handed)? {
            self.claim_fresh(claims, &mut handed)?;
        }
        Ok(Some(handed))
    }

    /// Hands out what has come back and is due. `true`: that was all of it, and there is room for more.
    fn claim_returned(&mut self, claims: &NewClaims, handed: &mut Handed) -> Result<bool, StoreError> {
        let mailbox = handed.mailbox;
        for (due, cursor) in
            self.reader().claimable(mailbox, UnixMillis(0), claims.limit.saturating_add(1))?
        {
            handed.next = Some(due);
            if due > claims.now {
                return Ok(!handed.is_full(claims));
            }
            let (record, mail) = self.returned(mailbox, cursor)?;
            if self.bury_if_too_often(mailbox, cursor, &record, claims.now)? {
                handed.dead.push(cursor);
                continue;
            }
            if !handed.has_room(claims, mail.body.length()) {
                return Ok(false);
            }
            self.unlist(mailbox, cursor, record.state);
            self.grant(claims, handed, cursor, mail.body.length(), returns_by_now(&record))?;
        }
        // More may be due: whoever got nothing, because all of it was buried, looks again.
        let looked_at_all = handed.grants.len() + handed.dead.len() <= claims.limit;
        if looked_at_all {
            handed.next = None;
        }
        Ok(looked_at_all && !handed.is_full(claims))
    }

    /// A message that has come back.
    fn returned(&self, mailbox: u64, cursor: u64) -> Result<(WorkRecord, MailRecord), StoreError> {
        let reader = self.reader();
        let record = reader.work(mailbox, cursor)?.ok_or_else(|| damaged("what is known of a claim"))?;
        let mail =
            reader.mail_record(mailbox, cursor)?.ok_or_else(|| damaged("a message that was claimed"))?;
        Ok((record, mail))
    }

    fn bury_if_too_often(
        &mut self,
        mailbox: u64,
        cursor: u64,
        record: &WorkRecord,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let returns = returns_by_now(record);
        if returns < MAX_RETURNS {
            return Ok(false);
        }
        self.unlist(mailbox, cursor, record.state);
        // Whoever had it in hand was too late.
        let record = WorkRecord { state: WorkState::Dead, claim: None, returns, ack: record.ack.clone() };
        self.bury(mailbox, cursor, &record, Why::Expired, now)?;
        Ok(true)
    }

    /// Makes a message a dead letter. It must be in no other list.
    pub(super) fn bury(
        &mut self,
        mailbox: u64,
        cursor: u64,
        record: &WorkRecord,
        why: Why,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        let dead = DeadRecord { why, at, returns: record.returns };
        self.put(keys::work::dead_letter(mailbox, cursor), entry::encode(&dead)?);
        self.put_work(mailbox, cursor, record)
    }

    /// Hands out what was never handed out, but for what was acknowledged nevertheless.
    fn claim_fresh(&mut self, claims: &NewClaims, handed: &mut Handed) -> Result<(), StoreError> {
        let mailbox = handed.mailbox;
        let before = self.reader().handed_out(mailbox)?;
        let (mut mark, mut looked_at) = (before, 0);
        'pages: while !handed.is_full(claims) && looked_at < MAX_LOOKED_AT {
            let page = self.reader().fresh_mail(mailbox, mark, claims.limit - handed.grants.len())?;
            if page.is_empty() {
                break;
            }
            looked_at += page.len();
            for (cursor, bytes) in page {
                if self.reader().work(mailbox, cursor)?.is_none() {
                    if !handed.has_room(claims, bytes) {
                        break 'pages;
                    }
                    self.grant(claims, handed, cursor, bytes, 0)?;
                }
                mark = cursor;
            }
        }
        if looked_at >= MAX_LOOKED_AT && !handed.is_full(claims) {
            handed.next = Some(claims.now);
        }
        if mark > before {
            self.put(keys::work::handed_out(mailbox), entry::encode(&mark)?);
        }
        Ok(())
    }

    /// The message must be in no list.
    fn grant(
        &mut self,
        claims: &NewClaims,
        handed: &mut Handed,
        cursor: u64,
        bytes: usize,
        returns: u32,
    ) -> Result<(), StoreError> {
        let claim = ClaimId { cursor, token: claims.token };
        let until = claims.now.plus(claims.lease);
        let state = WorkState::Leased { until };
        self.put_work(handed.mailbox, cursor, &WorkRecord { state, claim: Some(claim), returns, ack: None })?;
        handed.grants.push(Promise { claim, until, returns });
        handed.bytes += bytes;
        Ok(())
    }
}

/// How often a message has come back that is due: a lease that has ended counts from when that is noticed.
fn returns_by_now(record: &WorkRecord) -> u32 {
    record.returns.saturating_add(u32::from(matches!(record.state, WorkState::Leased { .. })))
}

impl Reader {
    /// The cursor up to which a mailbox has been handed out for the first time.
    fn handed_out(&self, mailbox: u64) -> Result<u64, StoreError> {
        let bytes = self.disk.get(&keys::work::handed_out(mailbox))?;
        bytes.map_or(Ok(0), |bytes| Ok(entry::decode(&bytes)?))
    }

    /// Cursors and lengths of the messages behind `after`.
    fn fresh_mail(&self, mailbox: u64, after: u64, limit: usize) -> Result<Vec<(u64, usize)>, StoreError> {
        let from = keys::mail(mailbox, after.saturating_add(1));
        self.list(&keys::mailbox(mailbox), &from, limit, |key, value| {
            let cursor = keys::number_of(key).ok_or_else(|| damaged("a mailbox entry's key"))?;
            Ok((cursor, entry::decode::<MailRecord>(value)?.body.length()))
        })
    }

    /// Reads what a claim will look at, so that it need not be fetched from the disk again soon.
    pub(super) fn touch_claimable(&self, owner: &Address, claims: &NewClaims) -> Result<(), StoreError> {
        let Some(account) = self.account(owner)? else { return Ok(()) };
        for (_, cursor) in self.claimable(account.mailbox, UnixMillis(0), claims.limit)? {
            self.touch(&keys::work::work(account.mailbox, cursor))?;
            self.touch(&keys::mail(account.mailbox, cursor))?;
        }
        let mark = self.handed_out(account.mailbox)?;
        for (cursor, _) in self.fresh_mail(account.mailbox, mark, claims.limit)? {
            self.touch(&keys::work::work(account.mailbox, cursor))?;
        }
        Ok(())
    }

    /// With the messages.
    pub(super) fn open_handed(&self, handed: Handed) -> Result<Claimed, StoreError> {
        let mut claimed = Claimed { grants: Vec::new(), dead: handed.dead, next: handed.next };
        for Promise { claim, until, returns } in handed.grants {
            // One that has gone since needs nobody to work on it.
            let Some(mail) = self.mail_record(handed.mailbox, claim.cursor)? else { continue };
            let Some(mail) = self.open_mail(handed.mailbox, claim.cursor, mail)? else { continue };
            claimed.grants.push(Grant { claim, until, returns, mail });
        }
        Ok(claimed)
    }
}
