//! What the queue costs under strain, as ratios and bounds measured side by side in one run: dead destinations
//! beside healthy ones, the memory of a full store, the acceptance of new mail into one. `docs/benchmarks.md` says
//! how to run it and what it showed. Nothing is asserted about time.
//!
//! The sending server is the program itself as a child process; its peers, its DNS and its authors are here.

mod accept;
mod authority;
mod conditions;
mod figures;
mod fill;
mod isolation;
mod load;
mod memory;
mod message;
mod names;
mod options;
mod place;
mod sink;
mod world;

use std::fs::{self, File};
use std::process::ExitCode;

use options::{Options, USAGE};
use world::World;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            eprintln!("{wrong}\n\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    fs::create_dir_all(&options.store).expect("a directory for stores");
    let lock = File::create(options.store.join("lock")).expect("a lock");
    if lock.try_lock().is_err() {
        eprintln!("another run uses {}; wait for it, or give another --store", options.store.display());
        return ExitCode::FAILURE;
    }
    conditions::print(&options.store);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&options));
    runtime.shutdown_background();
    ExitCode::SUCCESS
}

async fn measure(options: &Options) {
    // On the file system of the full stores, so that all are written alike.
    let directory = options.store.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory for this run");
    let world = World::start(&directory).await;
    if options.isolation {
        isolation::run(options, &world, &directory).await;
    }
    if options.memory {
        memory::run(options, &world).await;
    }
    if options.accept {
        accept::run(options, &world, &directory).await;
    }
    // What is left is of no use to anybody.
    let _ = fs::remove_dir_all(&directory);
}
