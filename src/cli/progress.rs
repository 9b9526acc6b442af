//! How far long work is, on a terminal, once it takes long enough to be wondered about.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Work that takes longer shows how far it is.
const QUIET: Duration = Duration::from_secs(1);

/// A line on standard error if that is a terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// Of work whose length is not known yet.
    pub fn new(what: &'static str) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(what);
        Progress { bar, started: Instant::now() }
    }

    /// So much is done; `all` is how much there is, where that is known.
    pub fn at(&self, done: u64, all: Option<u64>, text: String) {
        if self.started.elapsed() < QUIET {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if let Some(all) = all {
            if self.bar.length().is_none() {
                self.bar.set_style(ProgressStyle::default_bar());
            }
            self.bar.set_length(all);
        }
        self.bar.set_position(done);
        self.bar.set_message(text);
    }

    /// How long it has taken, in seconds. What was shown is taken away.
    pub fn end(&self) -> f64 {
        self.bar.finish_and_clear();
        self.started.elapsed().as_secs_f64()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
