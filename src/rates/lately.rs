//! Whom a limit has held up lately, for the operator to see.

use std::time::Duration;

use tokio::time::Instant;

use crate::counters::Limited;

/// How long somebody is shown after the last refusal.
const SHOWN_FOR: Duration = Duration::from_secs(600);
/// Most that are shown; a new one takes the place of the one that was refused longest ago.
const MAX_SHOWN: usize = 20;

/// Somebody who was refused because of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldUp {
    /// Which limit.
    pub limit: Limited,
    /// An agent, a domain or an address.
    pub name: String,
    /// How often since it is shown.
    pub times: u64,
}

/// The last of them.
#[derive(Debug, Default)]
pub(super) struct Lately(Vec<(Instant, HeldUp)>);

impl Lately {
    /// Notes a refusal, and says in the log that it was the first, tenth, hundredth …: each is counted, but nobody can
    /// fill the log by asking.
    pub(super) fn note(&mut self, limit: Limited, name: String, now: Instant) {
        let times = self.count(limit, name.clone(), now);
        if times.checked_ilog10().is_some_and(|power| times == 10_u64.pow(power)) {
            tracing::info!(limit = limit.as_str(), name, times, "held up");
        }
    }

    /// How often it has been refused.
    fn count(&mut self, limit: Limited, name: String, now: Instant) -> u64 {
        self.drop_old(now);
        if let Some((at, known)) =
            self.0.iter_mut().find(|(_, known)| known.limit == limit && known.name == name)
        {
            (*at, known.times) = (now, known.times.saturating_add(1));
            return known.times;
        }
        if self.0.len() >= MAX_SHOWN
            && let Some((oldest, _)) = self.0.iter().enumerate().min_by_key(|(_, (at, _))| *at)
        {
            self.0.remove(oldest);
        }
        self.0.push((now, HeldUp { limit, name, times: 1 }));
        1
    }

    /// Those of the last ten minutes, the most often refused first.
    pub(super) fn shown(&mut self, now: Instant) -> Vec<HeldUp> {
        self.drop_old(now);
        let mut shown: Vec<HeldUp> = self.0.iter().map(|(_, held_up)| held_up.clone()).collect();
        shown.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.name.cmp(&b.name)));
        shown
    }

    fn drop_old(&mut self, now: Instant) {
        self.0.retain(|(at, _)| now < *at + SHOWN_FOR);
    }
}
