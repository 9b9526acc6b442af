//! What dead destinations, and long backlogs, cost those that work.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::conditions;
use crate::figures::{Figures, median, millis, ratio};
use crate::load::{self, Authors};
use crate::options::Options;
use crate::place::{Place, Server};
use crate::sink::Tally;
use crate::world::{DEAD, HEALTHY, SLOW, SLOW_ANSWER, World};

/// Of so many destinations one is dead.
const ONE_DEAD_OF: usize = 10;
/// How many times slower the slowest hundredth may become.
const ALLOWED: f64 = 2.0;
/// Longest wait for the last of the mail to those that work.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL_PAUSE: Duration = Duration::from_millis(20);
/// Newcomers' messages that are timed, and the pause between two.
const PROBES: usize = 40;
const PROBE_PAUSE: Duration = Duration::from_millis(100);
/// Submissions at once while the backlog is built.
const AT_ONCE: usize = 64;
/// The author of the backlog, and who comes later.
const BULK: usize = 0;
const NEWCOMER: usize = 1;

/// A message to be.
#[derive(Debug, Clone)]
struct Planned {
    at: Duration,
    to: String,
    nonce: String,
    /// Phase of a message to a destination that works. `None`: it goes to a dead one.
    phase: Option<usize>,
}

/// A message that was submitted.
struct Sent {
    planned: Planned,
    /// When it was to be submitted.
    due: Instant,
    /// How long until it was accepted.
    accepted: Duration,
}

/// Measures and prints.
pub async fn run(options: &Options, world: &World, directory: &Path) {
    println!("isolation");
    let dead = options.destinations / ONE_DEAD_OF;
    println!(
        "  {} destinations, {dead} of them dead ({}); about {} messages for each in each of two phases, {} a second to \
         those that work;\n  dead ones get theirs in the first phase; a message counts from when it was to be \
         submitted until it arrived",
        options.destinations,
        DEAD.join(", "),
        options.messages,
        options.rate
    );
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 0..options.rounds {
        let without = one(options, world, directory, false).await;
        let with = one(options, world, directory, true).await;
        for (phase, ratios) in ratios.iter_mut().enumerate() {
            let (without, with) = (without[phase], with[phase]);
            println!("  round {round} phase {phase} without dead ones  {without}");
            println!("  round {round} phase {phase} with them          {with}");
            ratios.push(ratio(with.p99, without.p99));
        }
        println!("  load {}", conditions::load());
    }
    for (phase, ratios) in ratios.into_iter().enumerate() {
        println!(
            "  phase {phase}: p99 with dead ones / without: {ratios:.2?}, median {:.2} (at most {ALLOWED})",
            median(ratios.clone())
        );
    }
    backlog(options, world, directory).await;
    println!();
}

/// A fresh server under the load, with or without dead destinations. The figures of each phase.
async fn one(options: &Options, world: &World, directory: &Path, dead: bool) -> [Figures; 2] {
    let (place, server) = fresh(world, directory).await;
    let sent = submit(server.address, plan(options, dead)).await;
    await_arrivals(&world.tally, &sent).await;
    let accepted = Figures::of(sent.iter().map(|sent| sent.accepted).collect());
    println!("    dead ones: {dead:<5}  submissions {accepted}, cpu {:.1?}", server.cpu());
    for line in server.slow_syncs() {
        println!("    {line}");
    }
    let phase = |phase| {
        let of_phase = sent.iter().filter(|sent| sent.planned.phase == Some(phase));
        let arrival = |sent: &Sent| world.tally.arrival(&sent.planned.nonce);
        let missing = of_phase.clone().filter(|sent| arrival(sent).is_none()).count();
        if missing > 0 {
            println!("    {missing} messages of phase {phase} have not arrived");
        }
        let late = |sent: &Sent| arrival(sent).map_or(PATIENCE, |at| at.saturating_duration_since(sent.due));
        Figures::of(of_phase.map(late).collect())
    };
    let figures = [phase(0), phase(1)];
    report_repeats(&world.tally);
    drop(server);
    place.clear();
    figures
}

async fn fresh(world: &World, directory: &Path) -> (Place, Server) {
    world.tally.clear();
    let place = Place::at(directory.join("isolation"));
    place.clear();
    let server = place.start(world.dns, &world.authority.file).await;
    load::register(server.address).await;
    (place, server)
}

/// Which messages go where, and when; the same in every run.
fn plan(options: &Options, with_dead: bool) -> Vec<Planned> {
    let dead = options.destinations / ONE_DEAD_OF;
    let healthy = options.destinations - dead;
    let each_phase = healthy * options.messages;
    let at = |number: usize, rate: f64| Duration::from_secs_f64(number as f64 / rate);
    let to_healthy = (0..2 * each_phase).map(|number| Planned {
        at: at(number, options.rate as f64),
        to: format!("agent@{HEALTHY}{}.example", scattered(number) % healthy),
        nonce: format!("well-{number}"),
        phase: Some(number / each_phase),
    });
    let rate = options.rate as f64 * dead as f64 / healthy as f64;
    let to_dead = (0..dead * options.messages).filter(|_| with_dead).map(|number| {
        let destination = scattered(number) % dead;
        let (kind, number_of_kind) = (DEAD[destination % DEAD.len()], destination / DEAD.len());
        Planned {
            at: at(number, rate),
            to: format!("agent@{kind}{number_of_kind}.example"),
            nonce: format!("dead-{number}"),
            phase: None,
        }
    });
    let mut plan: Vec<Planned> = to_healthy.chain(to_dead).collect();
    plan.sort_by_key(|planned| planned.at);
    plan
}

/// As if drawn, and the same in every run (the finisher of SplitMix64).
fn scattered(number: usize) -> usize {
    let mut z = (number as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    usize::try_from((z ^ (z >> 31)) >> 1).unwrap_or_default()
}

/// Submits each message at its time, however long others take.
async fn submit(server: std::net::SocketAddr, plan: Vec<Planned>) -> Vec<Sent> {
    let authors = Authors::connect(server).await;
    let begun = Instant::now();
    let mut under_way = JoinSet::new();
    for (number, planned) in plan.into_iter().enumerate() {
        let due = begun + planned.at;
        sleep_until(due).await;
        let authors = authors.clone();
        under_way.spawn(async move {
            authors.submit(number, &planned.to, &planned.nonce).await;
            Sent { planned, due, accepted: due.elapsed() }
        });
    }
    under_way.join_all().await
}

async fn await_arrivals(tally: &Tally, sent: &[Sent]) {
    let expected = sent.iter().filter(|sent| sent.planned.phase.is_some()).count();
    let begun = Instant::now();
    while tally.taken() < expected && begun.elapsed() < PATIENCE {
        sleep(POLL_PAUSE).await;
    }
}

fn report_repeats(tally: &Tally) {
    if tally.taken_again() > 0 {
        println!("    {} messages came more than once", tally.taken_again());
    }
}

/// A long backlog before a slow destination: how long a newcomer waits there and elsewhere.
async fn backlog(options: &Options, world: &World, directory: &Path) {
    let (place, server) = fresh(world, directory).await;
    let authors = Authors::connect(server.address).await;
    println!(
        "  a destination that answers after {SLOW_ANSWER:?}, {} messages of one author to it",
        options.backlog
    );
    let elsewhere = |number: usize| format!("agent@{HEALTHY}{number}.example");
    let there = |_| format!("agent@{SLOW}0.example");
    let quiet = probe(&authors, &world.tally, "quiet", elsewhere).await;
    println!("    before it, another author elsewhere     {quiet}");
    let quiet = probe(&authors, &world.tally, "quiet-there", there).await;
    println!("    before it, another author there         {quiet}");
    let begun = Instant::now();
    build_backlog(&authors, options.backlog).await;
    let delivered = world.tally.taken().saturating_sub(2 * PROBES);
    println!("    submitted in {:.1?}, of which {delivered} had been delivered by then", begun.elapsed());
    let behind = |number: usize| elsewhere(number + PROBES);
    println!(
        "    during it, another author elsewhere     {}",
        probe(&authors, &world.tally, "elsewhere", behind).await
    );
    println!(
        "    during it, another author there         {}",
        probe(&authors, &world.tally, "there", there).await
    );
    let (delivered, took) = (world.tally.taken().saturating_sub(4 * PROBES), begun.elapsed());
    println!(
        "    after that {delivered} of the backlog had been delivered, {:.0} a second; load {}",
        delivered as f64 / took.as_secs_f64(),
        conditions::load()
    );
    report_repeats(&world.tally);
    drop(server);
    place.clear();
}

async fn build_backlog(authors: &Authors, messages: usize) {
    let mut under_way = JoinSet::new();
    for number in 0..messages {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let authors = authors.clone();
        under_way.spawn(async move {
            let to = format!("agent{}@{SLOW}0.example", number % 7);
            authors.submit(BULK, &to, &format!("bulk-{number}")).await;
        });
    }
    under_way.join_all().await;
}

/// Single messages of the newcomer, one after the other's time.
async fn probe(authors: &Authors, tally: &Arc<Tally>, name: &str, to: impl Fn(usize) -> String) -> Figures {
    let mut under_way = JoinSet::new();
    for number in 0..PROBES {
        let (authors, tally) = (authors.clone(), Arc::clone(tally));
        let (to, nonce) = (to(number), format!("{name}-{number}"));
        under_way.spawn(async move {
            let begun = Instant::now();
            authors.submit(NEWCOMER, &to, &nonce).await;
            loop {
                match tally.arrival(&nonce) {
                    Some(at) => return at.saturating_duration_since(begun),
                    None if begun.elapsed() > PATIENCE => return PATIENCE,
                    None => sleep(POLL_PAUSE).await,
                }
            }
        });
        sleep(PROBE_PAUSE).await;
    }
    let figures = Figures::of(under_way.join_all().await);
    if millis(figures.max) >= millis(PATIENCE) {
        println!("    {name}: some have not arrived");
    }
    figures
}
