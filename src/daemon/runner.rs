//! The queue's runner, and what it calls for each attempt.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::Instrument;

use crate::env::{BoxFuture, Env};
use crate::pipeline::settings::Settings;
use crate::server::state::App;
use crate::spool::contract::StoreError;
use crate::spool::due::{self, Attempted, Handover};
use crate::spool::entry::Row;

type Attempt = BoxFuture<'static, Attempted>;

pub(super) fn queue(
    app: &Arc<App>,
    env: &Env,
    health: watch::Receiver<Option<StoreError>>,
) -> (due::Runner<impl Fn(Row) -> Attempt + Send + Sync + use<>>, Handover) {
    let pipeline = Arc::clone(&app.pipeline);
    let attempt = move |row: Row| -> Attempt {
        let pipeline = Arc::clone(&pipeline);
        let span = tracing::debug_span!("message", nonce = %row.nonce);
        Box::pin(async move { pipeline.outbound(row).await }.instrument(span))
    };
    let live = app.pipeline.settings.clone();
    due::runner(due::Parts {
        store: Arc::clone(&app.pipeline.store),
        health,
        env: env.clone(),
        terms: Arc::new(move || terms(&live.now())),
        attempt: Arc::new(attempt),
    })
}

fn terms(settings: &Settings) -> due::Terms {
    let queue = &settings.config.queue;
    due::Terms {
        schedule: Arc::clone(&settings.schedule),
        bounds: due::Bounds {
            max_attempts: queue.max_attempts,
            max_per_destination: queue.max_attempts_per_destination,
        },
    }
}
