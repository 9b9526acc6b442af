//! Programs of other projects that some tests need.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether `program`, of a Debian `package`, is there. Where it is missing, it is said loudly that `what` was
/// skipped.
pub fn available(program: &str, package: &str, what: &str) -> bool {
    is_installed(program) || skipped(what, &format!("{program} is not installed (apt-get install {package})"))
}

/// As [`available`]; where the variable `mode` is `required`, a missing program is a failure.
///
/// # Panics
/// If it is missing although it is required.
pub fn required(program: &str, package: &str, what: &str, mode: &str) -> bool {
    let found = available(program, package, what);
    let must = std::env::var(mode).is_ok_and(|value| value == "required");
    assert!(found || !must, "{program} is required here: apt-get install {package}");
    found
}

/// Whether a program that is there may do its work here: containers forbid some of it.
pub fn works(program: &str, arguments: &[&str], what: &str) -> bool {
    let output = Command::new(program).args(arguments).output().expect("a program that is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.success() || skipped(what, &format!("{program} does not work here: {said}"))
}

/// Whether this is continuous integration, where what matters must not be skipped.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Lets nobody else into a directory.
pub fn make_private(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).expect("a directory of ours");
}

fn skipped(what: &str, why: &str) -> bool {
    // Past the macros, whose output is shown for failing tests only.
    let _ = writeln!(std::io::stderr(), "\n!!! SKIPPED: {what}: {why}\n");
    false
}

fn is_installed(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", "command -v -- \"$0\"", program]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}
