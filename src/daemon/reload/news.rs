//! Who hears of reloads: the service manager, and whoever watches the daemon.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{Commit, Part};
use crate::config::Config;
use crate::counters::{Gauges, ReloadState};
use crate::daemon::service;
use crate::env::BoxFuture;
use crate::env::clock::Clock;
use crate::server::reload::{Refused, Reloaded};

/// Tells of every reload.
pub(in crate::daemon) struct News {
    clock: Arc<dyn Clock>,
    last: Arc<ArcSwapOption<ReloadState>>,
}

impl News {
    /// Has the gauges show the last one.
    pub(in crate::daemon) fn new(clock: Arc<dyn Clock>, gauges: &Gauges) -> News {
        let last = Arc::new(ArcSwapOption::<ReloadState>::empty());
        let shown = Arc::clone(&last);
        gauges.feed_reload(move || shown.load().as_deref().cloned());
        News { clock, last }
    }
}

impl Part for News {
    fn prepare<'a>(&'a mut self, _: &'a Arc<Config>) -> BoxFuture<'a, Result<Commit, String>> {
        Box::pin(std::future::ready(Ok(Box::new(|| ()) as Commit)))
    }

    fn begins(&mut self) {
        service::reloading();
    }

    fn ends(&mut self, outcome: &Result<Reloaded, Refused>) {
        service::reloaded();
        let error = outcome.as_ref().err().map(|refused| refused.reason.clone());
        self.last.store(Some(Arc::new(ReloadState { at: self.clock.now(), error })));
    }
}
