//! A machine whose figures the test decides.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::env::machine::{Machine, Space};

/// Figures that are what they were set to.
#[derive(Debug)]
pub struct FakeMachine(Mutex<Figures>);

/// What a [`FakeMachine`] says, all in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Of the file system. `None`: it cannot be asked.
    pub space: Option<Space>,
    /// Used by this process.
    pub resident: u64,
    /// There for it.
    pub memory: u64,
}

impl FakeMachine {
    /// A machine with these figures.
    pub fn new(figures: Figures) -> FakeMachine {
        FakeMachine(Mutex::new(figures))
    }

    /// Changes the figures.
    pub fn set(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Machine for FakeMachine {
    fn space(&self) -> io::Result<Space> {
        self.lock().space.ok_or_else(|| io::Error::other("as the test wants it"))
    }

    fn resident(&self) -> io::Result<u64> {
        Ok(self.lock().resident)
    }

    fn memory(&self) -> io::Result<u64> {
        Ok(self.lock().memory)
    }
}
