//! A home directory of its own, and the command line in it.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::server::Server;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_atp");
/// What every agent of these tests logs in with.
pub const PASSWORD: &str = "correct horse";
/// Longest time a command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(30);

/// A user's home.
pub struct Place {
    dir: TempDir,
    logs: Cell<u32>,
    /// What is to be said if a test fails and everything here is kept. `None`: nothing is ever kept.
    kept_as: Option<String>,
}

/// What a command left behind.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Place {
        let dir = TempDir::new().expect("a temporary directory");
        fs::create_dir(dir.path().join("home")).expect("a home");
        Place { dir, logs: Cell::new(0), kept_as: None }
    }

    /// Stays on disk if the test fails, which then says where, and `name`.
    pub fn kept_after_a_failure(mut self, name: &str) -> Place {
        self.kept_as = Some(name.to_owned());
        self
    }

    /// The user's home.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Where our state is by default.
    pub fn state(&self) -> PathBuf {
        self.home().join(".atp")
    }

    /// Writes a file beside the home; its path.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).expect("a file");
        text(&path)
    }

    /// A program in this home, with nothing of the developer's own settings.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).env("LC_ALL", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    /// `atp` with these words.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.program(PROGRAM);
        command.args(words);
        command
    }

    /// Runs `atp` to its end.
    pub fn run(&self, words: &[&str]) -> Said {
        finish(self.command(words))
    }

    /// Runs `atp`, which must succeed; its standard output.
    pub fn ok(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "atp {words:?}: {said:#?}");
        said.stdout
    }

    /// Runs `atp`, which must succeed and print JSON.
    pub fn json(&self, words: &[&str]) -> Value {
        let printed = self.ok(words);
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("atp {words:?}: {e} in {printed}"))
    }

    /// A new place for a log.
    pub fn log(&self) -> PathBuf {
        self.logs.set(self.logs.get() + 1);
        self.log_path(self.logs.get())
    }

    /// What all servers of this place have logged about a message.
    pub fn log_lines_with(&self, nonce: &str) -> String {
        let mut found = String::new();
        for number in 1..=self.logs.get() {
            let log = fs::read_to_string(self.log_path(number)).unwrap_or_default();
            let field = format!("nonce={nonce}");
            for line in log.lines().filter(|line| line.split_whitespace().any(|word| word == field)) {
                found += &format!("server-{number}.log: {line}\n");
            }
        }
        found
    }

    fn log_path(&self, number: u32) -> PathBuf {
        self.dir.path().join(format!("server-{number}.log"))
    }

    /// The command that starts the server of a domain on a port the system chooses.
    pub fn server_command(&self, domain: &str, more: &[&str]) -> Command {
        let mut command = self.command(&["server", "start", "--domain", domain, "--port", "0"]);
        command.args(more);
        command
    }

    /// Starts the server of a domain, and waits until it listens.
    pub fn server(&self, domain: &str, more: &[&str]) -> Server {
        Server::start(self.server_command(domain, more), self.log())
    }

    /// Registers an agent.
    pub fn register(&self, server: &Server, name: &str) {
        self.ok(&["agent", "register", name, "--server", &server.name(), "--no-verify", "-p", PASSWORD]);
    }

    /// Submits a message; its nonce.
    pub fn send(&self, server: &Server, from: &str, to: &str, body: &str) -> String {
        let sent = self.json(&[
            "send",
            to,
            "--from",
            from,
            "-P",
            PASSWORD,
            "-b",
            body,
            "--server",
            &server.name(),
            "--no-verify",
        ]);
        assert_eq!(sent["status"], "accepted", "{sent}");
        sent["nonce"].as_str().expect("a nonce").to_owned()
    }

    /// What lies in an agent's mailbox.
    pub fn mailbox(&self, server: &Server, agent: &str) -> Vec<Value> {
        let messages = self.json(&[
            "recv",
            "--agent-id",
            agent,
            "-P",
            PASSWORD,
            "--limit",
            "500",
            "--server",
            &server.name(),
            "--no-verify",
        ]);
        messages.as_array().expect("a list").clone()
    }

    /// The operator's token that the server of a domain made.
    pub fn admin_token(&self, domain: &str) -> String {
        let path = self.state().join("node").join(domain).join("admin-token");
        fs::read_to_string(path).expect("an admin token").trim().to_owned()
    }

    /// What the operator is told about a message or, without one, about the server.
    pub fn asked(&self, server: &Server, domain: &str, nonce: Option<&str>) -> Value {
        let said = self.ask(server, domain, nonce);
        assert_eq!(said.code, 0, "{nonce:?}: {said:#?}");
        said.json()
    }

    /// What the operator is told about a message. `None`: the server has never heard of it.
    pub fn asked_if_known(&self, server: &Server, domain: &str, nonce: &str) -> Option<Value> {
        let said = self.ask(server, domain, Some(nonce));
        let unknown = said.code != 0 && said.stderr.contains("not found");
        assert!(said.code == 0 || unknown, "{nonce}: {said:#?}");
        (!unknown).then(|| said.json())
    }

    fn ask(&self, server: &Server, domain: &str, nonce: Option<&str>) -> Said {
        let token = self.admin_token(domain);
        let words = nonce.map_or(vec!["status"], |nonce| vec!["inspect", nonce]);
        let to = ["--server", &server.name(), "--no-verify", "--admin-token", &token, "--json"];
        self.run(&[words.as_slice(), &to].concat())
    }
}

impl Said {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(name) = self.kept_as.as_ref().filter(|_| std::thread::panicking()) {
            self.dir.disable_cleanup(true);
            eprintln!("{name}: everything is kept in {}", self.dir.path().display());
        }
    }
}

/// Runs a command to its end.
pub fn finish(command: Command) -> Said {
    finish_within(command, COMMAND_LIMIT)
}

/// Runs a command to its end, which may take longer than that of most.
pub fn finish_within(command: Command, limit: Duration) -> Said {
    let shown = format!("{command:?}");
    let output: Output = assert_cmd::Command::from_std(command)
        .timeout(limit)
        .output()
        .unwrap_or_else(|error| panic!("{shown} cannot be run: {error}"));
    Said {
        code: output.status.code().unwrap_or_else(|| panic!("{shown} did not end in time")),
        stdout: String::from_utf8(output.stdout).expect("UTF-8 on stdout"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8 on stderr"),
    }
}

/// A path as text.
pub fn text(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}

/// The nonces of messages, in order.
pub fn nonces(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["nonce"].as_str()).collect()
}
