//! What may happen to a row of the queue: `step(state, event)`, pure.
//!
//! A row is one message on its way to one recipient. It starts `Leased` (its first attempt begins when it is
//! accepted) and ends `Done`, from which nothing leads away.

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
}

/// What can happen to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// An attempt starts; should it vanish, the row is due at `until`.
    Attempt {
        /// Not before now.
        until: UnixMillis,
    },
    /// The attempt failed for now.
    Retry {
        /// When to try again.
        due: UnixMillis,
    },
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

/// The state after `event`. Due times before `now` become `now`.
///
/// # Errors
/// [`Misfit`] if the event cannot happen in this state; the row stays as it is.
pub fn step(state: State, event: Event, now: UnixMillis) -> Result<State, Misfit> {
    match (state, event) {
        (State::Queued { .. }, Event::Attempt { until }) => Ok(State::Leased { until: until.max(now) }),
        (State::Leased { .. }, Event::Attempt { until }) => Ok(State::Leased { until: until.max(now) }),
        (State::Leased { .. }, Event::Retry { due }) => Ok(State::Queued { due: due.max(now) }),
        (State::Queued { .. } | State::Leased { .. }, Event::End(ending)) => Ok(State::Done(ending)),
        (State::Queued { .. }, Event::Retry { .. }) | (State::Done(_), _) => Err(Misfit { state, event }),
    }
}

impl State {
    /// When the row wants attention. `None`: never again.
    pub fn due(self) -> Option<UnixMillis> {
        match self {
            State::Queued { due } => Some(due),
            State::Leased { until } => Some(until),
            State::Done(_) => None,
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
            time.clone().prop_map(|until| Event::Attempt { until }),
            time.prop_map(|due| Event::Retry { due }),
            Just(Event::End(Ending::Delivered)),
            Just(Event::End(Ending::DeliveredInferred)),
            Just(Event::End(Ending::Bounced)),
        ]
    }

    proptest! {
        #[test]
        fn ends_absorb_and_due_is_never_before_now(events in proptest::collection::vec(event(), 0..40)) {
            let mut state = State::Leased { until: UnixMillis(0) };
            for (index, event) in events.into_iter().enumerate() {
                let now = UnixMillis(index as u64 * 50);
                let before = state;
                match step(state, event, now) {
                    Ok(next) => {
                        prop_assert!(!matches!(before, State::Done(_)));
                        prop_assert!(next.due().is_none_or(|due| due >= now));
                        state = next;
                    }
                    Err(_) => {
                        let refuses = matches!(before, State::Done(_) | State::Queued { .. });
                        prop_assert!(refuses);
                    }
                }
            }
        }
    }
}
