//! Real trouble with the disk: full, failing, damaged. Nothing acknowledged is lost, and nothing needs a hand but the
//! disk itself.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::place::{Place, finish, nonces, text};
use crate::server::{Server, signal};
use crate::small_disk::{self, SmallDisk};
use crate::tools;
use crate::waiting::until;
use crate::wire::{Wire, submission};

const ALICE: &str = "agent@alice.local";
const BOB: &str = "agent@bob.local";
const IMPATIENT: &str = "[queue]\nschedule = [\"1s\"]\n";
/// Refuses nothing before the disk is really full.
const NO_MARK: &str = "[guard]\nmin_free_disk = \"0B\"\n";
/// Refuses below 16 MiB.
const A_MARK: &str = "[guard]\nmin_free_disk = \"16MiB\"\nmin_free_disk_percent = 100\n";

/// What a client was told.
#[derive(Default)]
struct Load {
    acknowledged: Vec<String>,
    refused: Vec<String>,
}

impl Load {
    /// Submits messages one after the other, half of them to an agent elsewhere, until one is refused or there were
    /// `most`. The refusal must be the one for want of room.
    fn until_refused(&mut self, server: &Server, name: &str, most: usize) {
        let mut wire = Wire::connect(server.address()).expect("a connection");
        for number in 0..most {
            let nonce = format!("{name}-{number}");
            let to = if number % 2 == 0 { ALICE } else { BOB };
            let (header, body) = submission(ALICE, to, &nonce, "");
            match wire.exchange((header + &body).as_bytes()).expect("an answer") {
                (202, _) => self.acknowledged.push(nonce),
                (status, answer) => {
                    assert_eq!((status, answer["error_code"].as_str()), (503, Some("452 4.3.1")), "{answer}");
                    self.refused.push(nonce);
                    return;
                }
            }
        }
    }

    /// Waits until everything acknowledged has arrived, and checks that nothing has twice.
    fn check(&self, alice: &Server, bob: &Server) {
        let arrived = until("everything acknowledged to arrive", || {
            let mut arrived = all_nonces(alice);
            arrived.extend(all_nonces(bob));
            self.acknowledged.iter().all(|nonce| arrived.contains(nonce)).then_some(arrived)
        });
        for nonce in self.acknowledged.iter().chain(&self.refused) {
            let times = arrived.iter().filter(|other| *other == nonce).count();
            assert!(times <= 1, "{nonce} arrived {times} times");
        }
    }
}

/// The nonces in an agent's mailbox, however many pages it has.
fn all_nonces(server: &Server) -> Vec<String> {
    let mut wire = Wire::connect(server.address()).expect("a connection");
    let domain = get(server, "health").1["domain"].clone();
    let (header, _) = submission(if domain == "bob.local" { BOB } else { ALICE }, BOB, "n", "");
    let credential =
        header.lines().find(|line| line.starts_with("Authorization")).expect("a credential").to_owned();
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let request = format!(
            "GET /.well-known/atp/v1/messages?limit=500&after_id={after} HTTP/1.1\r\nHost: localhost\r\n{credential}\r\n\r\n"
        );
        let (status, page) = wire.exchange(request.as_bytes()).expect("a page");
        assert_eq!(status, 200, "{page}");
        found.extend(nonces(page["messages"].as_array().expect("a list")).into_iter().map(String::from));
        after = page["last_id"].as_u64().unwrap_or(after);
        if page["more"] != true {
            return found;
        }
    }
}

fn get(server: &Server, path: &str) -> (u16, Value) {
    let mut wire = Wire::connect(server.address()).expect("a connection");
    let request = format!("GET /.well-known/atp/v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    wire.exchange(request.as_bytes()).expect("an answer")
}

fn await_ready(server: &Server) {
    until("the server to be ready", || (get(server, "ready").0 == 200).then_some(()));
}

fn await_refusing(server: &Server, reason: &str) {
    until("the server not to be ready", || {
        let (status, said) = get(server, "ready");
        (status == 503 && said["reason"] == reason && said["error_code"] == "452 4.3.1").then_some(())
    });
}

/// Alice's server on a small disk and Bob's beside it, each with its agent.
fn pair_on_small_disk(place: &Place, mebibytes: u64, guard: &str) -> (SmallDisk, Server) {
    let config = place.file("alice.toml", &format!("{IMPATIENT}{guard}"));
    let disk = SmallDisk::start(place, "alice.local", mebibytes, &["--config", &config]);
    let bob = place.server("bob.local", &[]);
    place.register(&disk.server, "agent");
    place.register(&bob, "agent");
    until("the ballast", || fs::metadata(disk.path("ballast")).ok().filter(|file| file.len() == 8 << 20));
    (disk, bob)
}

#[test]
fn a_really_full_disk_loses_nothing_and_needs_no_restart() {
    if !small_disk::available("a server on a full disk") {
        return;
    }
    let place = Place::new();
    let (disk, bob) = pair_on_small_disk(&place, 48, NO_MARK);
    let mut load = Load::default();
    load.until_refused(&disk.server, "before", 20);
    assert_eq!(load.acknowledged.len(), 20);
    for round in 0..3 {
        disk.fill(1);
        load.until_refused(&disk.server, &format!("full-{round}"), 5000);
        assert_eq!(load.refused.len(), round + 1, "the disk was never full");
        await_refusing(&disk.server, "disk guard");
        assert_eq!(get(&disk.server, "health").0, 200);
        assert!(!disk.path("ballast").exists(), "its space was needed");
        // What was accepted goes on its way meanwhile.
        load.check(&disk.server, &bob);

        disk.make_room();
        await_ready(&disk.server);
        assert!(disk.path("ballast").exists());
    }
    let before = load.acknowledged.len();
    load.until_refused(&disk.server, "after", 20);
    assert_eq!(load.acknowledged.len(), before + 20);
    load.check(&disk.server, &bob);
    let log = disk.server.log();
    assert!(log.contains("the store works again") && log.contains("gave up the ballast"), "{log}");
    disk.server.stop();
}

#[test]
fn below_the_mark_intake_stops_before_the_disk_is_full_and_delivery_goes_on() {
    if !small_disk::available("a server on a disk that is nearly full") {
        return;
    }
    let place = Place::new();
    let (disk, bob) = pair_on_small_disk(&place, 64, A_MARK);
    bob.stop();
    let mut load = Load::default();
    load.until_refused(&disk.server, "before", 40);
    assert_eq!(load.acknowledged.len(), 40);
    disk.fill(15);
    await_refusing(&disk.server, "disk guard");
    load.until_refused(&disk.server, "below", 1);
    assert_eq!(load.refused.len(), 1);

    let bob = place.server("bob.local", &[]);
    load.check(&disk.server, &bob);
    let (_, said) = get(&disk.server, "ready");
    assert_eq!(said["reason"], "disk guard", "delivery went on without room for more: {said}");

    disk.make_room();
    await_ready(&disk.server);
    load.until_refused(&disk.server, "after", 10);
    load.check(&disk.server, &bob);
    let log = disk.server.log();
    assert!(!log.contains("the store failed"), "{log}");
    assert_eq!(log.matches("reason=disk guard").count(), 2, "said once at each change: {log}");
    disk.server.stop();
}

/// Makes every write and sync of a running server fail, from outside.
struct Failing(Child);

impl Failing {
    fn start(place: &Place, server: &Server, error: &str) -> Failing {
        let calls = "pwrite64,fdatasync,fsync,sync_file_range";
        let mut command = Command::new("strace");
        command.args(["-f", "-q", "-p", &server.pid().to_string(), "-o", &place.file("strace", "")]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}")]);
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("strace");
        Failing(child)
    }

    fn stop(mut self) {
        signal(self.0.id(), "INT");
        self.0.wait().expect("its end");
    }
}

#[test]
fn a_disk_that_turns_read_only_or_fails_for_a_while_loses_nothing_and_needs_no_restart() {
    const WHAT: &str = "a disk that fails for a while";
    if !(tools::available("strace", "strace", WHAT)
        && tools::works("strace", &["-o", "/dev/null", "true"], WHAT))
    {
        assert!(!tools::is_ci(), "{WHAT} must be seen in continuous integration");
        return;
    }
    let place = Place::new();
    let config = place.file("alice.toml", IMPATIENT);
    let alice = place.server("alice.local", &["--config", &config]);
    let bob = place.server("bob.local", &[]);
    place.register(&alice, "agent");
    place.register(&bob, "agent");
    let mut load = Load::default();
    load.until_refused(&alice, "before", 10);
    for error in ["EROFS", "EIO"] {
        let failing = Failing::start(&place, &alice, error);
        until("a refusal", || {
            let tried = load.acknowledged.len();
            load.until_refused(&alice, &format!("{error}-{tried}"), 1000);
            (!load.refused.is_empty()).then_some(())
        });
        await_refusing(&alice, "store failed");
        assert_eq!(get(&alice, "health").0, 200);
        failing.stop();
        await_ready(&alice);
        load.until_refused(&alice, &format!("after-{error}"), 10);
        load.check(&alice, &bob);
        load.refused.clear();
    }
    alice.stop();
}

#[test]
fn a_store_that_comes_back_damaged_ends_the_server_for_its_supervisor() {
    const WHAT: &str = "a store that comes back damaged";
    if !(tools::available("strace", "strace", WHAT)
        && tools::works("strace", &["-o", "/dev/null", "true"], WHAT))
    {
        assert!(!tools::is_ci(), "{WHAT} must be seen in continuous integration");
        return;
    }
    let place = Place::new();
    let mut alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let failing = Failing::start(&place, &alice, "EIO");
    let mut load = Load::default();
    until("a refusal", || {
        load.until_refused(&alice, &format!("{}", load.acknowledged.len()), 1000);
        (!load.refused.is_empty()).then_some(())
    });
    let mark = place.state().join("node/alice.local/store/synced");
    let mut bytes = fs::read(&mark).expect("the mark");
    bytes[0] ^= 1;
    fs::write(&mark, bytes).expect("the mark");
    failing.stop();
    let status = alice.ended();
    let log = alice.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("atp: stopped because ") && last.contains("/synced is damaged"), "{log}");
}

#[test]
fn a_damaged_store_is_refused_by_name_and_served_again_once_it_is_put_back() {
    let place = Place::new();
    let alice = place.server("alice.local", &[]);
    place.register(&alice, "agent");
    let mut load = Load::default();
    load.until_refused(&alice, "kept", 30);
    alice.kill();
    // The next start makes a snapshot of what it found, and then the log goes on.
    let alice = place.server("alice.local", &[]);
    load.until_refused(&alice, "also-kept", 30);
    // Not killed: what was being written then was promised to nobody, and its loss would be none.
    alice.stop();
    let store = place.state().join("node/alice.local/store");
    let snapshot = fs::read_dir(&store).expect("the store").filter_map(Result::ok).map(|entry| entry.path());
    let snapshot = snapshot.filter(|path| text(path).contains("snap.")).max().expect("a snapshot");
    let copy = place.state().join("copy");
    assert!(Command::new("cp").arg("-a").args([&store, &copy]).status().expect("cp").success());

    let end_of_log = |bytes: &mut Vec<u8>| {
        let end = bytes.iter().rposition(|byte| *byte != 0).expect("a log");
        bytes[end - 400..=end].fill(0);
    };
    let half = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    let flip = |bytes: &mut Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
    };
    let none = |bytes: &mut Vec<u8>| bytes.clear();
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    for (case, file, damage) in [
        ("the log's latest writes gone", store.join("db"), &end_of_log as Damage<'_>),
        ("the log empty", store.join("db"), &none),
        ("the mark flipped", store.join("synced"), &flip),
        ("the snapshot flipped", snapshot.clone(), &flip),
        ("the snapshot cut", snapshot.clone(), &half),
        ("the settings flipped", store.join("conf"), &flip),
    ] {
        let mut bytes = fs::read(&file).expect("a file");
        damage(&mut bytes);
        fs::write(&file, bytes).expect("a file");
        for _ in 0..2 {
            let said = finish(place.server_command("alice.local", &["--log-level", "error"]));
            assert_eq!(said.code, 1, "{case}: {said:?}");
            let last = said.stderr.lines().last().unwrap_or_default();
            assert!(last.contains(&text(&store)) && last.contains("put a copy"), "{case}: {said:?}");
        }
        fs::remove_dir_all(&store).expect("the damaged store");
        assert!(Command::new("cp").arg("-a").args([&copy, &store]).status().expect("cp").success());
    }
    let (alice, bob) = (place.server("alice.local", &[]), place.server("bob.local", &[]));
    place.register(&bob, "agent");
    let arrived = all_nonces(&alice);
    assert!(load.acknowledged.iter().step_by(2).all(|nonce| arrived.contains(nonce)), "{arrived:?}");
}
