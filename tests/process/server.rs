//! A server as a child process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::waiting::until;

/// Lines of a server's log that are shown when a test has failed.
const MAX_SHOWN_LINES: usize = 200;

/// A running server; killed when dropped, and if a test failed it then shows the end of its log.
pub struct Server {
    child: Child,
    log: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Starts `command`, its log going to `log`, and waits until it listens.
    pub fn start(command: Command, log: PathBuf) -> Server {
        let mut server = Server::spawn(command, log);
        server.await_listening();
        server
    }

    /// Starts `command` without waiting for anything.
    pub fn spawn(mut command: Command, log: PathBuf) -> Server {
        let file = File::create(&log).expect("a log file");
        let child = command.stdout(Stdio::null()).stderr(file).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Server { child, log, address: SocketAddr::from(([0, 0, 0, 0], 0)) }
    }

    /// Waits until it listens.
    pub fn await_listening(&mut self) {
        self.address = until("a server to listen", || {
            let log = self.log();
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status} before it listened:\n{log}");
            }
            listening_at(&log)
        });
    }

    /// Whether it has begun to listen.
    pub fn is_listening(&self) -> bool {
        listening_at(&self.log()).is_some()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `--server` takes.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// SIGKILL: it has no chance to do anything any more.
    pub fn kill(mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        until("a server to end", || self.child.try_wait().expect("its status"))
    }

    /// SIGTERM, and its end, which must be a good one.
    pub fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended();
        assert!(status.success(), "the server ended with {status}:\n{}", self.log());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(MAX_SHOWN_LINES)..].join("\n");
            eprintln!("---- what the server at {} logged last\n{last}\n----", self.address);
        }
    }
}

/// Sends a process a signal.
pub fn signal(pid: u32, name: &str) {
    // The shell's own kill: std has none, and the program need not be installed.
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status();
    assert!(sent.expect("a shell").success(), "no signal {name} to {pid}");
}

fn listening_at(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(" listening "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
}
