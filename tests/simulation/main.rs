//! Whole networks of domains in one process: real code of the daemon over a network, clocks, disks, DNS and dice that
//! follow from one seed, with everything that can go wrong going wrong. When all is mended, every message that was
//! accepted must be in exactly the right mailboxes once, or have come back, and nothing else may be there.
//!
//! The same seed is the same world, event by event. CONTRIBUTING.md, "Simulate", says how to run and replay one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::invariants::Counts;
use crate::plan::{Plan, Size};
use crate::world::Outcome;

mod clients;
mod clock;
mod dice;
mod disk;
mod invariants;
mod log;
mod mutants;
mod names;
mod net;
mod plan;
mod site;
mod world;

/// Seeds of a plain `cargo test`, each of which is run twice.
const SEEDS: u64 = 20;
/// Domains of a world, and messages written in it.
const SIZE: Size = Size { domains: (3, 12), messages: (10, 200) };
/// After how many worlds something is said.
const PROGRESS_EVERY: usize = 50;
/// Of a world that does not hold, how much is shown.
const SHOWN: usize = 8;

/// What is to be run, as environment variables say.
struct Orders {
    /// `ATP_SIM_FROM`: the first seed.
    first: u64,
    /// `ATP_SIM_SEEDS`: how many, each once.
    seeds: u64,
    twice: bool,
    /// `ATP_SIM_SEED`: this one, and everything that happens is printed; with `ATP_SIM_LOG`, a filter such as `debug`,
    /// what the servers log as well.
    told: bool,
    /// `ATP_SIM_DOMAINS`, `ATP_SIM_MESSAGES`: exactly so many.
    size: Size,
    /// `ATP_SIM_ALL`: the first world that does not hold is not the last.
    all: bool,
}

impl Orders {
    fn from_environment() -> Orders {
        let exactly = |name, usual| number(name).map_or(usual, |number| (number as usize, number as usize));
        let size = Size {
            domains: exactly("ATP_SIM_DOMAINS", SIZE.domains),
            messages: exactly("ATP_SIM_MESSAGES", SIZE.messages),
        };
        let (one, seeds) = (number("ATP_SIM_SEED"), number("ATP_SIM_SEEDS"));
        Orders {
            first: one.or(number("ATP_SIM_FROM")).unwrap_or(1),
            seeds: one.map_or(seeds.unwrap_or(SEEDS), |_| 1),
            twice: one.is_none() && seeds.is_none(),
            told: one.is_some(),
            size,
            all: number("ATP_SIM_ALL").is_some(),
        }
    }

    /// How a world is played again.
    fn replay(&self, seed: u64) -> String {
        let mut command = format!("ATP_SIM_SEED={seed} cargo test --test simulation -- --nocapture");
        for name in ["ATP_SIM_DOMAINS", "ATP_SIM_MESSAGES"] {
            if let Some(number) = number(name) {
                command.insert_str(0, &format!("{name}={number} "));
            }
        }
        command
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")))
}

/// What all worlds together have come to.
#[derive(Default)]
struct Sum {
    counts: Counts,
    events: u64,
    failed: Vec<u64>,
}

#[test]
fn every_world_holds_and_is_the_same_again() {
    let orders = Orders::from_environment();
    let begun = tokio::time::Instant::now();
    let (next, done) = (AtomicU64::new(orders.first), AtomicUsize::new(0));
    let sum = Mutex::new(Sum::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let play = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let stop = !orders.all && !sum.lock().unwrap().failed.is_empty();
            if seed >= orders.first + orders.seeds || stop {
                return;
            }
            one(&orders, seed, &sum);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(PROGRESS_EVERY) {
                println!("{done} worlds, {:.0} s", begun.elapsed().as_secs_f64());
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(play)));
    let Sum { counts, events, mut failed } = sum.into_inner().unwrap();
    failed.sort_unstable();
    println!(
        "{} worlds, {events} events, {counts:?}, {:.1} s",
        done.into_inner(),
        begun.elapsed().as_secs_f64()
    );
    assert!(failed.is_empty(), "these worlds do not hold: {failed:?}");
}

/// Plays one world, or one twice.
fn one(orders: &Orders, seed: u64, sum: &Mutex<Sum>) {
    let run = || {
        let plan = Plan::draw(seed, orders.size);
        let _logging = servers_log(orders.told);
        std::panic::catch_unwind(|| world::run(plan, orders.told))
    };
    let outcome = run();
    let again = if orders.twice { Some(run()) } else { None };
    let mut sum = sum.lock().unwrap();
    let Ok(outcome) = outcome else {
        println!("seed {seed} panicked; again: {}", orders.replay(seed));
        sum.failed.push(seed);
        return;
    };
    sum.counts.add(outcome.counts);
    sum.events += outcome.events;
    if orders.twice || orders.told {
        println!("seed {seed}: {} events, {}", outcome.events, outcome.hash);
    }
    let differs = again.is_some_and(|again| again.is_ok_and(|again| again.hash != outcome.hash));
    if !outcome.broken.is_empty() || differs {
        tell(orders, &outcome, differs);
        sum.failed.push(seed);
    }
}

/// Has what the servers log printed between what happens.
fn servers_log(told: bool) -> Option<tracing::subscriber::DefaultGuard> {
    let filter = std::env::var("ATP_SIM_LOG").ok().filter(|_| told)?;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stdout);
    Some(tracing::subscriber::set_default(subscriber.finish()))
}

fn tell(orders: &Orders, outcome: &Outcome, differs: bool) {
    let seed = outcome.seed;
    if differs {
        println!("seed {seed} is another world when it is run again");
    }
    for (invariant, what) in outcome.broken.iter().take(SHOWN) {
        println!("seed {seed}: {invariant}\n    {what}");
    }
    if outcome.broken.len() > SHOWN {
        println!("seed {seed}: and {} more", outcome.broken.len() - SHOWN);
    }
    println!("the last events of seed {seed}:\n{}", outcome.tail.join("\n"));
    println!("again: {}", orders.replay(seed));
}
