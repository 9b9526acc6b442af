//! An operator's week in a minute: certificates, keys and configurations of two servers change again and again while
//! agents on both sides send, and nobody is to notice.
//!
//! In full: `ATP_TEST_SWAPS_SECONDS=60 ATP_TEST_SWAPS_RATE=200 ATP_TEST_SWAPS_EVERY_MS=1000
//! cargo test --release --test process swaps -- --nocapture`

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

use crate::agent::Agent;
use crate::certificates::Authority;
use crate::place::Place;
use crate::waiting::{number, pause, until};
use crate::watching::{metrics, value};
use clients::{Client, Kind, Met};
use operator::{Done, Side, Zones};

mod clients;
mod operator;

const DOMAINS: [&str; 2] = ["alice.test", "bob.test"];
/// Agents of each domain; each writes to the one of the same name in the other domain.
const AGENTS: usize = 2;
/// An agent's clients of each kind.
const CLIENTS: usize = 2;
/// All clients of all agents.
const ALL: usize = DOMAINS.len() * AGENTS * CLIENTS * Kind::ALL.len();
/// How long the game lasts at least, unless ATP_TEST_SWAPS_SECONDS says otherwise. It goes on until everything has happened
/// on each side.
const SECONDS: u64 = 3;
/// In a game as short as this one keys change over at once, by `--force`, as soon as their record is published. In a longer
/// one the servers wait until the name servers have shown it, whom they ask every 10 s.
const SHORT: Duration = Duration::from_secs(20);
/// Messages a second, all together, unless ATP_TEST_SWAPS_RATE says otherwise.
const RATE: u64 = 20;
/// How long an operator rests after each thing done, unless ATP_TEST_SWAPS_EVERY_MS says otherwise.
const EVERY_MS: u64 = 300;
/// How long the last messages may take.
const SETTLING: Duration = Duration::from_secs(60);

/// Says so when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn swaps_of_certificates_keys_and_configurations_under_load_are_noticed_by_nobody() {
    let authority_home = Place::new();
    let authority = Authority::new(&authority_home);
    let zones = Zones::new();
    let mut sides = DOMAINS.map(|domain| Side::start(domain, &authority, &zones));
    let agents: Vec<Vec<Agent>> = sides.iter().map(|side| side.agents(AGENTS)).collect();
    let (length, rate) = (number("ATP_TEST_SWAPS_SECONDS", SECONDS), number("ATP_TEST_SWAPS_RATE", RATE));
    let every = Duration::from_millis(number("ATP_TEST_SWAPS_EVERY_MS", EVERY_MS));
    let (length, pace) = (Duration::from_secs(length), Duration::from_secs(ALL as u64) / rate as u32);

    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    let ways = [sides[0].way(), sides[1].way()];
    let mut told = thread::scope(|scope| {
        let _over = Over(&stop);
        let mut clients = Vec::new();
        for at in 0..ALL {
            let (domain, agent, kind) = (at % 2, at / 2 % AGENTS, Kind::ALL[at / 2 / AGENTS / CLIENTS]);
            let client = Client {
                agent: &agents[domain][agent],
                from: DOMAINS[domain],
                to: DOMAINS[1 - domain],
                way: &ways[domain],
                kind,
                number: at,
            };
            let stop = &stop;
            clients.push(scope.spawn(move || client.send_all(pace, pace / ALL as u32 * at as u32, stop)));
        }
        let operators: Vec<_> = sides
            .iter_mut()
            .map(|side| scope.spawn(move || side.operate(begun, length, every, length < SHORT)))
            .collect();
        for operator in operators {
            operator.join().expect("an operator");
        }
        stop.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    let took = begun.elapsed();

    let mut met = Met::default();
    let mut sent: [BTreeMap<usize, Vec<String>>; 2] = Default::default();
    for (at, (one, nonces)) in told.drain(..).enumerate() {
        met = met.with(&one);
        sent[at % 2].entry(at / 2 % AGENTS).or_default().extend(nonces);
    }
    let count: usize = sent.iter().flat_map(BTreeMap::values).map(Vec::len).sum();
    await_the_last(&sides);
    let slowest_delivery = sides.iter().map(slowest_delivery).fold(0.0, f64::max);
    let mut done = Done::default();
    for (at, side) in sides.iter().enumerate() {
        side.assert_nothing_failed(sent[at].values().map(Vec::len).sum());
        // What came to this side was sent, and signed, by the other one.
        let mut selectors = Vec::new();
        for (agent, nonces) in &mut sent[1 - at] {
            let (mut there, keys) = clients::mailbox(&agents[at][*agent], &ways[at]);
            there.sort();
            nonces.sort();
            assert_eq!(there, *nonces, "{}: not each once", DOMAINS[at]);
            selectors.extend(keys);
        }
        sides[1 - at].assert_signed_with(selectors);
        done = done.with(&side.done);
    }
    println!(
        "{count} messages in {took:.1?} ({:.0} a second), {done:?}; clients: {met:?}; slowest delivery below {slowest_delivery} s",
        count as f64 / took.as_secs_f64()
    );
    assert_eq!((met.refused, met.lost, met.later, met.repeated), (0, 0, 0, 0), "{met:?}");
    assert_eq!(met.accepted, count);
    assert_eq!(
        met.kept,
        DOMAINS.len() * AGENTS * CLIENTS * Kind::KEEPING,
        "a connection was dropped: {met:?}"
    );
    sides.into_iter().for_each(Side::stop);
}

/// Waits until nothing is in the queues any more.
fn await_the_last(sides: &[Side; 2]) {
    let begun = Instant::now();
    for side in sides {
        loop {
            let page = metrics(side.admin);
            let of = |state: &str| value(&page, &format!("atp_queue_messages{{state=\"{state}\"}}"));
            let left = of("waiting") + of("deferred") + of("delivering");
            if left == 0.0 {
                break;
            }
            assert!(begun.elapsed() < SETTLING, "{}: {left} messages wait\n{}", side.domain, side.log());
            pause(Duration::from_millis(100));
        }
    }
    // And until the last of these has been counted.
    until("the servers to be at rest", || {
        sides.iter().all(|side| value(&metrics(side.admin), "atp_connections_open") <= 64.0).then_some(())
    });
}

/// The lowest bound of the histogram that no delivery took longer than, in seconds.
fn slowest_delivery(side: &Side) -> f64 {
    let page = metrics(side.admin);
    let all = value(&page, "atp_delivery_duration_seconds_count");
    let buckets = page.lines().filter_map(|line| {
        let (bound, count) =
            line.strip_prefix("atp_delivery_duration_seconds_bucket{le=\"")?.split_once("\"} ")?;
        let holds_all = count.parse::<f64>().ok()? >= all;
        holds_all.then(|| bound.parse().unwrap_or(f64::INFINITY))
    });
    buckets.fold(f64::INFINITY, f64::min)
}
