//! A virtual environment of Python: built once under `target/` from pinned packages, then reused.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;

const INTERPRETERS: [&str; 6] = ["python3.13", "python3.12", "python3.11", "python3.14", "python3", "python"];
/// Downloading and unpacking some 10 MB of wheels.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);
const QUICK_LIMIT: Duration = Duration::from_secs(60);

/// What is wanted of an environment.
pub struct Environment {
    /// Its directory under `target/tmp`.
    pub name: &'static str,
    /// Every package with its version, as pip reads them.
    pub requirements: &'static str,
    /// What Python must be able to run in it.
    pub probe: &'static str,
    /// Set to `required` where a missing Python must fail the tests instead of skipping them.
    pub mode: &'static str,
    /// What is skipped without it.
    pub subject: &'static str,
    /// How to run these tests alone.
    pub alone: &'static str,
}

impl Environment {
    /// Its interpreter, the environment being built if need be. `None`: this machine has no fit Python, and the
    /// developer has been told so.
    ///
    /// # Panics
    /// If there is none although it is required.
    pub fn interpreter(&self) -> Option<PathBuf> {
        match self.prepare() {
            Ok(python) => Some(python),
            Err(why) if std::env::var(self.mode).is_ok_and(|mode| mode == "required") => {
                panic!("{} is required here but cannot run: {why}", self.subject)
            }
            Err(why) => {
                self.say_skipped(&why);
                None
            }
        }
    }

    /// Written to the handle, because the test harness swallows what `eprintln!` prints in a passing test.
    fn say_skipped(&self, why: &str) {
        let mut stderr = std::io::stderr().lock();
        let Environment { mode, subject, alone, .. } = self;
        let _ = write!(
            stderr,
            "\n\nSKIPPED: NOTHING WAS TESTED WITH {}\n  why: {why}\n  \
             cure: install Python 3.11 or newer with its venv module, then run: {alone}\n  \
             ({mode}=required makes this a failure)\n\n",
            subject.to_uppercase(),
        );
    }

    /// Finds or builds it. One process at a time, so that two runs do not build into each other.
    fn prepare(&self) -> Result<PathBuf, String> {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.name);
        let lock = File::create(root.with_extension("lock")).map_err(|e| format!("no lock file: {e}"))?;
        lock.lock().map_err(|e| format!("cannot lock: {e}"))?;

        let python = root.join("bin/python");
        let stamp = root.join("installed.txt");
        let fresh = fs::read_to_string(&stamp).is_ok_and(|text| text == self.requirements);
        if !fresh || run(&python, ["-c", self.probe], QUICK_LIMIT).is_err() {
            self.build(&root, &python)?;
            fs::write(&stamp, self.requirements)
                .map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
        }
        Ok(python)
    }

    fn build(&self, root: &Path, python: &Path) -> Result<(), String> {
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
        fs::write(&requirements, self.requirements).map_err(|e| e.to_string())?;
        let install = ["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"];
        let args = install.iter().map(OsStr::new).chain([requirements.as_os_str()]);
        run(python, args, INSTALL_LIMIT)
    }
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
