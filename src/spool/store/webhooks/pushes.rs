//! One push: begun, ended, dropped.

use super::{Reader, Writer, at};
use crate::proto::time::UnixMillis;
use crate::spool::contract::StoreError;
use crate::spool::contract::webhooks::{
    Disable, LeasedPush, NextPush, PushEnd, PushFailure, PushLease, WaitingPushes,
};
use crate::spool::entry;
use crate::spool::entry::webhooks::{PushRecord, WebhookRecord, WebhookState};
use crate::spool::keys;

/// After so many failures in a row nothing is caught up any more: the receiver is in trouble again.
const MAX_FAILURES_CATCHING_UP: u32 = 3;

/// What may be attempted.
enum Choice {
    /// A message that has been attempted, or was being.
    Waiting(u64, PushRecord),
    /// One that has not.
    New(u64),
    /// None before then.
    None(Option<UnixMillis>),
}

impl Reader {
    fn push(&self, mailbox: u64, cursor: u64) -> Result<Option<PushRecord>, StoreError> {
        let bytes = self.disk.get(&at::push(mailbox, cursor))?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    pub(super) fn pushes(
        &self,
        mailbox: u64,
        limit: usize,
        max_count: usize,
    ) -> Result<WaitingPushes, StoreError> {
        let (prefix, mut seen) = (at::pushes(mailbox), 0);
        let first = self.list(&prefix, &prefix, max_count, |key, value| {
            seen += 1;
            let shown =
                (seen <= limit).then(|| Ok::<_, StoreError>((keys::number_of(key), entry::decode(value)?)));
            shown.transpose()
        })?;
        let shown =
            first.iter().flatten().filter_map(|(cursor, push)| Some(((*cursor)?, PushRecord::clone(push))));
        Ok(WaitingPushes { count: first.len() as u64, first: shown.collect() })
    }

    /// The first message of a webhook that is to be caught up, in the order of the mailbox.
    fn to_catch_up(
        &self,
        mailbox: u64,
        from: u64,
        busy: &[u64],
    ) -> Result<Option<(u64, PushRecord)>, StoreError> {
        let from = at::push(mailbox, from);
        let found = self.list(&at::pushes(mailbox), &from, busy.len() + 1, |key, value| {
            Ok((keys::number_of(key), entry::decode::<PushRecord>(value)?))
        })?;
        let mut found = found.into_iter().filter_map(|(cursor, push)| Some((cursor?, push)));
        Ok(found.find(|(cursor, _)| !busy.contains(cursor)))
    }

    /// The message that waits for an attempt and is due first, and when.
    fn first_due(&self, mailbox: u64, busy: &[u64]) -> Result<Option<(UnixMillis, u64)>, StoreError> {
        let prefix = at::pushes_due(mailbox);
        let found = self.list(&prefix, &prefix, busy.len() + 1, |key, _| Ok(at::parse_push_due(key)))?;
        Ok(found.into_iter().flatten().find(|(_, cursor)| !busy.contains(cursor)))
    }

    /// The first message of a mailbox behind a cursor.
    fn next_mail(&self, mailbox: u64, after: u64) -> Result<Option<u64>, StoreError> {
        let from = keys::mail(mailbox, after.saturating_add(1));
        let found = self.list(&keys::mailbox(mailbox), &from, 1, |key, _| Ok(keys::number_of(key)))?;
        Ok(found.into_iter().flatten().next())
    }
}

impl Writer {
    pub(super) fn lease_push(
        &mut self,
        mailbox: u64,
        now: UnixMillis,
        lease: &PushLease,
    ) -> Result<NextPush, StoreError> {
        let webhook = self.live_webhook(mailbox)?.filter(|webhook| webhook.state == WebhookState::Enabled);
        let Some(mut webhook) = webhook else { return Ok(NextPush::Never) };
        let latest = now.plus(lease.longest_wait());
        // Later than anything waits: the clock was ahead, and has been set back.
        if now < webhook.resume_at && webhook.resume_at <= latest {
            return Ok(NextPush::Later(Some(webhook.resume_at)));
        }
        let before = webhook.clone();
        let choice = self.choose(mailbox, (now, latest), &lease.busy, &mut webhook)?;
        let (cursor, mut push) = match choice {
            Choice::None(next) => {
                if webhook != before {
                    self.put_webhook(mailbox, &webhook)?;
                }
                return Ok(NextPush::Later(next));
            }
            Choice::New(cursor) => (cursor, PushRecord { attempts: 0, first: now, next: now, last: None }),
            Choice::Waiting(cursor, push) => {
                self.delete(at::push_due(mailbox, push.next, cursor));
                (cursor, push)
            }
        };
        if self.get(&keys::mail(mailbox, cursor))?.is_none() {
            self.delete(at::push(mailbox, cursor));
            self.put_webhook(mailbox, &webhook)?;
            return Ok(NextPush::Later(Some(now)));
        }
        push.attempts = push.attempts.saturating_add(1);
        push.next = now.plus(lease.attempt).plus(lease.wait_after(push.attempts));
        self.put_push(mailbox, cursor, &push)?;
        if webhook != before {
            self.put_webhook(mailbox, &webhook)?;
        }
        Ok(NextPush::Due(Box::new(LeasedPush { webhook, cursor, push })))
    }

    /// What to attempt: first what is to be caught up, then what is due again, then what is new.
    fn choose(
        &self,
        mailbox: u64,
        (now, latest): (UnixMillis, UnixMillis),
        busy: &[u64],
        webhook: &mut WebhookRecord,
    ) -> Result<Choice, StoreError> {
        let reader = self.reader();
        if let Some(from) = webhook.catching_up {
            let found = reader.to_catch_up(mailbox, from, busy)?;
            webhook.catching_up = found.as_ref().map(|(cursor, _)| cursor.saturating_add(1));
            if let Some((cursor, push)) = found {
                return Ok(Choice::Waiting(cursor, push));
            }
        }
        let due = reader.first_due(mailbox, busy)?;
        if let Some((_, cursor)) = due.filter(|(due, _)| *due <= now || *due > latest)
            && let Some(push) = reader.push(mailbox, cursor)?
        {
            return Ok(Choice::Waiting(cursor, push));
        }
        if let Some(cursor) = reader.next_mail(mailbox, webhook.pushed_up_to)? {
            webhook.pushed_up_to = cursor;
            return Ok(Choice::New(cursor));
        }
        Ok(Choice::None(due.map(|(due, _)| due)))
    }

    fn put_push(&mut self, mailbox: u64, cursor: u64, push: &PushRecord) -> Result<(), StoreError> {
        self.put(at::push(mailbox, cursor), entry::encode(push)?);
        self.put(at::push_due(mailbox, push.next, cursor), Vec::new());
        Ok(())
    }

    /// A message need not be pushed any more.
    pub(in crate::spool::store) fn drop_push(&mut self, mailbox: u64, cursor: u64) -> Result<(), StoreError> {
        if let Some(push) = self.reader().push(mailbox, cursor)? {
            self.delete(at::push_due(mailbox, push.next, cursor));
            self.delete(at::push(mailbox, cursor));
        }
        Ok(())
    }

    pub(super) fn settle_push(&mut self, mailbox: u64, end: PushEnd) -> Result<(), StoreError> {
        let webhook = self.live_webhook(mailbox)?.filter(|webhook| webhook.setting == end.setting);
        let Some(mut webhook) = webhook else { return Ok(()) };
        webhook.last = Some(end.result);
        webhook.previous = webhook.previous.filter(|previous| end.result.at < previous.until);
        match &end.failure {
            None => {
                self.drop_push(mailbox, end.cursor)?;
                if end.catch_up && webhook.failing_since.is_some() {
                    webhook.catching_up = Some(0);
                }
                (webhook.failing_since, webhook.failures) = (None, 0);
                webhook.resume_at = UnixMillis::default();
            }
            Some(failure) => self.settle_failure(mailbox, &mut webhook, &end, failure)?,
        }
        self.put_webhook(mailbox, &webhook)
    }

    fn settle_failure(
        &mut self,
        mailbox: u64,
        webhook: &mut WebhookRecord,
        end: &PushEnd,
        failure: &PushFailure,
    ) -> Result<(), StoreError> {
        // It may have been dropped with its message.
        if let Some(mut push) = self.reader().push(mailbox, end.cursor)? {
            self.drop_push(mailbox, end.cursor)?;
            match failure.next {
                Some(next) => {
                    (push.next, push.last) = (next, Some(end.result));
                    self.put_push(mailbox, end.cursor, &push)?;
                }
                None => webhook.given_up = webhook.given_up.saturating_add(1),
            }
        }
        if let Some(disable) = &failure.disable {
            self.disable_webhook(mailbox, webhook, disable, end.result.at)?;
        }
        webhook.failures = webhook.failures.saturating_add(1);
        webhook.failing_since.get_or_insert(end.result.at);
        webhook.resume_at = webhook.resume_at.max(failure.resume_at);
        if webhook.failures >= MAX_FAILURES_CATCHING_UP {
            webhook.catching_up = None;
        }
        Ok(())
    }

    fn disable_webhook(
        &mut self,
        mailbox: u64,
        webhook: &mut WebhookRecord,
        disable: &Disable,
        at: UnixMillis,
    ) -> Result<(), StoreError> {
        let still = disable.failing_since.is_none_or(|since| webhook.failing_since == Some(since));
        if webhook.state != WebhookState::Enabled || !still {
            return Ok(());
        }
        webhook.state = WebhookState::Disabled { why: disable.why, at };
        match self.reader().account(&webhook.agent)?.filter(|account| account.mailbox == mailbox) {
            Some(account) => self.put_notice(&webhook.agent, &account, &disable.notice, at),
            // Its agent has gone, and everything that belonged to it goes too.
            None => Ok(()),
        }
    }
}
