//! What the demo takes up on this machine, and gives back.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::DemoError;
use crate::config::private;
use crate::daemon::Daemon;
use crate::env::rng::{self, SystemRng};

/// Random bytes in the directory's name.
const NAME_BYTES: usize = 4;

/// A private directory, and the servers whose state is in it.
pub(super) struct Ground {
    directory: Directory,
    servers: Vec<Daemon>,
}

impl Ground {
    pub fn new() -> Result<Ground, DemoError> {
        let name = format!("atp-demo-{}", rng::hex(&SystemRng, NAME_BYTES));
        let directory = Directory(std::env::temp_dir().join(name));
        private::create_dir(&directory.0)?;
        Ok(Ground { directory, servers: Vec::new() })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory.0
    }

    /// Has a server stopped when the ground is cleared.
    pub fn take_in(&mut self, server: Daemon) {
        self.servers.push(server);
    }

    /// Stops the servers and removes the directory.
    pub async fn clear(self) -> Result<(), DemoError> {
        for server in self.servers {
            server.stop().await;
        }
        self.directory.remove()
    }
}

/// A directory that goes with its value, even in a panic.
struct Directory(PathBuf);

impl Directory {
    fn remove(&self) -> Result<(), DemoError> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DemoError::LeftBehind { path: self.0.clone(), error })
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Where it matters, `clear` has removed it and told.
        let _ = self.remove();
    }
}
