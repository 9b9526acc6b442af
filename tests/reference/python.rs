//! The virtual environment in which the reference runs: built once under `target/`, then reused.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use assert_cmd::Command;

/// Set to `required` where a missing Python must fail the tests instead of skipping them.
const MODE_VARIABLE: &str = "ATP_TEST_REFERENCE";
const REQUIREMENTS: &str = include_str!("requirements.txt");
const INTERPRETERS: [&str; 6] = ["python3.13", "python3.12", "python3.11", "python3.14", "python3", "python"];
/// Downloading and unpacking some 10 MB of wheels.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
const QUICK_LIMIT: Duration = Duration::from_secs(60);

/// The interpreter that has the reference installed. `None`: this machine has no fit Python, and the
/// developer has been told so.
///
/// # Panics
/// If there is none although it is required.
pub fn with_reference() -> Option<&'static Path> {
    static INTERPRETER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = INTERPRETER.get_or_init(|| match environment() {
        Ok(python) => Some(python),
        Err(why) if std::env::var(MODE_VARIABLE).is_ok_and(|mode| mode == "required") => {
            panic!("the Python reference is required here but cannot run: {why}")
        }
        Err(why) => {
            say_skipped(&why);
            None
        }
    });
    found.as_deref()
}

/// Written to the handle, because the test harness swallows what `eprintln!` prints in a passing test.
fn say_skipped(why: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(
        stderr,
        "\n\nSKIPPED: NOTHING WAS TESTED AGAINST THE PYTHON REFERENCE\n  why: {why}\n  \
         cure: install Python 3.11 or newer with its venv module, then run: cargo test --test reference\n  \
         ({MODE_VARIABLE}=required makes this a failure)\n\n"
    );
}

/// Finds or builds the environment. One process at a time, so that two runs do not build into each other.
fn environment() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("reference-env");
    let lock = File::create(root.with_extension("lock")).map_err(|e| format!("no lock file: {e}"))?;
    lock.lock().map_err(|e| format!("cannot lock: {e}"))?;

    let python = root.join("bin/python");
    let stamp = root.join("installed.txt");
    let fresh = fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS);
    if !fresh || run(&python, ["-c", "import atp"], QUICK_LIMIT).is_err() {
        build(&root, &python)?;
        fs::write(&stamp, REQUIREMENTS).map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
    }
    Ok(python)
}

fn build(root: &Path, python: &Path) -> Result<(), String> {
    const FIT: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    let base = INTERPRETERS
        .into_iter()
        .find(|name| run(name, ["-c", FIT], QUICK_LIMIT).is_ok())
        .ok_or("no Python 3.11 or newer with venv and ensurepip on the PATH")?;
    if root.exists() {
        fs::remove_dir_all(root).map_err(|e| format!("cannot clear {}: {e}", root.display()))?;
    }
    run(base, [OsStr::new("-m"), OsStr::new("venv"), root.as_os_str()], QUICK_LIMIT)?;
    let requirements = root.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(|e| e.to_string())?;
    let install = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"];
    let args = install.iter().map(OsStr::new).chain([requirements.as_os_str()]);
    run(python, args, INSTALL_LIMIT)
}

fn run<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
    limit: Duration,
) -> Result<(), String> {
    let program = program.as_ref();
    let shown = program.to_string_lossy();
    let output =
        Command::new(program).args(args).timeout(limit).output().map_err(|e| format!("{shown}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown} ended with {}: {}", output.status, said.trim()))
}
