//! Looks once a second whether there is room for more messages, and says what mailboxes keep.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{Config, checked};
use crate::guard::{Guard, Limits, Shortage};
use crate::pipeline::settings::Live;
use crate::proto::address::Domain;
use crate::spool::contract::keeping::{MailboxDefaults, MailboxLimits};

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn limits(config: &checked::Guard) -> Limits {
    Limits {
        min_free_bytes: config.min_free_disk_bytes,
        min_free_percent: config.min_free_disk_percent,
        max_memory_bytes: config.max_memory_bytes,
    }
}

/// What mailboxes keep for which the operator has set nothing, as it is configured at each moment.
pub(super) struct Mailboxes {
    at_start: Arc<Config>,
    live: OnceLock<Live>,
}

impl Mailboxes {
    pub(super) fn new(at_start: Arc<Config>) -> Mailboxes {
        Mailboxes { at_start, live: OnceLock::new() }
    }

    /// From now on the settings in force count.
    pub(super) fn follow(&self, live: &Live) {
        // Only whoever builds the daemon calls this, once.
        let _ = self.live.set(live.clone());
    }
}

impl MailboxDefaults for Mailboxes {
    fn of(&self, domain: Option<&Domain>) -> MailboxLimits {
        let now = self.live.get().map(Live::now);
        let config = now.as_ref().map_or(&*self.at_start, |settings| &*settings.config);
        let own = domain.and_then(|domain| config.settings_of(domain));
        mailboxes(own.map_or(&config.mailbox, |settings| &settings.mailbox))
    }
}

fn mailboxes(config: &checked::Mailbox) -> MailboxLimits {
    MailboxLimits {
        keep_acknowledged: config.keep_acknowledged,
        keep_unread: config.keep_unread,
        quota: config.quota_bytes,
    }
}

/// What there is too little of before anybody asks.
pub(super) fn at_start(guard: &mut Guard) -> Option<Shortage> {
    let now = guard.look();
    tell(None, now);
    now
}

/// Tells everybody of shortages, and keeps the ballast.
pub(super) async fn watch(mut guard: Guard, shortage: watch::Sender<Option<Shortage>>, live: Live) {
    loop {
        guard.keep_to(limits(&live.now().config.guard));
        // The figures come from the file system, which may be slow when it is in trouble.
        let looked = tokio::task::spawn_blocking(move || {
            guard.tend_ballast();
            let now = guard.look();
            (guard, now)
        });
        let Ok((same, now)) = looked.await else { return };
        guard = same;
        shortage.send_if_modified(|before| {
            if *before != now {
                tell(*before, now);
            }
            std::mem::replace(before, now) != now
        });
        sleep(LOOK_EVERY).await;
    }
}

fn tell(before: Option<Shortage>, now: Option<Shortage>) {
    match (before, now) {
        (_, Some(now)) => tracing::warn!(reason = %now, "no messages are taken in until there is room again"),
        (Some(before), None) => tracing::warn!(reason = %before, "messages are taken in again"),
        (None, None) => {}
    }
}
