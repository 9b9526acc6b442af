//! What may happen to a row of the queue: `step(progress, event, now)`, pure.
//!
//! A row is one message on its way to one recipient. It starts `Leased` (its first attempt begins when it is
//! accepted) and ends `Done`, from which nothing leads away.
//!
//! ```text
//!              Attempt                End
//!   Queued ─────────────▶ Leased ───────────▶ Done
//!     ▲ ▲                  │  │                ▲
//!     │ └─── Retry, Wait ──┘  │ Hold           │ End
//!     │                       ▼                │
//!     └────── Release ────── Held ─────────────┘
//! ```
//!
//! A bounce is written together with its row's end, so there is no state between the two.

use serde::{Deserialize, Serialize};

use crate::proto::time::UnixMillis;

/// Where a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Waiting for its next attempt.
    Queued {
        /// When the next attempt may start.
        due: UnixMillis,
    },
    /// An attempt is under way. Should we crash during it, the row is due again at `until`, which was stored
    /// before the peer was dialled.
    Leased {
        /// When the row is due if nothing more is heard of this attempt.
        until: UnixMillis,
    },
    /// The operator wants it left alone; its clock stands still.
    Held {
        /// Since when.
        since: UnixMillis,
    },
    /// Ended.
    Done(Ending),
}

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// The recipient's server, or this one, has put it into the mailbox.
    Delivered,
    /// The recipient's server said it knows it, which can only mean an attempt of ours whose answer was lost.
    DeliveredInferred,
    /// The sender has been told that it failed.
    Bounced,
    /// The operator removed it; the sender has not been told.
    Cancelled,
}

/// A row's state and how often it has been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// Attempts that have ended, those that vanished in a crash included. Only grows.
    pub attempts: u32,
}

/// What can happen to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An attempt starts; should it vanish, the row is due at `until`. On a row that is leased already: that
    /// attempt has vanished.
    Attempt {
        /// Not before now.
        until: UnixMillis,
    },
    /// The attempt failed for now.
    Retry {
        /// When to try again.
        due: UnixMillis,
    },
    /// The attempt was not made after all: the row waits for its destination and has used up nothing.
    Wait,
    /// The operator wants it tried now.
    Wake,
    /// The operator wants it left alone.
    Hold,
    /// The operator lets it go on.
    Release,
    /// The attempt, or the row's time, came to an end.
    End(Ending),
}

/// The event does not fit the state: somebody else has moved the row in the meantime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} does not apply to {state:?}")]
pub struct Misfit {
    state: State,
    event: Event,
}

/// The progress after `event`. Due times before `now` become `now`.
///
/// # Errors
/// [`Misfit`] if the event cannot happen in this state; the row stays as it is.
pub fn step(progress: Progress, event: Event, now: UnixMillis) -> Result<Progress, Misfit> {
    use State::{Done, Held, Leased, Queued};
    let Progress { state, attempts } = progress;
    let (state, attempted) = match (state, event) {
        (Queued { .. }, Event::Attempt { until }) => (Leased { until: until.max(now) }, false),
        (Leased { .. }, Event::Attempt { until }) => (Leased { until: until.max(now) }, true),
        (Leased { .. }, Event::Retry { due }) => (Queued { due: due.max(now) }, true),
        // Held while its attempt was under way: it stays held.
        (Held { .. }, Event::Retry { .. }) => (state, true),
        (Queued { .. } | Leased { .. }, Event::Wait) => (Queued { due: now }, false),
        (Queued { .. }, Event::Wake) | (Held { .. }, Event::Release) => (Queued { due: now }, false),
        (Queued { .. }, Event::Hold) => (Held { since: now }, false),
        (Leased { .. }, Event::Hold) => (Held { since: now }, true),
        (Leased { .. }, Event::End(ending)) => (Done(ending), true),
        (Queued { .. } | Held { .. }, Event::End(ending)) => (Done(ending), false),
        (Queued { .. } | Held { .. } | Leased { .. }, _) | (Done(_), _) => {
            return Err(Misfit { state, event });
        }
    };
    Ok(Progress { state, attempts: attempts.saturating_add(u32::from(attempted)) })
}

impl State {
    /// When the row wants attention. `None`: not by itself.
    pub fn due(self) -> Option<UnixMillis> {
        match self {
            State::Queued { due } => Some(due),
            State::Leased { until } => Some(until),
            State::Held { .. } | State::Done(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = Event> {
        let time = (0u64..1000).prop_map(UnixMillis);
        prop_oneof![
            4 => time.clone().prop_map(|until| Event::Attempt { until }),
            4 => time.prop_map(|due| Event::Retry { due }),
            1 => Just(Event::Wait),
            1 => Just(Event::Wake),
            1 => Just(Event::Hold),
            1 => Just(Event::Release),
            1 => Just(Event::End(Ending::Delivered)),
            1 => Just(Event::End(Ending::DeliveredInferred)),
            1 => Just(Event::End(Ending::Bounced)),
            1 => Just(Event::End(Ending::Cancelled)),
        ]
    }

    proptest! {
        #[test]
        fn no_event_loses_a_row(events in proptest::collection::vec(event(), 0..60)) {
            let mut progress = Progress { state: State::Leased { until: UnixMillis(0) }, attempts: 0 };
            for (index, event) in events.into_iter().enumerate() {
                let now = UnixMillis(index as u64 * 50);
                let before = progress;
                let Ok(next) = step(progress, event, now) else { continue };
                let ends = matches!(event, Event::End(_));
                prop_assert!(!matches!(before.state, State::Done(_)), "an end absorbs");
                prop_assert_eq!(matches!(next.state, State::Done(_)), ends, "only an end ends");
                prop_assert!(next.attempts == before.attempts || next.attempts == before.attempts + 1);
                prop_assert!(next.state.due().is_none_or(|due| due >= now), "due is never before now");
                let waits = next.state.due().is_some() || matches!(next.state, State::Held { .. });
                prop_assert!(ends || waits, "what has not ended is due some day, or held");
                progress = next;
            }
        }

        #[test]
        fn every_row_can_be_ended(events in proptest::collection::vec(event(), 0..60)) {
            let mut progress = Progress { state: State::Leased { until: UnixMillis(0) }, attempts: 0 };
            for event in events.into_iter().filter(|event| !matches!(event, Event::End(_))) {
                progress = step(progress, event, UnixMillis(7)).unwrap_or(progress);
            }
            prop_assert!(step(progress, Event::End(Ending::Bounced), UnixMillis(7)).is_ok());
        }

        #[test]
        fn waiting_for_a_destination_uses_up_no_attempt(rounds in 0u32..50) {
            let mut progress = Progress { state: State::Queued { due: UnixMillis(0) }, attempts: 3 };
            for _ in 0..rounds {
                progress = step(progress, Event::Attempt { until: UnixMillis(9) }, UnixMillis(5)).unwrap();
                progress = step(progress, Event::Wait, UnixMillis(6)).unwrap();
            }
            prop_assert_eq!(progress.attempts, 3);
        }
    }

    #[test]
    fn an_attempt_that_vanished_counts() {
        let leased = Progress { state: State::Leased { until: UnixMillis(5) }, attempts: 0 };
        let again = step(leased, Event::Attempt { until: UnixMillis(20) }, UnixMillis(6)).unwrap();
        assert_eq!(again, Progress { state: State::Leased { until: UnixMillis(20) }, attempts: 1 });
    }
}
