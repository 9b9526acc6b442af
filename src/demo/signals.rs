//! The wish to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::DemoError;

/// SIGTERM and SIGINT, which no longer end the process once this listens.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> Result<Signals, DemoError> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate()).map_err(DemoError::System)?,
            interrupt: signal(SignalKind::interrupt()).map_err(DemoError::System)?,
        })
    }

    /// Waits for the next of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
