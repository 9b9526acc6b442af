//! What follows from an attempt's outcome: delivered, again later, or a bounce.

use std::time::Duration;

use bytes::Bytes;

use super::settings::Settings;
use super::{Pipeline, receipt};
use crate::deliver::bounce::{self, Failed};
use crate::env::rng;
use crate::proto::address::Address;
use crate::proto::message::Message;
use crate::proto::status::{DELIVERED_CODE, Reason};
use crate::proto::time::UnixMillis;
use crate::spool::contract::Settlement;
use crate::spool::entry::{Row, Step, Unanswered};
use crate::spool::retry::Schedule;
use crate::spool::state::Ending;
use crate::transfer::{Again, Failure, Outcome, Via};

/// How long keys and policies get to spread through DNS caches.
const SPREADING: Duration = Duration::from_secs(3600);

impl Pipeline {
    /// Decides what becomes of a row. `message`: the author's, if it could be read. `micros`: how long the
    /// attempt took.
    pub(super) fn settlement(
        &self,
        settings: &Settings,
        row: &Row,
        message: Option<&Message>,
        outcome: Outcome,
        micros: u64,
    ) -> Settlement {
        let now = self.env.clock.now();
        let (ending, via) = match outcome {
            Outcome::Delivered(via) => (Ending::Delivered, via),
            Outcome::Inferred(via) => (Ending::DeliveredInferred, via),
            Outcome::Unwanted(via) => {
                self.counters.receipts_dropped.add();
                return receipt::unwanted(row, via, now);
            }
            Outcome::Failed(failure) => return self.failed(settings, row, message, failure, now),
        };
        let inferred = ending == Ending::DeliveredInferred;
        if receipt::is_one(row) {
            self.counters.receipts_sent.add();
        } else {
            self.counters.transferred.add();
            self.counters.inferred.add_many(u64::from(inferred));
            self.counters.delivery.took(now.since(row.accepted.wall));
        }
        tracing::info!(
            nonce = %row.nonce, to = %row.recipient, attempt = row.attempt(), micros, inferred, remote = via.remote, tls = via.tls, "transferred"
        );
        let text = if inferred {
            "delivered, inferred from the peer's refusal to take it twice"
        } else {
            "delivered"
        };
        let step = step(Some(via), now, DELIVERED_CODE.into(), text.into());
        Settlement::Delivered { ending, step }
    }

    fn failed(
        &self,
        settings: &Settings,
        row: &Row,
        message: Option<&Message>,
        failure: Failure,
        now: UnixMillis,
    ) -> Settlement {
        tracing::warn!(
            nonce = %row.nonce, to = %row.recipient, attempt = row.attempt(), code = failure.code,
            remote = failure.via.as_ref().map(|via| via.remote.as_str()), reason = failure.text, detail = failure.detail, "attempt failed"
        );
        let step = step(failure.via.as_deref().cloned(), now, failure.code.clone(), failure.text.clone())
            .because(failure.detail.as_deref());
        let left = row.after(settings.schedule.give_up_after).until(self.store.moment(now));
        let over = match failure.again {
            Again::Never => true,
            Again::ForAnHour => now.since(self.first_of_its_kind(row, now)) >= SPREADING,
            Again::Later(_) => false,
        };
        if (over || left.is_zero()) && receipt::is_one(row) {
            self.counters.receipts_dropped.add();
            Settlement::Dropped { step }
        } else if over {
            self.bounced(row, message, step)
        } else if left.is_zero() {
            self.bounced(row, message, expired(row, &step))
        } else {
            self.retried(&settings.schedule, row, &failure, step, (now, left))
        }
    }

    /// When the peer first refused the row for a key or a policy; tells the operator if that is now.
    fn first_of_its_kind(&self, row: &Row, now: UnixMillis) -> UnixMillis {
        let first = first_slow(row);
        if first.is_none() {
            tracing::error!(
                domain = %row.sender.domain(), to = %row.recipient.domain(),
                "a peer refuses our policy or signature: run `atp dns check`; tried again for an hour"
            );
        }
        first.map_or(now, |step| step.at)
    }

    fn retried(
        &self,
        schedule: &Schedule,
        row: &Row,
        failure: &Failure,
        step: Step,
        (now, left): (UnixMillis, Duration),
    ) -> Settlement {
        self.counters.deferred.add();
        let wait = rng::jittered(&*self.env.rng, schedule.wait_after(row.attempt()));
        let wait = match failure.again {
            Again::Later(Some(asked)) => wait.max(asked),
            _ => wait,
        };
        Settlement::Retry {
            // The last attempt is made when time is up, not before.
            due: now.plus(wait.min(left)),
            step,
            unanswered: unanswered_after(row, failure),
            restamp: row.restamp || (failure.stale && row.unanswered.is_none()),
            renamed: row.renamed.saturating_add(failure.rename.into()),
        }
    }

    fn bounced(&self, row: &Row, message: Option<&Message>, step: Step) -> Settlement {
        self.counters.failed.add();
        self.count_bounce(row, &step);
        let failed = failed(row, row.attempt(), message, &step);
        let bounce = bounce::bounce(&*self.env.rng, self.env.clock.now(), &failed);
        Settlement::Bounced { step, bounce }
    }

    /// A row ends in a bounce.
    pub(super) fn count_bounce(&self, row: &Row, step: &Step) {
        self.counters.bounced.add();
        tracing::warn!(
            nonce = %row.nonce, from = %row.sender, to = %row.recipient, code = step.code, reason = step.sentence(),
            "bounced"
        );
    }

    /// The bounce for a row that is not being attempted.
    pub(super) fn bounce_for(&self, row: &Row, message: Option<&Message>, step: &Step) -> Option<Bytes> {
        let failed = failed(row, row.attempts, message, step);
        bounce::bounce(&*self.env.rng, self.env.clock.now(), &failed)
    }

    /// The bounce for a recipient of ours that does not get a message at all.
    pub(super) fn bounce_at_once(
        &self,
        message: &Message,
        recipient: &Address,
        reason: Reason,
        text: &str,
    ) -> Option<Bytes> {
        let failed = Failed {
            sender: message.from(),
            nonce: message.nonce(),
            subject: message.subject(),
            recipient,
            code: reason.code(),
            reason: text,
            remote: None,
            attempts: 0,
            first_attempt: None,
            last_attempt: None,
        };
        bounce::bounce(&*self.env.rng, self.env.clock.now(), &failed)
    }
}

/// What a row's sender is told.
pub(super) fn failed<'a>(
    row: &'a Row,
    attempts: u32,
    message: Option<&'a Message>,
    step: &'a Step,
) -> Failed<'a> {
    Failed {
        sender: &row.sender,
        nonce: &row.nonce,
        subject: message.and_then(Message::subject),
        recipient: &row.recipient,
        code: &step.code,
        reason: step.sentence(),
        remote: step.remote.as_deref(),
        attempts,
        first_attempt: row.first_attempt,
        last_attempt: row.last_attempt,
    }
}

pub(super) fn step(via: Option<Via>, at: UnixMillis, code: String, text: String) -> Step {
    let tls = via.as_ref().and_then(|via| via.tls).map(str::to_owned);
    Step { at, remote: via.map(|via| via.remote), tls, code, text }
}

/// The first attempt that ended unanswered, now that one has failed. The next nonce, if the peer did not keep the
/// copy under the last, begins anew; certainty that an attempt was written goes before a suspicion.
fn unanswered_after(row: &Row, failure: &Failure) -> Option<Unanswered> {
    if failure.rename {
        return row.unanswered.clone().filter(|earlier| earlier.target.is_none());
    }
    let written = failure.written.as_ref().filter(|_| failure.unanswered);
    let last =
        written.zip(failure.via.as_ref()).map(|(plan, via)| super::unanswered(via.remote.clone(), plan));
    row.written_unanswered().cloned().or(last).or_else(|| row.unanswered.clone())
}

pub(super) fn expired(row: &Row, last: &Step) -> Step {
    let may = if row.unanswered.is_some() { " It may have been delivered all the same." } else { "" };
    let text = format!(
        "The message could not be delivered in time.{may} The last attempt: {} {}",
        last.code,
        last.sentence()
    );
    Step { code: Reason::Expired.code().into(), text, ..last.clone() }.because(last.cause())
}

/// When a row is given up if nothing changes. A peer's refusal of a key or a policy ends it sooner than the schedule: at
/// the first attempt that fails in this way after an hour.
pub fn given_up(row: &Row, schedule: &Schedule) -> UnixMillis {
    let at_last = row.after(schedule.give_up_after).wall;
    let last = row.trail.iter().rev().find(|step| !step.is_note());
    match last.filter(|step| is_slow(step)).and_then(|_| first_slow(row)) {
        Some(first) => {
            let hour = first.at.plus(SPREADING);
            at_last.min(row.state.due().map_or(hour, |due| due.max(hour)))
        }
        None => at_last,
    }
}

/// The first refusal of the row for a key or a policy. `None`: there was none.
fn first_slow(row: &Row) -> Option<&Step> {
    row.trail.iter().find(|step| is_slow(step))
}

fn is_slow(step: &Step) -> bool {
    [Reason::AtsDenied, Reason::BadSignature, Reason::BadKey].iter().any(|reason| reason.code() == step.code)
}
