//! The service manager's side: sockets that it opens and keeps open over restarts, and what it is told.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::Agent;
use crate::place::{PROGRAM, Place, nonces};
use crate::server::Server;
use crate::waiting::{number, pause, until};
use crate::wire::{Wire, submission};

/// How often the server is restarted while clients send, unless ATP_TEST_RESTARTS says otherwise.
const RESTARTS: u64 = 8;
/// How long each server is left alone, unless ATP_TEST_RESTART_EVERY_MS says otherwise.
const BETWEEN_MS: u64 = 700;
const AGENTS: usize = 8;
/// An agent's clients: half of them connect anew for each message, the others keep their connection.
const CLIENTS: usize = 4;
/// How often each sends, if it is answered in time: all together 200 times a second.
const PACE: Duration = Duration::from_millis(160);
/// How long a message may take at most, a restart included.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(20);

/// The server of alice.local, with a socket handed over under these names as a service manager does.
fn activated(place: &Place, socket: OwnedFd, names: &str, more: &[&str]) -> Command {
    // The shell becomes the server, so that the process that was named is the one that reads it.
    let line = "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"";
    let mut command = place.program("sh");
    command.args(["-c", line, PROGRAM, "server", "start", "--domain", "alice.local", "--port", "0"]);
    command.args(more).env("LISTEN_FDNAMES", names).stdin(Stdio::from(socket));
    command
}

fn given(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("another handle of the socket").into()
}

/// What a client has met.
#[derive(Debug, Default)]
struct Met {
    accepted: usize,
    repeated: usize,
    /// Connections that were refused or ended in the handshake.
    refused: usize,
    /// Answers that ask to come again later.
    later: usize,
    /// Connections that were closed before the answer came: of a new one, and of one that had been used.
    lost_new: usize,
    closed_idle: usize,
    slowest: Duration,
}

impl Met {
    fn with(mut self, other: &Met) -> Met {
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.refused += other.refused;
        self.later += other.later;
        self.lost_new += other.lost_new;
        self.closed_idle += other.closed_idle;
        self.slowest = self.slowest.max(other.slowest);
        self
    }
}

/// Sends until it is told to stop, each message until it is taken.
fn send_all(agent: &Agent, number: usize, address: SocketAddr, stop: &AtomicBool) -> (Met, Vec<String>) {
    let (mut met, mut sent, mut kept) = (Met::default(), Vec::new(), None::<Wire>);
    let (own, keeps) = (format!("{}@alice.local", agent.name), is_keeping(number));
    while !stop.load(Ordering::Relaxed) {
        let nonce = format!("{number:02}-{:04}", sent.len());
        let (header, body) = submission(&own, &own, &nonce, "");
        let header = agent.with_token(&header);
        let begun = Instant::now();
        loop {
            let was_used = kept.is_some();
            let Some(mut wire) = kept.take().or_else(|| Wire::connect(address)) else {
                met.refused += 1;
                continue;
            };
            match wire.exchange(format!("{header}{body}").as_bytes()) {
                Some((202, answer)) => {
                    let is_new = answer["status"] == "accepted";
                    *(if is_new { &mut met.accepted } else { &mut met.repeated }) += 1;
                    kept = keeps.then_some(wire);
                    break;
                }
                Some((503, _)) => met.later += 1,
                Some((status, answer)) => panic!("{status}: {answer}"),
                None if was_used => met.closed_idle += 1,
                None => met.lost_new += 1,
            }
        }
        met.slowest = met.slowest.max(begun.elapsed());
        sent.push(nonce);
        pause(PACE.saturating_sub(begun.elapsed()));
    }
    (met, sent)
}

fn is_keeping(number: usize) -> bool {
    number % 2 == 1
}

#[test]
fn a_restart_by_socket_activation_refuses_nobody() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let start = || Server::start(activated(&place, given(&listener), "public", &[]), place.log());
    let server = start();
    assert_eq!(server.address(), address);
    let agents: Vec<_> =
        (0..AGENTS).map(|number| Agent::new(&place, &server, format!("agent{number}"))).collect();

    let restarts = number("ATP_TEST_RESTARTS", RESTARTS);
    let between = Duration::from_millis(number("ATP_TEST_RESTART_EVERY_MS", BETWEEN_MS));
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let (told, slowest_stop, server) = thread::scope(|scope| {
        let clients: Vec<_> = (0..AGENTS * CLIENTS)
            .map(|number| {
                let (agent, stop) = (&agents[number / CLIENTS], &stop);
                scope.spawn(move || send_all(agent, number, address, stop))
            })
            .collect();
        let (mut server, mut slowest) = (server, Duration::ZERO);
        for _ in 0..restarts {
            pause(between);
            let stopping = Instant::now();
            server.stop();
            slowest = slowest.max(stopping.elapsed());
            server = start();
        }
        pause(between);
        stop.store(true, Ordering::Relaxed);
        let told: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        (told, slowest, server)
    });
    let took = begun.elapsed();

    for (Agent { name, .. }, clients) in agents.iter().zip(told.chunks(CLIENTS)) {
        let sent: Vec<_> = clients.iter().flat_map(|(_, sent)| sent).cloned().collect();
        let mailbox = place.mailbox(&server, name);
        let mut there = nonces(&mailbox);
        there.sort_unstable();
        assert_eq!(there, sent, "{name}: each once");
    }
    let sum = |keeping: bool| {
        let clients = told.iter().enumerate().filter(|(number, _)| is_keeping(*number) == keeping);
        clients.fold(Met::default(), |sum, (_, (met, _))| sum.with(met))
    };
    let (once, keeping) = (sum(false), sum(true));
    let count = once.accepted + keeping.accepted;
    println!("{restarts} restarts in {took:?}, {count} messages, slowest stop {slowest_stop:?}");
    println!("a connection for each message: {once:?}\na connection kept: {keeping:?}");
    assert_eq!((once.refused, once.later, once.lost_new, once.repeated), (0, 0, 0, 0));
    // A connection that is closed while it is idle may cross a request: then HTTP wants it sent again.
    assert_eq!((keeping.refused, keeping.later, keeping.lost_new), (0, 0, 0));
    assert!(once.slowest.max(keeping.slowest) < LONGEST_EXCHANGE);
    server.stop();
}

#[test]
fn a_socket_that_is_not_what_its_name_says_is_refused() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let file = fs::File::open("/dev/null").expect("a device");
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let wide = TcpListener::bind("0.0.0.0:0").expect("a port");
    for (socket, name, wanted) in [
        (given(&listener), "smtp", "a socket named \"smtp\"; in its socket unit, set FileDescriptorName="),
        (file.into(), "public", "the socket public of the service manager cannot be used"),
        (datagrams.into(), "public", "the socket public of the service manager cannot be used"),
        (wide.into(), "public", "is to listen on 127.0.0.1 only"),
    ] {
        let command = activated(&place, socket, name, &["--log-level", "error"]);
        let mut server = Server::spawn(command, place.log());
        let (status, said) = (server.ended(), server.log());
        assert_eq!((status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains(wanted), "{said}");
    }
    // One that nothing is served on is no reason not to serve.
    let server = Server::start(activated(&place, given(&listener), "acme-http", &[]), place.log());
    assert_ne!(server.address(), listener.local_addr().expect("its address"));
    assert!(server.log().contains("nothing is served on a socket of the service manager"));
    server.stop();
}

/// What a service manager has been told, line by line.
struct Manager(UnixDatagram);

impl Manager {
    fn new(place: &Place) -> (Manager, String) {
        let path = place.home().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket that does not block");
        (Manager(socket), path.to_str().expect("a UTF-8 path").to_owned())
    }

    fn told(&self, lines: &mut Vec<String>) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.0.recv(&mut buffer) {
            lines.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(String::from));
        }
    }
}

#[test]
fn the_service_manager_is_told_what_happens() {
    let place = Place::new();
    let (manager, path) = Manager::new(&place);
    let mut command = place.server_command("alice.local", &[]);
    command.env("NOTIFY_SOCKET", path).env("WATCHDOG_USEC", "1000000");
    let server = Server::start(command, place.log());
    let mut lines = Vec::new();
    until("the watchdog to be fed three times", || {
        manager.told(&mut lines);
        (lines.iter().filter(|line| *line == "WATCHDOG=1").count() >= 3).then_some(())
    });
    let status = format!("STATUS=Taking messages at {}", server.address());
    server.stop();
    manager.told(&mut lines);

    let place_of = |wanted: &str| {
        lines
            .iter()
            .position(|line| line.starts_with(wanted))
            .unwrap_or_else(|| panic!("{wanted}: {lines:?}"))
    };
    let order = ["EXTEND_TIMEOUT_USEC=", "READY=1", "WATCHDOG=1", "STOPPING=1"].map(place_of);
    assert!(order.is_sorted(), "{lines:?}");
    assert_eq!(lines[place_of("READY=1") + 1], status);
    assert!(!lines[place_of("STOPPING=1")..].contains(&"WATCHDOG=1".to_owned()), "{lines:?}");
}
