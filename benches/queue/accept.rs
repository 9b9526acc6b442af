//! Submissions a second: at an empty store, and at a full one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::conditions;
use crate::figures::{Figures, median, millis};
use crate::fill;
use crate::load::{self, Author};
use crate::options::Options;
use crate::place::Place;
use crate::world::{HEALTHY, REFUSED, World};

/// Connections, each with one submission at a time.
const CONNECTIONS: usize = 64;
/// Destinations that take what they get.
const SINKS: usize = 100;
/// What a full store may leave of the rate.
const REQUIRED: f64 = 0.8;
/// Messages that show a destination to be dead, and the time that takes.
const TO_SUSPEND: usize = 32;
const SUSPENDED_AFTER: Duration = Duration::from_secs(2);
/// Longest wait until the destinations that work have everything.
const DRAINED_AFTER: Duration = Duration::from_secs(20);
/// Retries after which the server has met every destination of the full store.
const RETRIES_BEFORE: u64 = 4 * fill::DESTINATIONS as u64;
const POLL_PAUSE: Duration = Duration::from_millis(20);

/// Where to submit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    /// To one destination that is suspended: the queue grows.
    Suspended,
    /// To many that take it.
    Taken,
}

const LOADS: [(Load, &str); 2] =
    [(Load::Suspended, "to a suspended destination"), (Load::Taken, "to destinations that take it")];

/// Measures and prints.
pub async fn run(options: &Options, world: &World, directory: &Path) {
    println!("accept");
    let full = fill::full(options).await;
    let mut rates: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..options.rounds {
        let empty = Place::at(directory.join("accept"));
        empty.clear();
        for (store, (place, name)) in [(&empty, "empty"), (&full, "full ")].into_iter().enumerate() {
            let rates_of_store = one(options, world, place, &format!("round {round} {name}")).await;
            for (load, rate) in rates_of_store.into_iter().enumerate() {
                rates[load][store].push(rate);
            }
        }
    }
    for ((_, name), [empty, full]) in LOADS.iter().zip(rates) {
        let (empty, full) = (median(empty), median(full));
        println!("  {name}: full / empty = {:.2} (at least {REQUIRED})", full / empty.max(1.0));
    }
    println!();
}

/// Both loads on one server. Submissions a second of each.
async fn one(options: &Options, world: &World, place: &Place, name: &str) -> Vec<f64> {
    world.tally.clear();
    let server = place.start(world.dns, &world.authority.file).await;
    load::register(server.address).await;
    let mut authors = Vec::new();
    for number in 0..CONNECTIONS {
        authors.push(Author::connect(server.address, number).await);
    }
    if place.is_full() {
        warmed_up(world, options.seconds).await;
    }
    // Numbers that no run before has used in this store.
    let run = std::process::id();
    let unique = format!("{run}-{}", name.replace(' ', "-"));
    for number in 0..TO_SUSPEND {
        authors[number % CONNECTIONS]
            .submit(&to(Load::Suspended, number), &format!("first-{unique}-{number}"))
            .await;
    }
    sleep(SUSPENDED_AFTER).await;
    let mut rates = Vec::new();
    for (load, words) in LOADS {
        let (cpu, other) = (server.cpu(), world.tally.refused());
        let (back, took, answered) = submit(authors, load, options.seconds / 6, &unique).await;
        authors = back;
        let rate = answered.count as f64 / took.as_secs_f64();
        let cpu = (server.cpu() - cpu).as_secs_f64() * 1e6 / answered.count.max(1) as f64;
        let retries = (world.tally.refused() - other) as f64 / took.as_secs_f64();
        println!(
            "  {name} {words:<29} {rate:>7.0}/s, cpu of the server {cpu:>4.0} µs each, {retries:>4.0} retries/s, {answered}"
        );
        rates.push(rate);
        drained(world, load, answered.count).await;
    }
    let memory = server.memory();
    println!(
        "  {name} resident {} MiB, peak {} MiB; load {}",
        memory.resident >> 10,
        memory.peak >> 10,
        conditions::load()
    );
    // The full store is used again, and must not be fuller then.
    place.cancel(&to(Load::Suspended, 0)).await;
    server.stop().await;
    rates
}

fn to(load: Load, number: usize) -> String {
    match load {
        Load::Suspended => format!("agent{}@{REFUSED}0.example", number % 7),
        Load::Taken => format!("agent@{HEALTHY}{}.example", number % SINKS),
    }
}

/// Every author submits one message after the other for so long.
async fn submit(
    authors: Vec<Author>,
    load: Load,
    time: Duration,
    unique: &str,
) -> (Vec<Author>, Duration, Figures) {
    let begun = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut under_way = JoinSet::new();
    for mut author in authors {
        let (next, unique) = (Arc::clone(&next), unique.to_owned());
        under_way.spawn(async move {
            let mut answered = Vec::new();
            while begun.elapsed() < time {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let started = Instant::now();
                author.submit(&to(load, number), &format!("{load:?}-{unique}-{number}")).await;
                answered.push(started.elapsed());
            }
            (author, answered)
        });
    }
    let (mut back, mut all) = (Vec::new(), Vec::new());
    for (author, answered) in under_way.join_all().await {
        back.push(author);
        all.extend(answered);
    }
    (back, begun.elapsed(), Figures::of(all))
}

/// So that the server is as one that has been running: with connections to those it retries.
async fn warmed_up(world: &World, longest: Duration) {
    let begun = Instant::now();
    while world.tally.refused() < RETRIES_BEFORE && begun.elapsed() < longest {
        sleep(POLL_PAUSE).await;
    }
}

/// So that what was submitted does not weigh on what is measured next.
async fn drained(world: &World, load: Load, submitted: usize) {
    let begun = Instant::now();
    while load == Load::Taken && world.tally.taken() < submitted {
        if begun.elapsed() > DRAINED_AFTER {
            println!(
                "  {} of {submitted} have arrived after {:.0} ms more",
                world.tally.taken(),
                millis(begun.elapsed())
            );
            return;
        }
        sleep(POLL_PAUSE).await;
    }
}
