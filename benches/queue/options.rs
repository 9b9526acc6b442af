//! What is measured, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

/// What the command line may say.
pub const USAGE: &str = "\
cargo bench --bench queue -- [isolation] [memory] [accept] [options]   (all three unless named)
  --smoke            a few seconds of everything, to see that it works; its figures mean nothing
  --rounds N         how often isolation and accept are measured [2]
  --store DIR        keeps filled stores there for the next run [target/bench-queue]
  --destinations N   isolation: destinations, a tenth of them dead [1000]
  --messages N       isolation: messages for each in each of two phases [20]
  --rate N           isolation: messages a second to the healthy ones [300]
  --backlog N        isolation: rows before a slow destination [20000]
  --rows N           memory, accept: rows in the full store [1000000]
  --identities N     memory, accept: remembered identities in it; needs --features testing [0]
  --seconds N        memory: how long it runs; accept: a sixth of that for each load [60]";

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Options {
    pub isolation: bool,
    pub memory: bool,
    pub accept: bool,
    pub smoke: bool,
    pub rounds: usize,
    pub store: PathBuf,
    pub destinations: usize,
    pub messages: usize,
    pub rate: usize,
    pub backlog: usize,
    pub rows: usize,
    pub identities: usize,
    pub seconds: Duration,
}

impl Options {
    /// Reads the command line. `Err`: what is wrong with it.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::full();
        // Cargo says that this is a benchmark.
        let all: Vec<String> = arguments.filter(|argument| argument != "--bench").collect();
        if all.iter().any(|argument| argument == "--smoke") {
            options.shrink();
        }
        let mut arguments = all.into_iter();
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().unwrap_or_default().replace('_', "");
                value.parse::<usize>().map_err(|_| format!("{argument} takes a number, not {value:?}"))
            };
            match argument.as_str() {
                "isolation" => options.isolation = true,
                "memory" => options.memory = true,
                "accept" => options.accept = true,
                "--smoke" => {}
                "--rounds" => options.rounds = number()?,
                "--destinations" => options.destinations = number()?,
                "--messages" => options.messages = number()?,
                "--rate" => options.rate = number()?.max(1),
                "--backlog" => options.backlog = number()?,
                "--rows" => options.rows = number()?,
                "--identities" => options.identities = number()?,
                "--seconds" => options.seconds = Duration::from_secs(number()? as u64),
                "--store" => options.store = arguments.next().ok_or("--store takes a directory")?.into(),
                other => return Err(format!("{other:?} is not understood")),
            }
        }
        if !(options.isolation || options.memory || options.accept) {
            (options.isolation, options.memory, options.accept) = (true, true, true);
        }
        Ok(options)
    }

    fn full() -> Options {
        Options {
            isolation: false,
            memory: false,
            accept: false,
            smoke: false,
            rounds: 2,
            store: PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-queue"),
            destinations: 1000,
            messages: 20,
            rate: 300,
            backlog: 20_000,
            rows: 1_000_000,
            identities: 0,
            seconds: Duration::from_secs(60),
        }
    }

    fn shrink(&mut self) {
        (self.smoke, self.rounds, self.seconds) = (true, 1, Duration::from_secs(3));
        (self.destinations, self.messages, self.rate, self.backlog) = (20, 2, 50, 200);
        (self.rows, self.identities) = (2000, 0);
    }
}
