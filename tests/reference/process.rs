//! Servers as child processes, and waiting for what they do.

use std::cell::RefCell;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longest wait for anything: several of the reference's queue scans (one each 5 s) on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_PAUSE: Duration = Duration::from_millis(200);
const TAIL_LINES: usize = 40;
const POLLING: &str = "GET /.well-known/atp/v1/messages";

/// A running server; killed when dropped, and if a test failed it then shows the end of its log.
pub struct Server {
    name: &'static str,
    port: u16,
    log: PathBuf,
    child: RefCell<Child>,
}

impl Server {
    /// Starts `command`, both its outputs going to `log`, and waits until `port` takes connections.
    pub fn start(name: &'static str, mut command: Command, port: u16, log: PathBuf) -> Server {
        let out = File::options().create(true).append(true).open(&log).expect("a log file");
        let err = out.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| panic!("{name} cannot be started: {e}"));
        let server = Server { name, port, log, child: RefCell::new(child) };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        until(&format!("{name} listening on {address}"), &[&server], || TcpStream::connect(address).ok());
        server
    }

    /// What the command lines take as `--server`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// SIGKILL: it gets no chance to tidy up.
    pub fn kill(&self) {
        let mut child = self.child.borrow_mut();
        child.kill().expect("a process to kill");
        child.wait().expect("its end");
    }

    fn has_ended(&self) -> bool {
        !matches!(self.child.borrow_mut().try_wait(), Ok(None))
    }

    /// The last lines it wrote, without its notes of our asking for mail.
    fn story(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains(POLLING)).collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        format!("---- the end of what {} wrote\n{}\n----", self.name, tail.join("\n"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its number").port()
}

/// Asks `probe` again and again until it has something.
///
/// # Panics
/// After [`PATIENCE`], or when one of the servers has ended, with what was awaited.
#[expect(clippy::disallowed_methods, reason = "these are real processes, which paused time does not reach")]
pub fn until<T>(what: &str, servers: &[&Server], mut probe: impl FnMut() -> Option<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        if let Some(server) = servers.iter().find(|server| server.has_ended()) {
            panic!("{} ended while we waited for {what}", server.name);
        }
        assert!(start.elapsed() < PATIENCE, "waited {} s in vain for {what}", PATIENCE.as_secs());
        pause(POLL_PAUSE);
    }
}

/// Lets real time pass.
#[expect(clippy::disallowed_methods, reason = "these are real processes, which paused time does not reach")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Now, by the real clock, which the servers under test go by.
#[expect(clippy::disallowed_methods, reason = "these are real processes, which paused time does not reach")]
pub fn unix_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}
