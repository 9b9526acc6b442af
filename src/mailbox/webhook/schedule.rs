//! When a push is made again, when it is given up, and when the whole webhook is.

use std::time::Duration;

use bytes::Bytes;

use crate::env::rng::{self, Rng};
use crate::proto::time::UnixMillis;
use crate::spool::contract::webhooks::{Disable, LeasedPush, PushEnd, PushFailure, PushLease};
use crate::spool::entry::webhooks::{Disabling, PushOutcome, PushResult};

use super::client::Answered;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Waits after the first, second, … failed attempt; the last one repeats. Each is stretched or shrunk by a tenth.
pub const WAITS: [Duration; 8] = [
    Duration::from_secs(5),
    MINUTE,
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3600),
    Duration::from_secs(5 * 3600),
    Duration::from_secs(10 * 3600),
    Duration::from_secs(12 * 3600),
];
/// How long after its first attempt a message is given up, although others are taken.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * DAY.as_secs());
/// After so long of nothing but failures nothing is pushed any more.
pub const DISABLE_AFTER: Duration = Duration::from_secs(5 * DAY.as_secs());
/// Longest wait that a receiver may impose with `Retry-After`.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(12 * 3600);
/// When failures have lasted so long, a success has all that waits tried at once.
pub const CATCH_UP_AFTER: Duration = Duration::from_secs(10 * 60);
/// Failures in a row after which the receiver is left alone for a while.
const PATIENCE: u32 = 3;
/// For how long at first; each further failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Longest time between the beginning of an attempt and the noting of its end.
const LEASE: Duration = Duration::from_secs(60);

/// How an attempt that begins now is noted, while those of `busy` are under way.
pub fn lease(rng: &dyn Rng, busy: Vec<u64>) -> PushLease {
    PushLease { attempt: LEASE, waits: WAITS.iter().map(|wait| rng::jittered(rng, *wait)).collect(), busy }
}

/// How long the receiver is left alone after so many failures in a row.
pub fn pause(failures: u32) -> Duration {
    match failures.checked_sub(PATIENCE) {
        None => Duration::ZERO,
        Some(further) => FIRST_PAUSE.saturating_mul(1 << further.min(10)).min(LONGEST_PAUSE),
    }
}

/// What follows from an attempt that ended at `now`. `notice` makes the message for the agent, should it be told.
pub fn end(
    rng: &dyn Rng,
    leased: &LeasedPush,
    answered: &Answered,
    now: UnixMillis,
    notice: impl FnOnce(Disabling) -> Bytes,
) -> PushEnd {
    let webhook = &leased.webhook;
    let outcome = answered.outcome;
    let failing_for = webhook.failing_since.map(|since| now.since(since));
    let failure = (!outcome.is_success()).then(|| {
        let why = match outcome {
            PushOutcome::Answered(410) => Some(Disabling::Gone),
            _ => failing_for.filter(|time| *time >= DISABLE_AFTER).map(|_| Disabling::Failing),
        };
        let asked = answered.retry_after.map(|wait| wait.min(MAX_RETRY_AFTER));
        let scheduled = lease(rng, Vec::new()).wait_after(leased.push.attempts);
        let is_over = why.is_none() && now.since(leased.push.first) >= GIVE_UP_AFTER;
        PushFailure {
            next: (!is_over).then(|| now.plus(scheduled.max(asked.unwrap_or_default()))),
            resume_at: now.plus(asked.unwrap_or_default().max(pause(webhook.failures.saturating_add(1)))),
            disable: why.map(|why| Disable {
                why,
                failing_since: webhook.failing_since.filter(|_| why == Disabling::Failing),
                notice: notice(why),
            }),
        }
    });
    PushEnd {
        setting: webhook.setting,
        cursor: leased.cursor,
        result: PushResult { at: now, outcome },
        failure,
        catch_up: failing_for.is_some_and(|time| time >= CATCH_UP_AFTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_as_a_list() {
        let lease = PushLease { attempt: LEASE, waits: WAITS.to_vec(), busy: Vec::new() };
        let minutes: Vec<u64> = (1..=10).map(|attempt| lease.wait_after(attempt).as_secs() / 60).collect();
        assert_eq!(minutes, [0, 1, 5, 30, 120, 300, 600, 720, 720, 720]);
        assert_eq!(lease.wait_after(1), Duration::from_secs(5));
    }

    #[test]
    fn a_receiver_that_fails_again_and_again_is_left_alone_for_longer_and_longer() {
        let seconds: Vec<u64> = (0..12).map(|failures| pause(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
