//! Looks once a second whether there is room for more messages.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::checked;
use crate::guard::{Guard, Limits, Shortage};
use crate::spool::contract::keeping::MailboxLimits;

/// How often the machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn limits(config: &checked::Guard) -> Limits {
    Limits {
        min_free_bytes: config.min_free_disk_bytes,
        min_free_percent: config.min_free_disk_percent,
        max_memory_bytes: config.max_memory_bytes,
    }
}

/// What mailboxes keep for which the operator has set nothing.
pub(super) fn mailboxes(config: &checked::Mailbox) -> MailboxLimits {
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
pub(super) async fn watch(mut guard: Guard, shortage: watch::Sender<Option<Shortage>>) {
    loop {
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
