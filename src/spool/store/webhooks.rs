//! Where an agent's messages are pushed to, and how far that has come.

use std::ops::ControlFlow;

use super::reads::Reader;
use super::{SpoolStore, Writer};
use crate::proto::address::Address;
use crate::proto::time::UnixMillis;
use crate::spool::contract::webhooks::{NewWebhook, NextPush, PushEnd, PushLease, WaitingPushes};
use crate::spool::contract::{Answer, StoreError, WebhookStore};
use crate::spool::entry;
use crate::spool::entry::webhooks::{PreviousSecret, WebhookRecord, WebhookSecret, WebhookState};
use crate::spool::keys;
use crate::spool::keys::webhooks as at;

mod pushes;
#[cfg(test)]
mod tests;

/// Records of a removed webhook that are removed in one step.
const MAX_STEP: usize = 500;

impl WebhookStore for SpoolStore {
    fn set_webhook(&self, mailbox: u64, new: NewWebhook) -> Answer<'_, Option<WebhookRecord>> {
        Box::pin(self.commit(move |writer| writer.set_webhook(mailbox, new)))
    }

    fn webhook(&self, mailbox: u64) -> Answer<'_, Option<WebhookRecord>> {
        // Through the committer, so that nothing is shown before it is on disk.
        Box::pin(self.commit(move |writer| {
            Ok(writer.reader().webhook(mailbox)?.filter(|webhook| webhook.state != WebhookState::Removed))
        }))
    }

    fn webhooks(&self, after: Option<u64>, limit: usize) -> Answer<'_, Vec<u64>> {
        Box::pin(self.read(move |reader| reader.webhooks(after, limit)))
    }

    fn rotate_webhook(
        &self,
        mailbox: u64,
        secret: WebhookSecret,
        until: UnixMillis,
    ) -> Answer<'_, Option<WebhookRecord>> {
        Box::pin(self.commit(move |writer| writer.rotate_webhook(mailbox, secret, until)))
    }

    fn remove_webhook(&self, mailbox: u64) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.remove_webhook(mailbox)))
    }

    fn sweep_webhook(&self, mailbox: u64) -> Answer<'_, bool> {
        Box::pin(self.commit(move |writer| writer.sweep_webhook(mailbox)))
    }

    fn lease_push(&self, mailbox: u64, now: UnixMillis, lease: PushLease) -> Answer<'_, NextPush> {
        Box::pin(self.commit(move |writer| writer.lease_push(mailbox, now, &lease)))
    }

    fn settle_push(&self, mailbox: u64, end: PushEnd) -> Answer<'_, ()> {
        Box::pin(self.commit(move |writer| writer.settle_push(mailbox, end)))
    }

    fn pushes(&self, mailbox: u64, limit: usize, max_count: usize) -> Answer<'_, WaitingPushes> {
        Box::pin(self.read(move |reader| reader.pushes(mailbox, limit, max_count)))
    }
}

impl Reader {
    fn webhook(&self, mailbox: u64) -> Result<Option<WebhookRecord>, StoreError> {
        let bytes = self.disk.get(&at::webhook(mailbox))?;
        bytes.map(|bytes| Ok(entry::decode(&bytes)?)).transpose()
    }

    /// Whether a mailbox is that of an agent: a name registered anew has another one.
    fn is_mailbox_of(&self, agent: &Address, mailbox: u64) -> Result<bool, StoreError> {
        Ok(self.account(agent)?.is_some_and(|account| account.mailbox == mailbox))
    }

    fn webhooks(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        let from = after.map_or_else(Vec::new, |mailbox| keys::of_mailbox(mailbox.saturating_add(1)));
        self.disk.scan(keys::OF_MAILBOX, &from, &mut |key, _| {
            found.extend(at::mailbox_of_webhook(key));
            if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(found)
    }
}

impl Writer {
    fn put_webhook(&mut self, mailbox: u64, record: &WebhookRecord) -> Result<(), StoreError> {
        self.put(at::webhook(mailbox), entry::encode(record)?);
        Ok(())
    }

    /// The webhook of a mailbox. `None`: there is none, or its agent has gone, and nothing may be written there.
    fn live_webhook(&self, mailbox: u64) -> Result<Option<WebhookRecord>, StoreError> {
        let reader = self.reader();
        match reader.webhook(mailbox)?.filter(|webhook| webhook.state != WebhookState::Removed) {
            Some(webhook) if reader.is_mailbox_of(&webhook.agent, mailbox)? => Ok(Some(webhook)),
            _ => Ok(None),
        }
    }

    fn set_webhook(&mut self, mailbox: u64, new: NewWebhook) -> Result<Option<WebhookRecord>, StoreError> {
        let NewWebhook { agent, url, secret, at } = new;
        if !self.reader().is_mailbox_of(&agent, mailbox)? {
            return Ok(None);
        }
        let known = self.live_webhook(mailbox)?;
        // Numbers only grow: what is in the mailbox by now has a smaller one, and what will come a greater one.
        let setting = self.number();
        let record = WebhookRecord {
            setting,
            agent,
            url,
            secret,
            previous: None,
            created: known.as_ref().map_or(at, |known| known.created),
            pushed_up_to: known.as_ref().map_or(setting, |known| known.pushed_up_to),
            state: WebhookState::Enabled,
            failing_since: None,
            failures: 0,
            resume_at: UnixMillis::default(),
            catching_up: known.is_some().then_some(0),
            last: None,
            given_up: known.map_or(0, |known| known.given_up),
        };
        self.put_webhook(mailbox, &record)?;
        self.wake(mailbox);
        Ok(Some(record))
    }

    fn rotate_webhook(
        &mut self,
        mailbox: u64,
        secret: WebhookSecret,
        until: UnixMillis,
    ) -> Result<Option<WebhookRecord>, StoreError> {
        let Some(mut webhook) = self.live_webhook(mailbox)? else { return Ok(None) };
        let former = std::mem::replace(&mut webhook.secret, secret);
        webhook.previous = Some(PreviousSecret { secret: former, until });
        self.put_webhook(mailbox, &webhook)?;
        Ok(Some(webhook))
    }

    fn remove_webhook(&mut self, mailbox: u64) -> Result<bool, StoreError> {
        let Some(webhook) = self.live_webhook(mailbox)? else { return Ok(false) };
        let removed = WebhookRecord {
            url: String::new(),
            secret: WebhookSecret::new(Vec::new()),
            previous: None,
            state: WebhookState::Removed,
            ..webhook
        };
        self.put_webhook(mailbox, &removed)?;
        self.wake(mailbox);
        Ok(true)
    }

    fn sweep_webhook(&mut self, mailbox: u64) -> Result<bool, StoreError> {
        let reader = self.reader();
        match reader.webhook(mailbox)? {
            Some(webhook) if webhook.state == WebhookState::Removed => {}
            _ => return Ok(false),
        }
        let mut left = Vec::new();
        for prefix in [at::pushes(mailbox), at::pushes_due(mailbox)] {
            left.extend(reader.list(&prefix, &prefix, MAX_STEP, |key, _| Ok(key.to_vec()))?);
        }
        let more = !left.is_empty();
        if !more {
            left.push(at::webhook(mailbox));
        }
        left.into_iter().for_each(|key| self.delete(key));
        Ok(more)
    }
}
