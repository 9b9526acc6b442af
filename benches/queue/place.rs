//! The sending server: its directory, and its process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atp::config::home::Home;
use atp::proto::address::Domain;
use tokio::time::{Instant, sleep};

use crate::fill;

/// The domain of the sending server.
pub const DOMAIN: &str = "bench.local";
/// Longest wait for a server to listen.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL_PAUSE: Duration = Duration::from_millis(5);

/// A directory for one server.
pub struct Place {
    directory: PathBuf,
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
    pub address: SocketAddr,
    /// From the start of the process until it listened.
    pub until_listening: Duration,
}

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    pub resident: u64,
    pub anonymous: u64,
    pub peak: u64,
}

impl Place {
    pub fn at(directory: PathBuf) -> Place {
        fs::create_dir_all(&directory).expect("a directory for a server");
        Place { directory: fs::canonicalize(directory).expect("its path") }
    }

    /// Whether it has a store that was filled.
    pub fn is_full(&self) -> bool {
        self.directory.join(fill::COMPLETE).exists()
    }

    /// Removes whatever was there.
    pub fn clear(&self) {
        fs::remove_dir_all(&self.directory).expect("an old server to be removed");
        fs::create_dir_all(&self.directory).expect("a directory for a server");
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// Where the server keeps its store.
    pub fn store(&self) -> PathBuf {
        let home = Home::locate(Some(self.home())).expect("a home");
        home.node(&Domain::parse(DOMAIN).expect("a domain")).store()
    }

    /// Starts the server, which asks `dns` and trusts the authority in `ca`.
    pub async fn start(&self, dns: SocketAddr, ca: &Path) -> Server {
        let config = self.directory.join("atp.toml");
        let text = format!(
            "domains = [\"{DOMAIN}\"]\n[server]\nhost = \"127.0.0.1\"\nport = 0\n\
             [dns]\nservers = [\"{dns}\"]\n[tls]\nextra_roots = \"{}\"\n",
            ca.display()
        );
        fs::write(&config, text).expect("a configuration");
        let log = self.directory.join("log");
        let begun = Instant::now();
        let child = Command::new(env!("CARGO_BIN_EXE_atp"))
            .args(["server", "start", "--config"])
            .arg(&config)
            .arg("--state-dir")
            .arg(self.home())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("the server");
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server { child, log, address, until_listening: Duration::ZERO };
        server.address = server.listening(begun).await;
        server.until_listening = begun.elapsed();
        server
    }
}

impl Place {
    /// Removes whatever waits for the domain of `address` from the queue of the running server.
    pub async fn cancel(&self, address: &str) {
        let domain = address.rsplit('@').next().expect("a domain").to_owned();
        let mut command = Command::new(env!("CARGO_BIN_EXE_atp"));
        command.args(["queue", "cancel", "--yes", "--to-domain", &domain, "--state-dir"]).arg(self.home());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let done = tokio::task::spawn_blocking(move || command.status().expect("a command to run"));
        // Rows being attempted at this moment may stay.
        done.await.expect("the command");
    }
}

impl Server {
    async fn listening(&mut self, begun: Instant) -> SocketAddr {
        loop {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            let line = log.lines().find(|line| line.contains(" listening "));
            let found = line.and_then(|line| {
                line.split_whitespace().find_map(|word| word.strip_prefix("address=")?.parse().ok())
            });
            if let Some(address) = found {
                return address;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the server ended with {status}:\n{log}");
            }
            assert!(begun.elapsed() < PATIENCE, "the server does not listen:\n{log}");
            sleep(POLL_PAUSE).await;
        }
    }

    pub fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim_matches([':', '\t', ' ', 'k', 'B']).parse().ok()).unwrap_or(0)
        };
        Memory { resident: kib("VmRSS"), anonymous: kib("RssAnon"), peak: kib("VmHWM") }
    }

    /// What it has said of the disk being slow.
    pub fn slow_syncs(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains("the disk is slow")).map(str::to_owned).collect()
    }

    /// Processor time it has used.
    pub fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Stops it as a supervisor would, so that its store is closed properly.
    pub async fn stop(mut self) {
        // The shell's own kill: std has none.
        let pid = self.child.id();
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}")).status();
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            sleep(POLL_PAUSE).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
