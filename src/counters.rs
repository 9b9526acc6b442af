//! What has happened since the start, as `stats` and the metrics report it: each thing is counted here, and once.
//!
//! Counting is an addition to an atomic number; names and labels are made when somebody reads.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::proto::status::Reason;

mod counter;
mod gauges;
mod histogram;
mod limited;

pub use counter::{Counter, Level, Raised};
pub use gauges::{AcmeState, CertificateState, Gauges, KeyState, ReloadState};
pub use histogram::{BOUNDS_MICROS, Histogram, Seen};
pub use limited::Limited;

/// Kinds of DNS records that are asked for, as labels; the order of [`Counters::dns_answers`].
pub const DNS_KINDS: [&str; 6] = ["SVCB", "SRV", "TXT", "A", "AAAA", "CNAME"];
/// What came of a DNS look-up, as labels; the order within one kind.
pub const DNS_RESULTS: [&str; 6] = ["found", "absent", "servfail", "refused", "timeout", "unusable"];
/// What came of a connection to a peer, as labels; the order of [`Counters::dials`].
pub const DIAL_RESULTS: [&str; 4] = ["connected", "unreachable", "timeout", "tls"];
/// Which questions to the resolver have had no answer of any kind.
const DNS_SILENT: [usize; 2] = [4, 5];

/// Every counter of a daemon.
#[derive(Debug)]
pub struct Counters {
    /// Messages accepted from own agents.
    pub submissions: Counter,
    /// Messages accepted from peers.
    pub transfers: Counter,
    /// Submissions accepted that left rows in the queue.
    pub forwarded: Counter,
    /// Messages put into mailboxes here.
    pub delivered: Counter,
    /// Repeats recognised.
    pub repeated: Counter,
    /// Messages refused, by reason, in the order of [`Reason::ALL`].
    refused: [Counter; Reason::ALL.len()],
    /// Messages refused unread, for want of disk, memory or a working store; they count in `refused` too.
    pub refused_unread: Counter,
    /// Attempts begun.
    pub attempts_begun: Counter,
    /// Attempts ended.
    pub attempts_ended: Counter,
    /// Rows whose recipient's server has taken the message.
    pub transferred: Counter,
    /// Of these, rows for which that was inferred.
    pub inferred: Counter,
    /// Receipts that a peer has taken.
    pub receipts_sent: Counter,
    /// Receipts that ended without being taken.
    pub receipts_dropped: Counter,
    /// Receipts from peers that told something new.
    pub receipts_heard: Counter,
    /// Attempts that failed for now.
    pub deferred: Counter,
    /// Attempts after which no other is made.
    pub failed: Counter,
    /// Delay notices.
    pub delayed: Counter,
    /// Rows that ended in a bounce.
    pub bounced: Counter,
    /// Transfers that were allowed by their domain's policy, or about which it says nothing.
    pub ats_passed: Counter,
    /// Transfers refused for their domain's policy.
    pub ats_refused: Counter,
    /// Transfers whose signature holds.
    pub atk_passed: Counter,
    /// Transfers refused for their signature or key.
    pub atk_refused: Counter,
    /// Credentials accepted.
    pub credentials_accepted: Counter,
    /// Credentials refused.
    pub credentials_refused: Counter,
    /// The operator's calls refused for want of a good token.
    pub operator_refused: Counter,
    /// What was refused because there was too much of it, by limit ([`Limited`]).
    limited: [Counter; Limited::ALL.len()],
    /// Messages acknowledged.
    pub acknowledged: Counter,
    /// Messages handed out to workers.
    pub claimed: Counter,
    /// Messages given back by workers.
    pub returned: Counter,
    /// Messages that became dead letters.
    pub dead: Counter,
    /// Pushes that a receiver took.
    pub pushed: Counter,
    /// Pushes that failed.
    pub push_failed: Counter,
    /// Webhooks disabled for failing too long, or because their receiver said so.
    pub webhooks_disabled: Counter,
    /// Questions to the resolver, by kind ([`DNS_KINDS`]) and result ([`DNS_RESULTS`]).
    dns_answers: [[Counter; DNS_RESULTS.len()]; DNS_KINDS.len()],
    /// Questions that the resolver has left without an answer since its last one.
    dns_unanswered: AtomicU64,
    /// Connections to peers, by result ([`DIAL_RESULTS`]).
    dials: [Counter; DIAL_RESULTS.len()],
    /// Connections taken by the public listener.
    pub connections: Counter,
    /// Connections that it has open.
    pub connections_open: Level,
    /// TLS handshakes that failed on the public listener.
    pub handshakes_failed: Counter,
    /// Bytes of keys and values written to the store.
    pub store_bytes: Counter,
    /// Writes and syncs of the store that failed.
    pub store_failures: Counter,
    /// From the acceptance of a submission here until the recipient's server has taken it.
    pub delivery: Histogram,
    /// From a submission's form being right until it is on disk.
    pub submission: Histogram,
    /// From a transfer's form being right until it is in the mailbox, on disk.
    pub transfer: Histogram,
    /// Attempts, whatever came of them.
    pub attempt: Histogram,
    /// Judging a transfer: policy and signature, DNS included.
    pub verify: Histogram,
    /// Signing.
    pub sign: Histogram,
    /// Questions to the resolver.
    pub dns: Histogram,
    /// Connections to peers, TCP and TLS together, that came about.
    pub dial: Histogram,
    /// TLS handshakes of the public listener that came about.
    pub handshake: Histogram,
    /// Syncs of the store.
    pub sync: Histogram,
}

impl Default for Counters {
    fn default() -> Counters {
        let counter = Counter::default;
        let time = Histogram::default;
        Counters {
            submissions: counter(),
            transfers: counter(),
            forwarded: counter(),
            delivered: counter(),
            repeated: counter(),
            refused: array::from_fn(|_| counter()),
            refused_unread: counter(),
            attempts_begun: counter(),
            attempts_ended: counter(),
            transferred: counter(),
            inferred: counter(),
            receipts_sent: counter(),
            receipts_dropped: counter(),
            receipts_heard: counter(),
            deferred: counter(),
            failed: counter(),
            delayed: counter(),
            bounced: counter(),
            ats_passed: counter(),
            ats_refused: counter(),
            atk_passed: counter(),
            atk_refused: counter(),
            credentials_accepted: counter(),
            credentials_refused: counter(),
            operator_refused: counter(),
            limited: array::from_fn(|_| counter()),
            acknowledged: counter(),
            claimed: counter(),
            returned: counter(),
            dead: counter(),
            pushed: counter(),
            push_failed: counter(),
            webhooks_disabled: counter(),
            dns_answers: array::from_fn(|_| array::from_fn(|_| counter())),
            dns_unanswered: AtomicU64::default(),
            dials: array::from_fn(|_| counter()),
            connections: counter(),
            connections_open: Level::default(),
            handshakes_failed: counter(),
            store_bytes: counter(),
            store_failures: counter(),
            delivery: time(),
            submission: time(),
            transfer: time(),
            attempt: time(),
            verify: time(),
            sign: time(),
            dns: time(),
            dial: time(),
            handshake: time(),
            sync: time(),
        }
    }
}

impl Counters {
    /// Messages accepted, from agents and from peers.
    pub fn received(&self) -> u64 {
        self.submissions.get() + self.transfers.get()
    }

    /// Attempts under way.
    pub fn under_way(&self) -> u64 {
        self.attempts_begun.get().saturating_sub(self.attempts_ended.get())
    }

    /// A submission was accepted: `delivered` copies went into mailboxes here, others may have been `queued`.
    pub fn submitted(&self, delivered: u64, queued: bool) {
        self.submissions.add();
        self.delivered.add_many(delivered);
        self.forwarded.add_many(u64::from(queued));
    }

    /// A transfer was put into its mailbox.
    pub fn taken_over(&self) {
        self.transfers.add();
        self.delivered.add();
    }

    /// A message was refused.
    pub fn refused(&self, reason: Reason) {
        if let Some(counter) = self.refused.get(reason as usize) {
            counter.add();
        }
    }

    /// How many messages were refused for each reason that a request can be refused for.
    pub fn refusals(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = Reason::ALL.into_iter().zip(&self.refused);
        all.filter(|(reason, _)| reason.http().is_some()).map(|(reason, count)| (reason, count.get()))
    }

    /// Something was refused because there was too much of it.
    pub fn limited(&self, limit: Limited) {
        if let Some(counter) = self.limited.get(limit as usize) {
            counter.add();
        }
    }

    /// How often each limit was met.
    pub fn limits_met(&self) -> impl Iterator<Item = (Limited, u64)> {
        Limited::ALL.into_iter().zip(&self.limited).map(|(limit, count)| (limit, count.get()))
    }

    /// The resolver was asked. `kind` and `result`: places in [`DNS_KINDS`] and [`DNS_RESULTS`].
    pub fn asked_dns(&self, kind: usize, result: usize) {
        if let Some(counter) = self.dns_answers.get(kind).and_then(|results| results.get(result)) {
            counter.add();
        }
        if DNS_SILENT.contains(&result) {
            self.dns_unanswered.fetch_add(1, Ordering::Relaxed);
        } else {
            self.dns_unanswered.store(0, Ordering::Relaxed);
        }
    }

    /// How often the resolver was asked, by kind and result, as labels.
    pub fn dns_answers(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let kinds = DNS_KINDS.into_iter().zip(&self.dns_answers);
        kinds.flat_map(|(kind, results)| {
            DNS_RESULTS.into_iter().zip(results).map(move |(result, count)| (kind, result, count.get()))
        })
    }

    /// How many questions in a row the resolver has left without an answer.
    pub fn dns_unanswered(&self) -> u64 {
        self.dns_unanswered.load(Ordering::Relaxed)
    }

    /// A peer was dialled. `result`: a place in [`DIAL_RESULTS`].
    pub fn dialled(&self, result: usize) {
        if let Some(counter) = self.dials.get(result) {
            counter.add();
        }
    }

    /// How often peers were dialled, by result, as labels.
    pub fn dials(&self) -> impl Iterator<Item = (&'static str, u64)> {
        DIAL_RESULTS.into_iter().zip(&self.dials).map(|(result, count)| (result, count.get()))
    }

    /// A transfer was judged. What is refused before DNS is asked counts nowhere.
    pub fn verified<T>(&self, verdict: Result<T, Reason>) {
        match verdict {
            Ok(_) => {
                self.ats_passed.add();
                self.atk_passed.add();
            }
            Err(Reason::AtsDenied | Reason::AtsBroken | Reason::AtsLookup) => self.ats_refused.add(),
            Err(Reason::BadSignature | Reason::BadKey | Reason::AtkLookup) => {
                self.ats_passed.add();
                self.atk_refused.add();
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        let counters = Counters::default();
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| counters.refused(reason));
        }
        for (times, reason) in Reason::ALL.into_iter().enumerate() {
            let counted = counters.refusals().find(|(of, _)| *of == reason);
            assert_eq!(counted, reason.http().map(|_| (reason, times as u64)));
        }
    }

    #[test]
    fn an_answer_of_any_kind_ends_the_silence_of_dns() {
        let counters = Counters::default();
        (0..3).for_each(|_| counters.asked_dns(2, 4));
        counters.asked_dns(0, 5);
        assert_eq!(counters.dns_unanswered(), 4);
        counters.asked_dns(0, 2);
        assert_eq!(counters.dns_unanswered(), 0);
        let counted =
            |kind, result| counters.dns_answers().find(|of| (of.0, of.1) == (kind, result)).unwrap().2;
        assert_eq!(
            (counted("TXT", "timeout"), counted("SVCB", "servfail"), counted("A", "found")),
            (3, 1, 0)
        );
    }
}
