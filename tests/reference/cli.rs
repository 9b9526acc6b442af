//! The two command lines, ours and the reference's. They take the same commands and flags, so a test can
//! drive either with the same words.

use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

/// Longer than the reference's own wait for mail (30 s).
const COMMAND_LIMIT: Duration = Duration::from_secs(50);

/// A command line with a home of its own.
#[derive(Clone)]
pub struct Cli {
    program: Vec<OsString>,
    home: PathBuf,
}

/// What a command left behind.
pub struct Said {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    /// Our binary.
    pub fn ours(home: &Path) -> Cli {
        Cli { program: vec![env!("CARGO_BIN_EXE_atp").into()], home: home.into() }
    }

    /// The reference's, by its interpreter: the path in a script's first line may be too long for the kernel.
    pub fn theirs(python: &Path, home: &Path) -> Cli {
        Cli { program: vec![python.into(), "-m".into(), "atp".into()], home: home.into() }
    }

    /// The same, by a clock that the file `clock` sets (`clock.py`).
    pub fn theirs_by_clock(python: &Path, home: &Path, clock: &Path) -> Cli {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/clock.py");
        Cli { program: vec![python.into(), script.into(), clock.into()], home: home.into() }
    }

    /// The home that its commands see.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The command for a server, which outlives this call.
    pub fn server(&self, args: &[impl AsRef<OsStr> + Debug]) -> std::process::Command {
        let (program, lead) = self.program.split_first().expect("a program");
        let mut command = std::process::Command::new(program);
        command.args(lead).args(args).env_clear().envs(surroundings(&self.home));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[impl AsRef<OsStr> + Debug]) -> Said {
        let output = Command::from_std(self.server(args)).timeout(COMMAND_LIMIT).output();
        let output = output.unwrap_or_else(|e| panic!("atp {args:?} cannot be run: {e}"));
        assert!(output.status.code().is_some(), "atp {args:?} did not end within {COMMAND_LIMIT:?}");
        Said {
            success: output.status.success(),
            stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that must succeed; its standard output.
    pub fn ok(&self, args: &[impl AsRef<OsStr> + Debug]) -> String {
        let said = self.run(args);
        assert!(said.success, "atp {args:?} failed\n{}\n{}", said.stdout, said.stderr);
        said.stdout
    }

    /// Runs a command that must succeed and print JSON.
    pub fn json(&self, args: &[impl AsRef<OsStr> + Debug]) -> Value {
        let printed = self.ok(args);
        serde_json::from_str(&printed)
            .unwrap_or_else(|e| panic!("atp {args:?} printed no JSON ({e}):\n{printed}"))
    }
}

/// The environment of everything started here: nothing of the developer's own settings, no proxy.
pub fn surroundings(home: &Path) -> Vec<(&'static str, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    vec![
        ("HOME", home.into()),
        ("PATH", path),
        ("LC_ALL", "C.UTF-8".into()),
        ("PYTHONUNBUFFERED", "1".into()),
        ("PYTHONUTF8", "1".into()),
    ]
}
