//! What a full store costs: memory, and the time until the first attempt.

use std::fs::File;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::conditions;
use crate::fill;
use crate::options::Options;
use crate::place::{Memory, Place};
use crate::world::World;

/// What may be resident, in MiB.
const ALLOWED_MIB: u64 = 250;
/// How soon the first attempt must come.
const ALLOWED_START: Duration = Duration::from_secs(5);
/// Longest wait for it.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL_PAUSE: Duration = Duration::from_millis(2);
/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Measures and prints.
pub async fn run(options: &Options, world: &World) {
    println!("memory");
    let place = fill::full(options).await;
    world.tally.clear();
    forget_cached(&place);
    let begun = Instant::now();
    let server = place.start(world.dns, &world.authority.file).await;
    while world.tally.first_connection().is_none() && begun.elapsed() < PATIENCE {
        sleep(POLL_PAUSE).await;
    }
    let first = world.tally.first_connection().map(|at| at.duration_since(begun));
    println!("  listening after       {:.2?} (store not in the page cache)", server.until_listening);
    println!("  first attempt after   {first:.2?} (under {ALLOWED_START:?}); load {}", conditions::load());
    print("at the first attempt ", server.memory());
    let started = Instant::now();
    let mut most = server.memory();
    while started.elapsed() < options.seconds {
        sleep(LOOK_EVERY).await;
        let now = server.memory();
        if now.resident > most.resident {
            most = now;
        }
    }
    print("after that time      ", server.memory());
    print("most seen            ", most);
    println!(
        "  peak {} MiB (under {ALLOWED_MIB}); {} attempts in {:.0?}, cpu {:.1?}; load {}\n",
        server.memory().peak >> 10,
        world.tally.transfers(),
        started.elapsed(),
        server.cpu(),
        conditions::load()
    );
    server.stop().await;
}

fn print(when: &str, memory: Memory) {
    let Memory { resident, anonymous, .. } = memory;
    println!("  {when} {} MiB resident, {} MiB of them anonymous", resident >> 10, anonymous >> 10);
}

/// Has the system read the store from the disk again, as after a boot.
fn forget_cached(place: &Place) {
    let file = File::open(place.store().join("db")).expect("the store");
    file.sync_all().expect("the store to be synced");
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).expect("advice to be taken");
}
