//! Doubles for the outside world, for tests in this crate and beside it.

pub mod disk;
