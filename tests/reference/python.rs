//! The virtual environment in which the reference runs.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::environment::Environment;

const REFERENCE: Environment = Environment {
    name: "reference-env",
    requirements: include_str!("requirements.txt"),
    probe: "import atp",
    mode: "ATP_TEST_REFERENCE",
    subject: "the Python reference",
    alone: "cargo test --test reference",
};

/// The interpreter that has the reference installed. `None`: this machine has no fit Python, and the
/// developer has been told so.
///
/// # Panics
/// If there is none although it is required.
pub fn with_reference() -> Option<&'static Path> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    INTERPRETER.get_or_init(|| REFERENCE.interpreter()).as_deref()
}
