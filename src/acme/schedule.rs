//! When an attempt is due, and what holds it back. No I/O: the runner stores the [`Record`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Certificate;
use crate::env::rng::{Rng, below};
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// Version of the record's form.
const VERSION: u8 = 1;
/// Wait after the first failed attempt; doubled by each that follows.
pub(super) const FIRST_WAIT: Duration = Duration::from_secs(3600);
/// Longest wait between two attempts, unless the authority wants a longer one.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Longest wait that is believed to an authority: its limits are counted by the week.
pub(super) const LONGEST_TOLD_WAIT: Duration = Duration::from_secs(8 * 24 * 3600);
/// Attempts without a certificate that may be made in an hour, those of an operator included.
pub(super) const MAX_FAILED_PER_HOUR: usize = 5;
/// The hour of [`MAX_FAILED_PER_HOUR`].
const HOUR: Duration = Duration::from_secs(3600);
/// At the latest a certificate is renewed when this part of its life is left, however long `renew_before` is.
const LIFE_LEFT: u32 = 3;
/// A new certificate is not replaced sooner, or within a third of its life if that is less, whatever the authority
/// suggests: so that a clock or an authority gone wrong does not have us order without end.
const SHORTEST_USE: Duration = Duration::from_secs(24 * 3600);
/// Renewal is spread over this part of `renew_before`, so that servers set up together do not come together.
const SPREAD: u32 = 20;
/// Steps of that spread.
const SPREAD_STEPS: u64 = 1000;

/// What is kept over restarts: `acme/state.json` in the daemon's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    version: u8,
    /// Limits are one authority's.
    directory: String,
    /// What was last asked for.
    names: Vec<String>,
    /// No attempt before. Stored before the attempt it follows, so that a crash holds back as a failure does.
    not_before: Option<UnixMillis>,
    /// The authority wants no orders before.
    pub(super) limited_until: Option<UnixMillis>,
    pub(super) failures: u32,
    /// Attempts of the last hour that brought no certificate.
    recent: Vec<UnixMillis>,
    pub(super) last_attempt: Option<UnixMillis>,
    pub(super) last_error: Option<String>,
    /// Where in the spread this certificate is renewed.
    spread: u64,
    /// When the authority suggests to renew it (RFC 9773). `None`: it does not say.
    suggested: Option<UnixMillis>,
}

/// What forbids an attempt, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The authority has said so.
    ByAuthority(UnixMillis),
    /// Too many attempts within an hour have failed: it would soon say so.
    ByFailures(UnixMillis),
    /// What has to be noted before an attempt cannot be stored.
    ByDisk(UnixMillis),
}

impl Record {
    /// What is stored, if it is about this authority; what was found out about other names does not hold back.
    pub fn resume(stored: Option<Record>, directory: &str, names: &[Domain]) -> Record {
        let names: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
        let mut record = stored.filter(|record| record.directory == directory).unwrap_or_default();
        if record.names != names {
            (record.failures, record.not_before, record.last_error) = (0, None, None);
        }
        Record { version: VERSION, directory: directory.to_owned(), names, ..record }
    }

    /// When an attempt is to be made: when the certificate is due, or later if something holds it back.
    pub fn next_attempt(&self, renew_at: Option<UnixMillis>, now: UnixMillis) -> UnixMillis {
        let held = self.held(now).map(Held::until);
        let times = [renew_at, self.not_before.filter(|_| self.failures > 0), held];
        times.into_iter().flatten().max().unwrap_or(now)
    }

    /// When a certificate is due for renewal: `renew_before` its end or when a third of its life is left, whichever is
    /// later, somewhat spread; or when the authority suggests, if that is earlier.
    pub fn renew_at(&self, certificate: &Certificate, renew_before: Duration) -> UnixMillis {
        let life = certificate.not_after.since(certificate.not_before);
        let before = renew_before.min(life / LIFE_LEFT);
        let steps = u32::try_from(self.spread.min(SPREAD_STEPS)).unwrap_or_default();
        let before = before + before / SPREAD / SPREAD_STEPS as u32 * steps;
        let own = UnixMillis(certificate.not_after.0.saturating_sub(millis(before)));
        let wanted = self.suggested.map_or(own, |suggested| suggested.min(own));
        let issued = self.last_attempt.filter(|_| self.failures == 0);
        wanted.max(issued.unwrap_or_default().plus(SHORTEST_USE.min(life / LIFE_LEFT)))
    }

    /// The authority gives a window to renew in, or none; a moment of it is chosen once for each certificate, so that it
    /// moves with the window only. `true`: something has changed.
    pub fn suggest(&mut self, window: Option<(UnixMillis, UnixMillis)>) -> bool {
        let chosen = window.map(|(start, end)| {
            let share = end.0.saturating_sub(start.0) / SPREAD_STEPS * self.spread.min(SPREAD_STEPS);
            UnixMillis(start.0.saturating_add(share))
        });
        std::mem::replace(&mut self.suggested, chosen) != chosen
    }

    /// What forbids even an operator an attempt now. `None`: nothing.
    pub fn held(&self, now: UnixMillis) -> Option<Held> {
        if let Some(until) = self.limited_until.filter(|until| *until > now) {
            return Some(Held::ByAuthority(until));
        }
        let recent = || self.recent.iter().filter(|at| at.plus(HOUR) > now);
        if recent().count() < MAX_FAILED_PER_HOUR {
            return None;
        }
        let oldest = recent().min().copied()?;
        Some(Held::ByFailures(oldest.plus(HOUR)))
    }

    /// An attempt begins: until the contrary is known it counts as failed.
    pub fn begin(&mut self, now: UnixMillis, rng: &dyn Rng) {
        self.failures = self.failures.saturating_add(1);
        self.last_attempt = Some(now);
        self.not_before = Some(now.plus(wait_after(self.failures, rng)));
        self.recent.retain(|at| at.plus(HOUR) > now && *at <= now);
        self.recent.push(now);
        self.last_error = Some("it was interrupted".into());
    }

    /// It failed. `told`: when the authority wants the next one at the earliest; `limited`: it wants none at all before.
    pub fn failed(&mut self, error: String, told: Option<UnixMillis>, limited: bool, now: UnixMillis) {
        self.last_error = Some(error);
        let told = told.map(|at| at.min(now.plus(LONGEST_TOLD_WAIT)));
        self.not_before = self.not_before.max(told);
        if limited {
            self.limited_until = told.or(self.not_before);
        }
    }

    /// It brought a certificate.
    pub fn succeeded(&mut self, rng: &dyn Rng) {
        self.recent.retain(|at| Some(*at) != self.last_attempt);
        (self.failures, self.not_before, self.limited_until) = (0, None, None);
        (self.last_error, self.suggested) = (None, None);
        self.spread = below(rng, SPREAD_STEPS + 1);
    }
}

impl Held {
    /// Until when.
    pub fn until(self) -> UnixMillis {
        match self {
            Held::ByAuthority(until) | Held::ByFailures(until) | Held::ByDisk(until) => until,
        }
    }
}

/// An hour, doubled up to a day, and up to a tenth more: never less.
fn wait_after(failures: u32, rng: &dyn Rng) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    wait + Duration::from_millis(below(rng, millis(wait) / 10 + 1))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
