//! The house rules that no compiler checks: who may import whom, and that shipped files are true.
//!
//! Read from the text of `src/`; the checks themselves are tried on planted violations below.

mod conformance;
mod promises;
mod shipped;
mod source;
mod units;

use source::{Source, program};

/// Every room of `src/`, and what it may name besides itself: a room, or only what begins with a path.
/// A stage may name the output of the stage before it, never another stage; `pipeline` alone knows the order.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("secret", &[]),
    ("counters", &["proto::status::Reason", "proto::time::UnixMillis"]),
    ("error", &["proto"]),
    ("env", &["proto"]),
    ("guard", &["env", "error", "proto"]),
    ("rates", &["config", "counters", "error", "proto"]),
    // Its files are read as all of the operator's are.
    ("config", &["proto", "secret", "env::whole"]),
    ("observe", &["config"]),
    ("agents", &["config", "env", "error", "proto", "rates", "secret", "spool::contract", "spool::entry"]),
    ("acme", &["config", "env", "proto"]),
    ("dns_records", &["config", "env", "proto"]),
    ("submit", &["config", "env", "error", "proto", "spool::contract", "spool::entry"]),
    ("spool", &["config", "env", "error", "proto"]),
    ("discover", &["config", "env", "error", "proto"]),
    ("sign", &["config", "env", "error", "proto"]),
    ("transfer", &["config", "env", "error", "proto", "discover::Target", "sign::Signed"]),
    ("verify", &["config", "env", "error", "proto"]),
    ("deliver", &["config", "env", "error", "proto", "spool::contract", "spool::entry", "verify::Verified"]),
    ("mailbox", &["counters", "env", "error", "proto", "secret", "spool::contract", "spool::entry"]),
    (
        "pipeline",
        &[
            "config", "counters", "env", "error", "proto", "rates", "secret", "submit", "spool", "discover",
            "sign", "transfer", "verify", "deliver",
        ],
    ),
    (
        "server",
        &[
            "acme",
            "agents",
            "config",
            "counters",
            "env",
            "error",
            "guard",
            "pipeline",
            "proto",
            "rates",
            "secret",
            // What agents may send.
            "spool::contract::rates",
            // Why it fails.
            "spool::contract::StoreError",
            // What the operator keeps of it.
            "spool::backup",
            "spool::check",
            "spool::exchange",
            "spool::contract::Snapshot",
            "mailbox",
            // What readers and the operator are shown.
            "spool::contract::Mail",
            "spool::contract::webhooks::WaitingPushes",
            "spool::contract::Trace",
            "spool::contract::receipts::Heard",
            // What is to be made with an acknowledgement.
            "spool::contract::NewReceipt",
            "spool::contract::ActionPage",
            "spool::contract::Counts",
            "spool::contract::Destination",
            "spool::due::LaneView",
            "spool::due::trouble",
            "spool::entry",
            "spool::retry",
            "spool::state",
            // What the operator wants done to which rows, and to which agent.
            "spool::contract::Removal",
            // What mailboxes keep.
            "spool::contract::keeping",
            // What workers say of the messages they have in hand.
            "spool::contract::work",
            // What the operator wants done to which rows.
            "spool::contract::RowAction",
            "spool::contract::RowFilter",
            "spool::contract::RowStateName",
            // What a peer handed over, before anything is believed.
            "verify::Received",
        ],
    ),
    (
        "daemon",
        &[
            "acme",
            "agents",
            "config",
            "counters",
            "dns_records",
            "env",
            "error",
            "guard",
            "observe",
            "pipeline",
            "proto",
            "rates",
            "secret",
            "mailbox",
            "server",
            "submit",
            "spool",
            "discover",
            "sign",
            "transfer",
            "verify",
        ],
    ),
    (
        "demo",
        &["config", "daemon", "dns_records", "env", "observe", "proto", "secret", "sign", "transfer::pool"],
    ),
    (
        "cli",
        &[
            "config",
            "daemon",
            "demo",
            "dns_records",
            "env",
            "observe",
            "proto",
            "secret",
            "sign",
            // Where an agent's own server is.
            "discover::Discovery",
            "discover::Target",
            // Backups, and the stores of servers that are stopped.
            "spool::backup",
            "spool::check",
            "spool::exchange",
            "spool::contract::Snapshot",
        ],
    ),
    ("main", &["cli"]),
    ("lib", &[]),
];

/// The outside world in its real form, and who puts it together.
const ADAPTERS: [&str; 8] = [
    "SystemClock",
    "SystemRng",
    "HickoryResolver",
    "ZoneServers",
    "TlsDial",
    "SledDisk",
    "LinuxMachine",
    "LocalFiles",
];
const WIRING: [&str; 4] = ["daemon", "demo", "cli", "env"];

/// What ends the process on something that came from outside.
const PANICS: [&str; 6] = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];

/// What would make the protocol's own folder impure.
const IO: [&str; 9] =
    ["tokio", "hyper", "rustls", "hickory_resolver", "sled", "axum", "std::fs", "std::thread", "std::env"];

fn begins_with(path: &str, start: &str) -> bool {
    path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn check(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut note = |what: String| wrong.push(format!("src/{}: {what}", source.path));
    imports(source, &mut note);
    adapters(source, &mut note);
    for call in PANICS.iter().filter(|call| source.code.contains(**call)) {
        note(format!("{call} can end the process"));
    }
    wall_clock(source, &mut note);
    if source.room() == "proto" {
        let impure = |path: &&&str| source.code.contains(&format!("{path}::"));
        IO.iter().filter(impure).for_each(|path| note(format!("proto is pure, but uses {path}")));
    }
    if source.code.contains("mod tests") {
        note("a module of tests that is not behind #[cfg(test)]".into());
    }
    wrong
}

fn imports(source: &Source, note: &mut impl FnMut(String)) {
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(room, _)| *room == source.room()) else {
        return note(format!("the room {} has no row in MAY_IMPORT", source.room()));
    };
    let rooms = MAY_IMPORT.iter().map(|(room, _)| *room).chain(["testing"]);
    let rooms: Vec<&str> = rooms.filter(|room| *room != source.room()).collect();
    for path in source.imports() {
        let foreign = rooms.iter().any(|room| begins_with(&path, room));
        if foreign && !allowed.iter().any(|start| begins_with(&path, start)) {
            note(format!("may not import {path}"));
        }
    }
}

fn adapters(source: &Source, note: &mut impl FnMut(String)) {
    let words = || source.code.split(|c: char| !c.is_alphanumeric() && c != '_');
    for name in ADAPTERS.iter().filter(|name| words().any(|word| word == **name)) {
        if !WIRING.contains(&source.room()) {
            note(format!("only daemon (and cli, without one) makes a {name}"));
        }
    }
}

fn wall_clock(source: &Source, note: &mut impl FnMut(String)) {
    if source.path == "env/clock.rs" {
        return;
    }
    let std_instant = source.paths("std").iter().any(|path| begins_with(path, "time::Instant"));
    if source.code.contains("SystemTime::now") || std_instant {
        note("wall time comes from env::clock, waits from tokio::time".into());
    }
}

#[test]
fn everyone_keeps_to_the_house_rules() {
    let wrong: Vec<String> = program().iter().flat_map(check).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_in_the_table_exists() {
    let sources = program();
    for (room, _) in MAY_IMPORT {
        assert!(sources.iter().any(|source| source.room() == *room), "{room} is gone: take its row out");
    }
}

#[test]
fn planted_violations_are_found() {
    for (path, text, finding) in [
        ("proto/ats.rs", "use crate::env::Resolver;", "may not import env::Resolver"),
        ("proto/ats.rs", "fn f() { tokio::spawn(g()); }", "proto is pure"),
        ("env/rng.rs", "use crate::error::Fault;", "may not import error::Fault"),
        (
            "sign/mod.rs",
            "use crate::{error, transfer::client::Client};",
            "may not import transfer::client::Client",
        ),
        ("submit/mod.rs", "fn f() { crate::pipeline::go() }", "may not import pipeline::go"),
        ("deliver/bounce.rs", "use super::super::sign::Signer;", "may not import sign::Signer"),
        ("verify/mod.rs", "use super::{deliver::{self, Delivered}};", "may not import deliver"),
        ("transfer/client.rs", "use crate::sign::{Signed, Signer};", "may not import sign::Signer"),
        ("deliver/mod.rs", "use crate::verify::*;", "may not import verify::*"),
        ("spool/due.rs", "use crate::spool_of_wire::X; use crate::server as s;", "may not import server"),
        ("daemon/chores.rs", "use crate::cli::main;", "may not import cli::main"),
        ("server/state.rs", "use crate::testing::FakeDns;", "may not import testing::FakeDns"),
        ("parlour/mod.rs", "", "has no row"),
        ("pipeline.rs", "let clock = SystemClock;", "only daemon"),
        ("server/admin.rs", "use crate::pipeline::X; fn f() { y.unwrap(); }", ".unwrap()"),
        ("spool/due.rs", "fn f() { panic!(\"no\") }", "panic!("),
        ("spool/due.rs", "#[cfg(test)] mod tests { a } fn f() { b.expect(\"x\") }", ".expect("),
        ("verify/mod.rs", "use std::time::{Duration, Instant};", "wall time"),
        ("verify/mod.rs", "let now = std::time::SystemTime::now();", "wall time"),
        ("verify/mod.rs", "mod tests { fn f() {} }", "not behind #[cfg(test)]"),
    ] {
        let found = check(&Source::new(path, text)).join("\n");
        assert!(found.contains(finding), "{path} {text:?} gave {found:?}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (path, text) in [
        (
            "proto/ats.rs",
            "// crate::env\nuse super::address::Domain; /* .unwrap() */ const A: &str = \"panic!(\";",
        ),
        ("proto/ats.rs", r##"const A: &str = r#"" crate::env::X "#; const C: char = '"'; fn f<'a>() {}"##),
        ("env/dns/mod.rs", "use super::clock::SystemClock; use crate::proto::address::Domain;"),
        ("env/clock.rs", "let now = std::time::SystemTime::now();"),
        ("transfer/client.rs", "use crate::discover::Target; use crate::sign::Signed; use super::plan;"),
        ("spool/due.rs", "use tokio::time::Instant; fn f() { Instant::now(); a.unwrap_or(1); }"),
        ("spool/due.rs", "#[cfg(test)]\nfn f(a: [u8; 2]) { b.unwrap() }\nfn g() {}"),
        ("spool/due.rs", "#[cfg(test)]\nmod tests;\nfn g() {}"),
        ("daemon/outside.rs", "let clock = SystemClock; use crate::verify::{Verifier, VerifySettings};"),
        ("server/routes.rs", "use super::{about, admin}; use crate::verify::Received;"),
    ] {
        assert_eq!(check(&Source::new(path, text)), Vec::<String>::new(), "{path} {text:?}");
    }
}
