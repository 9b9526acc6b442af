//! `atp backup`, `restore`, `verify`, `export` and `import`, with servers that go on meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::filled;
use crate::place::{Place, Said, finish_within, text};
use crate::waiting::{pause, until};
use crate::wire::{Wire, submission};

const DOMAIN: &str = "bob.local";
const BOB: &str = "agent@bob.local";
const AGENTS: [&str; 3] = ["agent@bob.local", "two@bob.local", "three@bob.local"];
/// Over how many connections they send.
const CONNECTIONS: usize = 9;
/// Between two messages over one: together they send about 200 a second where there is nothing else to do.
const PAUSE: Duration = Duration::from_millis(30);
/// Rows that wait in the queue before, so that a backup takes a while.
const ROWS: u64 = 3000;
/// Backups taken while messages come in.
const BACKUPS: usize = 4;
const LONG: Duration = Duration::from_secs(120);

fn long(place: &Place, words: &[&str]) -> Said {
    finish_within(place.command(words), LONG)
}

/// What the lines of an export hold: how often each nonce lies in mailboxes and in the queue.
fn nonces(export: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in export.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let message = line["message"]["message"].as_str().or(line["submission"]["message"].as_str());
        let Some(message) = message else { continue };
        let message: Value = serde_json::from_str(message).expect("a message");
        let nonce = message["nonce"].as_str().expect("a nonce").to_owned();
        *found.entry(nonce).or_default() += 1;
    }
    found
}

/// Sends until it is told to stop; notes what has been acknowledged.
fn send(
    agent: &str,
    connection: usize,
    address: std::net::SocketAddr,
    stop: &AtomicBool,
    acknowledged: &Mutex<Vec<String>>,
) {
    let mut wire = Wire::connect(address).expect("a connection");
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let nonce = format!("{}-{connection}-{number}", agent.split('@').next().expect("a name"));
        // Every fifth to a domain that is suspended: it stays in the queue.
        let to = if number % 5 == 0 { "x@gone.local" } else { BOB };
        let (header, body) = submission(agent, to, &nonce, "");
        let (status, answer) = wire.exchange(format!("{header}{body}").as_bytes()).expect("an answer");
        assert_eq!(status, 202, "{answer}");
        acknowledged.lock().expect("a lock").push(nonce);
        number += 1;
        pause(PAUSE);
    }
}

#[test]
fn a_backup_taken_under_load_holds_everything_acknowledged_before() {
    let place = Place::new();
    place.server(DOMAIN, &[]).stop();
    filled::fill(&place.state().join("node").join(DOMAIN).join("store"), BOB, "far.local", ROWS);
    let server = place.server(DOMAIN, &[]);
    let peer = place.server("alice.local", &[]);
    for agent in ["agent", "two", "three"] {
        place.register(&server, agent);
    }
    place.register(&peer, "agent");
    place.ok(&["queue", "suspend", "gone.local", "--domain", DOMAIN]);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let mut senders: Vec<_> = (0..CONNECTIONS)
        .map(|connection| {
            let agent = AGENTS[connection % AGENTS.len()];
            let (stop, acknowledged, address) =
                (Arc::clone(&stop), Arc::clone(&acknowledged), server.address());
            std::thread::spawn(move || send(agent, connection, address, &stop, &acknowledged))
        })
        .collect();
    let (peers_stop, peer_address) = (Arc::clone(&stop), peer.address());
    senders.push(std::thread::spawn(move || {
        let mut wire = Wire::connect(peer_address).expect("a connection");
        for number in 0.. {
            if peers_stop.load(Ordering::Relaxed) {
                return;
            }
            let (header, body) = submission("agent@alice.local", BOB, &format!("peer-{number}"), "");
            assert_eq!(wire.exchange(format!("{header}{body}").as_bytes()).expect("an answer").0, 202);
            pause(4 * PAUSE);
        }
    }));
    let began = Instant::now();
    until("some messages", || (acknowledged.lock().expect("a lock").len() > 100).then_some(()));
    let count = || acknowledged.lock().expect("a lock").len();
    let mut taken = Vec::new();
    for round in 0..BACKUPS {
        let before: Vec<String> = acknowledged.lock().expect("a lock").clone();
        let file = place.file("unused", "").replace("unused", &format!("backup-{round}"));
        let said = long(&place, &["backup", &file, "--domain", DOMAIN, "--json"]);
        assert_eq!(said.code, 0, "{said:#?}");
        eprintln!(
            "{} in {:?}; {} sent before, {} after",
            said.stdout.trim().replace('\n', ""),
            began.elapsed(),
            before.len(),
            count()
        );
        let online = long(&place, &["verify", "--domain", DOMAIN]);
        assert_eq!(online.code, 0, "{online:#?}");
        taken.push((file, before));
    }
    let rate = count() as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
    eprintln!("{rate:.0} messages a second from agents of the server itself");
    server.stop();
    for (round, (file, before)) in taken.into_iter().enumerate() {
        let mode = fs::metadata(&file).expect("a backup").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let said = long(&place, &["verify", &file]);
        assert_eq!(said.code, 0, "{said:#?}");
        let elsewhere = file.replace("backup-", "state-");
        let said = long(&place, &["restore", &file, "--state-dir", &elsewhere]);
        assert!(said.code == 0 && said.stdout.contains("sent again"), "{said:#?}");
        let said = long(&place, &["verify", "--state-dir", &elsewhere]);
        assert_eq!(said.code, 0, "{said:#?}");
        let export = place.ok(&["export", "--what", "mail,queue", "--state-dir", &elsewhere]);
        let found = nonces(&export);
        let lost: Vec<_> = before.iter().filter(|nonce| !found.contains_key(*nonce)).collect();
        let twice: Vec<_> = found.iter().filter(|(_, times)| **times > 1).collect();
        assert!(lost.is_empty() && twice.is_empty(), "backup {round}: lost {lost:?}, twice {twice:?}");
        assert!(found.keys().any(|nonce| nonce.starts_with("peer-")), "nothing of the peer's");
        assert_eq!(found.keys().filter(|nonce| nonce.starts_with("row-")).count() as u64, ROWS);
    }
    // A server starts on what was restored, and knows its agents.
    let elsewhere = place.file("unused", "").replace("unused", "state-0");
    let restored = place.server(DOMAIN, &["--state-dir", &elsewhere]);
    assert!(place.mailbox(&restored, BOB).len() > 50);
    let last = place.mailbox(&restored, BOB).len();
    let nonce = place.send(&restored, BOB, BOB, "after");
    assert!(last > 0 && !nonce.is_empty());
    restored.stop();
}

#[test]
fn a_backup_that_is_cut_off_leaves_no_file_of_its_name() {
    let place = Place::new();
    let server = place.server(DOMAIN, &[]);
    place.register(&server, "agent");
    server.stop();
    filled::fill(&place.state().join("node").join(DOMAIN).join("store"), BOB, "far.local", 3000);
    let server = place.server(DOMAIN, &[]);
    let file = place.file("unused", "").replace("unused", "backup");
    for milliseconds in [0, 5, 20, 60] {
        let mut child = place.command(&["backup", &file]).spawn().expect("a backup");
        pause(Duration::from_millis(milliseconds));
        let was_running = child.try_wait().expect("a state").is_none();
        let _ = child.kill();
        child.wait().expect("its end");
        assert!(!was_running || !Path::new(&file).exists() || long(&place, &["verify", &file]).code == 0);
        let _ = fs::remove_file(&file);
    }
    // The server is none the worse, and lets the next one have it.
    let said = until("a backup", || {
        let said = long(&place, &["backup", &file, "--json"]);
        (said.code == 0 || !said.stderr.contains("already")).then_some(said)
    });
    assert_eq!(said.code, 0, "{said:#?}");
    let again = long(&place, &["backup", &file]);
    assert!(again.code == 2 && again.stderr.contains("--overwrite"), "{again:#?}");
    let whole = fs::read(&file).expect("a backup");

    // The server goes while it is made.
    let child = place.command(&["backup", &file, "--overwrite"]).stderr(std::process::Stdio::piped()).spawn();
    let child = child.expect("a backup");
    pause(Duration::from_millis(15));
    server.kill();
    let ended = child.wait_with_output().expect("its end");
    let now = fs::read(&file).expect("a backup");
    assert!(ended.status.success() || now == whole, "what was there stays");
    assert_eq!(long(&place, &["verify", &file]).code, 0);
    // What killed ones have left has gone with the one after them.
    let names = fs::read_dir(Path::new(&file).parent().expect("a directory")).expect("names");
    let left = names.filter_map(|name| Some(name.ok()?.file_name().to_string_lossy().into_owned()));
    assert_eq!(left.filter(|name| name.ends_with(".tmp")).collect::<Vec<_>>(), [""; 0]);

    // Of a server that is stopped, through a pipe, without keys.
    let piped = place.command(&["backup", "-", "--without-keys"]).output().expect("a backup");
    assert!(piped.status.success(), "{piped:?}");
    fs::write(&file, &piped.stdout).expect("a file");
    let elsewhere = file.replace("backup", "elsewhere");
    let said = long(&place, &["restore", &file, "--state-dir", &elsewhere]);
    assert!(said.code == 0 && said.stdout.contains("no keys"), "{said:#?}");
    assert!(!Path::new(&elsewhere).join("domains").join(DOMAIN).exists());
    let said = long(&place, &["restore", &file, "--state-dir", &elsewhere]);
    assert!(said.code == 1 && said.stderr.contains("--force"), "{said:#?}");
    let said = long(&place, &["restore", &file, "--state-dir", &elsewhere, "--force"]);
    assert!(said.code == 0 && said.stdout.contains("replaced/"), "{said:#?}");

    let mut damaged = piped.stdout;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&file, damaged).expect("a file");
    for words in [&["verify", &file][..], &["restore", &file, "--state-dir", &elsewhere, "--force"]] {
        let said = long(&place, words);
        assert!(said.code == 1 && said.stderr.contains("damaged at byte"), "{said:#?}");
    }
}

#[test]
fn what_is_exported_is_imported_into_a_running_server_and_a_stopped_one() {
    let place = Place::new();
    let server = place.server(DOMAIN, &[]);
    place.register(&server, "agent");
    place.ok(&["queue", "suspend", "gone.local"]);
    place.send(&server, BOB, BOB, "one");
    place.send(&server, BOB, "x@gone.local", "two");
    let file = place.file("unused", "").replace("unused", "lines");
    assert_eq!(place.run(&["export", &file]).code, 0);
    server.stop();
    let elsewhere = place.file("unused", "").replace("unused", "elsewhere");
    let other = place.server(DOMAIN, &["--state-dir", &elsewhere]);
    let there = ["--state-dir", elsewhere.as_str()];
    place.ok(&[&["queue", "suspend", "gone.local"][..], &there].concat());
    let said = place.run(&[&["import", &file, "--json"][..], &there].concat());
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(said.json()["new"].as_u64() > Some(2), "{said:#?}");
    assert_eq!(place.mailbox(&other, BOB).len(), 1, "its password is the same");
    let again = place.run(&[&["import", &file, "--json"][..], &there].concat());
    assert_eq!((again.code, again.json()["new"].as_u64()), (0, Some(0)), "{again:#?}");

    // Many agents, made by a program.
    let hash = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI";
    let line = |number| {
        format!("{{\"agent\":{{\"address\":\"a{number}@bob.local\",\"password_hash\":\"{hash}\"}}}}\n")
    };
    let many: String = (0..10_000).map(line).collect();
    let many = place.file("many", &format!("{many}nonsense\n\n"));
    let begun = Instant::now();
    let said = long(&place, &[&["import", &many][..], &there].concat());
    eprintln!("10,000 agents in {:?}: {}", begun.elapsed(), said.stdout.trim());
    assert!(
        said.code == 1 && said.stdout.contains(":10001: ") && said.stdout.contains("10000 new"),
        "{said:#?}"
    );
    // A line that is too long is told like any other, and those behind it are taken.
    let long_line = format!("{}\n{}\n{}", line(30_000), "x".repeat(33 << 20), line(30_001));
    let said = place.run(&[&["import", &place.file("long", &long_line), "--json"][..], &there].concat());
    let (told, refused) = (said.json(), said.json()["refused"].clone());
    assert_eq!((said.code, told["new"].as_u64(), told["wrong"].as_u64()), (1, Some(2), Some(2)), "{said:#?}");
    assert_eq!((refused[0]["line"].as_u64(), refused[1]["line"].as_u64()), (Some(2), Some(3)), "{refused}");
    assert!(refused[1]["error"].as_str().is_some_and(|error| error.contains("longer than")), "{refused}");
    other.stop();
    let strict = place.file("strict", &format!("nonsense\n{}", line(20_000)));
    let said = place.run(&[&["import", &strict, "--strict"][..], &there].concat());
    assert!(
        said.code == 1 && said.stdout.contains("0 new") && said.stdout.contains("1 not taken"),
        "{said:#?}"
    );
    assert_eq!(place.run(&[&["verify"][..], &there].concat()).code, 0);
    let one = place.ok(&[&["export", "--what", "mail", "--agent", BOB][..], &there].concat());
    assert_eq!(one.lines().count(), 2, "{one}");
    assert!(text(&place.state()).ends_with(".atp"));
}
