//! What a server keeps as lines of JSON, one for each thing, and back: for moving agents from one server to another, and
//! for loading many at once. Numbers of a store are not in them but for cursors, which readers know.

pub mod export;
pub mod line;
#[cfg(test)]
mod tests;

pub use line::{Line, What};

/// The version of the form, in the first line.
pub const VERSION: u32 = 1;
/// Longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;
