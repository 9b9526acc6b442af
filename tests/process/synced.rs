//! 202 is written only after the store has been synced: seen from outside, in the system calls of a server.

use std::fs;

use crate::place::Place;
use crate::server::{Server, signal};
use crate::tools;
use crate::wire::{Wire, submission};

const AGENT: &str = "agent@alice.local";
/// What is traced: syncs of files, and all that reads from or writes to a socket.
const CALLS: &str =
    "trace=fdatasync,fsync,sync_file_range,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg";

#[test]
fn a_submission_is_synced_to_disk_before_it_is_acknowledged() {
    const WHAT: &str = "the order of sync and answer";
    let can_trace = tools::available("strace", "strace", WHAT)
        && tools::works("strace", &["-o", "/dev/null", "true"], WHAT);
    if !can_trace {
        assert!(!tools::is_ci(), "{WHAT} must be seen in continuous integration");
        return;
    }
    let place = Place::new();
    let trace_file = place.file("trace", "");
    let server = Traced::start(&place, &trace_file);
    place.register(&server.strace, "agent");
    let mut wire = Wire::connect(server.strace.address()).expect("a connection");
    // The first shows the credential and the connection; from then on they are known and the server is idle.
    for (nonce, to) in [("first", AGENT), ("to-an-own-agent", AGENT), ("to-another-domain", "x@bob.local")] {
        let (header, body) = submission(AGENT, to, nonce, "");
        let (status, answer) = wire.exchange((header + &body).as_bytes()).expect("an answer");
        assert_eq!(status, 202, "{answer}");
    }
    drop(wire);
    server.stop();

    let trace = fs::read_to_string(trace_file).expect("a trace");
    let calls = parse(&trace);
    let exchanges = exchanges(&calls);
    let last_two = &exchanges[exchanges.len().saturating_sub(2)..];
    assert_eq!(last_two.len(), 2, "{} exchanges in\n{trace}", exchanges.len());
    for exchange in last_two {
        assert!(is_synced(&calls, exchange), "no sync between {exchange:?} in\n{trace}");
    }
}

/// The test above can fail: a hand-made trace without the sync, and some with one in the wrong place.
#[test]
fn an_answer_before_the_sync_is_noticed() {
    let read = "7 1.0 recvfrom(9<TCP:[1]>, \"\"..., 8192, 0, NULL, NULL) = 700\n";
    let again = "7 1.1 recvfrom(9<TCP:[1]>, 0x1, 8192, 0, NULL, NULL) = -1 EAGAIN (try again)\n";
    let write = "7 1.5 sendto(9<TCP:[1]>, \"\"..., 300, 0, NULL, 0) = 300\n";
    let sync = "8 1.3 fdatasync(5</h/node/a/store/db>) = 0\n";
    let (begun, done) =
        ("8 1.3 fdatasync(5</h/node/a/store/db> <unfinished ...>\n", "8 1.4 <... fdatasync resumed>) = 0\n");
    for (name, trace, wanted) in [
        ("a sync in between", [read, again, sync, write].concat(), true),
        ("one that other threads run beside", [read, begun, again, done, write].concat(), true),
        ("no sync", [read, again, write].concat(), false),
        ("a sync before", [sync, read, again, write].concat(), false),
        ("a sync after", [read, again, write, sync].concat(), false),
        ("one begun before the reading was done", [begun, read, again, done, write].concat(), false),
        ("one not done when the writing began", [read, again, begun, write, done].concat(), false),
        (
            "one that failed",
            [read, "8 1.3 fdatasync(5</h/store/db>) = -1 EIO (I/O error)\n", write].concat(),
            false,
        ),
        ("one of another file", [read, "8 1.3 fdatasync(5</h/store/conf>) = 0\n", write].concat(), false),
        (
            "sync_file_range, which is none",
            [read, "8 1.3 sync_file_range(5</h/store/db>, 0, 0, 7) = 0\n", write].concat(),
            false,
        ),
    ] {
        let calls = parse(&trace);
        let found = exchanges(&calls);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert_eq!(is_synced(&calls, &found[0]), wanted, "{name}");
    }
}

/// A server under strace, which follows its threads and names its files.
struct Traced {
    strace: Server,
    /// The server's own process.
    pid: u32,
}

impl Traced {
    fn start(place: &Place, trace_file: &str) -> Traced {
        let server = place.server_command("alice.local", &[]);
        let mut command = place.program("strace");
        command.args(["-f", "-y", "-ttt", "-s", "0", "-o", trace_file, "-e", CALLS]);
        command.arg(server.get_program()).args(server.get_args());
        let strace = Server::start(command, place.log());
        let children = format!("/proc/{0}/task/{0}/children", strace.pid());
        let children = fs::read_to_string(children).expect("the traced process");
        Traced { strace, pid: children.trim().parse().expect("its number") }
    }

    fn stop(mut self) {
        signal(self.pid, "TERM");
        let status = self.strace.ended();
        assert!(status.success(), "{status}: {}", self.strace.log());
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // A server outlives its strace.
        if std::thread::panicking() {
            signal(self.pid, "KILL");
        }
    }
}

/// A system call. Positions are lines of the trace, which are in the order of what happened.
#[derive(Debug)]
struct Call<'a> {
    name: &'a str,
    /// The file or socket of its first argument.
    file: &'a str,
    begun: usize,
    done: usize,
    result: i64,
}

/// From the last read of a request to the first write of its answer.
#[derive(Debug)]
struct Exchange {
    read_done: usize,
    write_begun: usize,
}

/// Reads the trace; calls that have no end in it are left out.
fn parse(trace: &str) -> Vec<Call<'_>> {
    let mut calls = Vec::new();
    let mut unfinished: Vec<(&str, usize, &str)> = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let mut words = line.split_whitespace();
        let Some(thread) = words.next() else { continue };
        let Some(rest) = words.next().and_then(|time| Some(line.split_once(time)?.1.trim_start())) else {
            continue;
        };
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            unfinished.push((thread, at, begin));
        } else if rest.starts_with("<... ") {
            let Some(known) = unfinished.iter().position(|(other, ..)| *other == thread) else { continue };
            let (_, begun, begin) = unfinished.remove(known);
            calls.extend(call(begin, rest, begun, at));
        } else {
            calls.extend(call(rest, rest, at, at));
        }
    }
    calls.sort_by_key(|call| call.begun);
    calls
}

/// `None`: a line about something else, such as the end of a thread.
fn call<'a>(begin: &'a str, end: &str, begun: usize, done: usize) -> Option<Call<'a>> {
    let (name, arguments) = begin.split_once('(')?;
    let (_, file) = arguments.split_once('<')?;
    // Sockets are `<TCP:[…]>`; when there is an arrow in it, the last bracket ends it.
    let file = &file[..file.find([',', ')']).unwrap_or(file.len())];
    let file = file.trim_end().trim_end_matches('>');
    let result = end.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()?;
    Some(Call { name, file, begun, done, result })
}

/// Every change from reading to writing on each socket.
fn exchanges(calls: &[Call<'_>]) -> Vec<Exchange> {
    let mut found = Vec::new();
    let mut reading: Vec<(&str, usize)> = Vec::new();
    for call in calls.iter().filter(|call| call.file.contains(":[") && call.result > 0) {
        let known = reading.iter().position(|(socket, _)| *socket == call.file);
        match (call.name, known) {
            ("read" | "readv" | "recvfrom" | "recvmsg", Some(known)) => reading[known].1 = call.done,
            ("read" | "readv" | "recvfrom" | "recvmsg", None) => reading.push((call.file, call.done)),
            ("write" | "writev" | "sendto" | "sendmsg", Some(known)) => {
                let (_, read_done) = reading.remove(known);
                found.push(Exchange { read_done, write_begun: call.begun });
            }
            _ => {}
        }
    }
    found
}

/// Whether a sync of the store began after the reading and was done before the writing.
fn is_synced(calls: &[Call<'_>], exchange: &Exchange) -> bool {
    calls.iter().any(|call| {
        matches!(call.name, "fdatasync" | "fsync")
            && call.file.ends_with("/store/db")
            && call.result == 0
            && call.begun > exchange.read_done
            && call.done < exchange.write_begun
    })
}
