//! What the service manager is told (`sd_notify(3)`), and when it is not: its watchdog is fed by the progress of the
//! queue runner and the committer, not by a timer.
//!
//! Fed: the runner's loop turns, and the committer has nothing to do or gets it done. Not fed: one of them has not come
//! back from a step that takes seconds at most on a machine that works; then a restart is the cure, and nothing is
//! lost by it. A disk that refuses (full, failing) is known trouble: the committer opens the store again and again, messages
//! are refused meanwhile, and the watchdog is fed, unless a single try hangs. Whether messages are taken in is for
//! `GET ready` to say, not for the watchdog.
//!
//! Without a service manager all of this does nothing.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::COMMITTER_PATIENCE;
use crate::server::state::App;
use crate::spool::contract::StoreError;
use crate::spool::pulse::Pulse;

/// How often the status is looked at, and progress at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks during the time after which the service manager gives us up.
const LOOKS_PER_TIMEOUT: u32 = 4;
/// How often a start that takes long asks for more time, and for how much.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
const EXTEND_BY: Duration = Duration::from_secs(30);
/// A start may take no longer than this, whatever it says.
const LONGEST_START: Duration = Duration::from_secs(3600);

/// Asks for more time as long as it is polled: opening or recovering a large store may take longer than the service
/// manager waits by default.
pub(super) async fn opening() -> Infallible {
    let begun = Instant::now();
    while begun.elapsed() < LONGEST_START {
        let text = format!("Opening the store, for {} s now", begun.elapsed().as_secs());
        notify(&[extend_by(EXTEND_BY), NotifyState::Status(&text)]);
        sleep(EXTEND_EVERY).await;
    }
    std::future::pending().await
}

/// It listens, and the store is open.
pub(super) fn ready(address: SocketAddr) {
    notify(&[NotifyState::Ready, NotifyState::Status(&serving_at(address))]);
}

/// The configuration is about to be read again. [`reloaded`] must follow, whatever comes of it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => {
            notify(&[NotifyState::Reloading, now]);
        }
        Err(error) => tracing::debug!(%error, "the service manager cannot be told of a reload"),
    }
}

/// The reload is over. What came of it is part of the status that [`tend`] keeps true.
pub(super) fn reloaded() {
    notify(&[NotifyState::Ready]);
}

/// It stops, which may take as long as the configuration lets it.
pub(super) fn stopping(grace: Duration) {
    let time = grace + COMMITTER_PATIENCE + EXTEND_EVERY;
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("Stopping: finishing what is in flight"),
        extend_by(time),
    ]);
}

/// Those whose progress is watched.
pub(super) struct Watched {
    pub(super) runner: Pulse,
    pub(super) committer: Pulse,
    /// Why nothing can be stored at present.
    pub(super) health: watch::Receiver<Option<StoreError>>,
}

impl Watched {
    /// Who does not come round any more. `None`: all is well, or trouble is known and being dealt with.
    fn stuck(&self) -> Option<&'static str> {
        // Whoever reads from a store that is being opened again waits as long as that takes.
        let is_known = self.health.borrow().is_some();
        match () {
            () if self.committer.is_late() => Some("the committer"),
            () if self.runner.is_late() && !is_known => Some("the queue runner"),
            () => None,
        }
    }
}

/// Feeds the watchdog while there is progress, and keeps the status true.
pub(super) async fn tend(app: Arc<App>, address: SocketAddr, watched: Watched) {
    let refused = || app.gauges.reload().and_then(|reload| reload.error);
    let status = || status(app.readiness.trouble_for_people(), address, refused());
    tend_with(watched, sd_notify::watchdog_enabled(), status, notify).await;
}

async fn tend_with(
    watched: Watched,
    timeout: Option<Duration>,
    status: impl Fn() -> String,
    notify: impl Fn(&[NotifyState]),
) {
    let every = timeout.map_or(LOOK_EVERY, |timeout| LOOK_EVERY.min(timeout / LOOKS_PER_TIMEOUT));
    let mut told = status();
    let mut was_stuck = None;
    loop {
        // First, so that the service manager has heard that we are ready.
        sleep(every).await;
        let stuck = watched.stuck();
        if let (Some(who), false) = (stuck, stuck == was_stuck) {
            tracing::error!(who, "no progress; the service manager's watchdog is not fed until there is");
        }
        was_stuck = stuck;
        if timeout.is_some() && stuck.is_none() {
            notify(&[NotifyState::Watchdog]);
        }
        let now = stuck.map_or_else(&status, |who| format!("No progress: {who} is stuck"));
        if now != told {
            notify(&[NotifyState::Status(&now)]);
            told = now;
        }
    }
}

/// Why no messages are taken, or where they are, and whether the configuration on disk is in force; one line.
fn status(trouble: Option<String>, address: SocketAddr, refused: Option<String>) -> String {
    let mut line = trouble.unwrap_or_else(|| serving_at(address));
    if let Some(reason) = refused {
        line += "; the old configuration stays: ";
        line += &reason;
    }
    line.replace(char::is_control, " ")
}

fn serving_at(address: SocketAddr) -> String {
    format!("Taking messages at {address}")
}

fn extend_by(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

/// Nothing to do about one that cannot be told.
fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::{advance, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct Told(Mutex<Vec<String>>);

    impl Told {
        fn hear(&self, states: &[NotifyState]) {
            let mut told = self.0.lock().unwrap();
            told.extend(states.iter().map(ToString::to_string));
        }

        fn since(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    fn watched() -> (Watched, watch::Sender<Option<StoreError>>) {
        let (sender, health) = watch::channel(None);
        (Watched { runner: Pulse::default(), committer: Pulse::default(), health }, sender)
    }

    /// Lets a watchdog of 20 s be tended for a time; what was told in it.
    async fn tended(watched: &Watched, told: &Told, time: Duration) -> Vec<String> {
        let same = Watched {
            runner: watched.runner.clone(),
            committer: watched.committer.clone(),
            health: watched.health.clone(),
        };
        let tending =
            tend_with(same, Some(Duration::from_secs(20)), || "well".into(), |states| told.hear(states));
        let _ = timeout(time, tending).await;
        told.since()
    }

    fn fed(told: &[String]) -> usize {
        told.iter().filter(|line| *line == "WATCHDOG=1").count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_fed_while_there_is_progress_and_not_after() {
        let told = Told(Mutex::default());
        for who in ["the committer", "the queue runner"] {
            let (watched, _health) = watched();
            let pulse = if who == "the committer" { &watched.committer } else { &watched.runner };
            pulse.within(MINUTE);
            assert!(fed(&tended(&watched, &told, MINUTE / 2).await) >= 6, "{who}");
            advance(MINUTE).await;
            let late = tended(&watched, &told, MINUTE * 5).await;
            assert_eq!(late, [format!("STATUS=No progress: {who} is stuck")]);
            // It was only slow.
            pulse.rest();
            assert!(fed(&tended(&watched, &told, MINUTE).await) >= 12, "{who}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_being_opened_again_is_not_shot() {
        let told = Told(Mutex::default());
        let (watched, health) = watched();
        watched.runner.within(MINUTE);
        health.send_replace(Some(StoreError::Failed("no space left".into())));
        assert!(fed(&tended(&watched, &told, MINUTE * 60).await) >= 700);
        // A try that hangs is another matter.
        watched.committer.within(MINUTE);
        advance(MINUTE * 2).await;
        assert_eq!(fed(&tended(&watched, &told, MINUTE).await), 0);
    }

    #[test]
    fn a_reload_does_not_hide_that_no_messages_are_taken() {
        let address = "[::]:7443".parse().unwrap();
        let [full, broken] =
            ["The disk is full.", "atp.toml: no such\nkey"].map(|text| Some(text.to_owned()));
        assert_eq!(status(full.clone(), address, None), "The disk is full.");
        let wanted = "The disk is full.; the old configuration stays: atp.toml: no such key";
        assert_eq!(status(full, address, broken), wanted);
        assert_eq!(status(None, address, None), "Taking messages at [::]:7443");
    }

    #[tokio::test(start_paused = true)]
    async fn who_wants_no_watchdog_is_told_the_status_only() {
        let told = Told(Mutex::default());
        let (watched, _health) = watched();
        let begun = Instant::now();
        let status = || if begun.elapsed() < MINUTE { "well".to_owned() } else { "full".to_owned() };
        let tending = tend_with(watched, None, status, |states| told.hear(states));
        let _ = timeout(MINUTE * 2, tending).await;
        assert_eq!(told.since(), ["STATUS=full"]);
    }
}
