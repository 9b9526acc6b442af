//! `atp demo`: two domains exchange a message on this machine, and a person sees how.
//!
//! 1. `ground` holds what must be gone afterwards: a directory, and the servers that run in it.
//! 2. `pair` makes two domains as in production: keys, certificates of a throw-away authority, records
//!    from `dns-templates/` in a DNS server of our own ([`dns_server`]), two real daemons, an agent each.
//! 3. Each agent writes to the other. What the screen says of a message's way is read off the events the daemons
//!    trace (`tape`, `story`); nothing of it is known beforehand.
//! 4. The ground is cleared, whatever happened.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::dns_records::Templates;
use crate::proto::nonce::Nonce;

mod agent;
mod authority;
pub mod dns_server;
mod error;
mod ground;
mod keep;
mod page;
mod pair;
mod signals;
mod story;
mod tape;

pub use error::DemoError;

use agent::{Agent, Letter};
use ground::Ground;
use page::Page;
use pair::Pair;
use signals::Signals;
use story::Story;
use tape::{Event, Tape};

/// How long a message may take before the demo gives up on it.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long tasks may take to end once everything has been stopped.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(1);

/// What is asked of the demo.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether to leave both servers running until SIGINT or SIGTERM.
    pub keep: bool,
    /// Another directory of DNS templates. `None`: those the program was built with.
    pub templates: Option<PathBuf>,
}

/// Shows the demo on standard output.
///
/// # Errors
/// [`DemoError`], one line; nothing is left behind then either.
pub fn run(options: &Options) -> Result<(), DemoError> {
    let tape = Tape::install()?;
    let runtime = tokio::runtime::Runtime::new().map_err(DemoError::System)?;
    let result = runtime.block_on(perform(options, &tape));
    runtime.shutdown_timeout(RUNTIME_PATIENCE);
    result
}

async fn perform(options: &Options, tape: &Tape) -> Result<(), DemoError> {
    let mut signals = Signals::listen()?;
    let mut page = Page::stdout();
    let mut ground = Ground::new()?;
    let shown = tokio::select! {
        biased;
        () = signals.next() => Err(DemoError::Interrupted),
        shown = show(options, &mut ground, tape, &mut page) => shown,
    };
    let kept = match shown {
        Ok(pair) if options.keep => keep::keep(&pair, tape, &mut page, &mut signals).await,
        shown => shown.map(drop),
    };
    page.progress("stopping");
    let cleared = ground.clear().await;
    page.no_progress();
    kept.and(cleared)
}

/// One message each way, and what to try next.
async fn show(
    options: &Options,
    ground: &mut Ground,
    tape: &Tape,
    page: &mut Page,
) -> Result<Pair, DemoError> {
    let templates = options.templates.as_deref().map(Templates::from_dir).transpose()?.unwrap_or_default();
    page.progress("setting up two domains");
    let pair = Pair::set_up(ground, &templates).await?;
    page.introduce(&pair)?;
    let (north, south) = (&pair.north.agent, &pair.south.agent);

    let letter = Letter::new(north, south, json!({ "subject": "Hello", "body": "Are you there?" }));
    let there = exchange(tape, north, south, &letter).await?;
    page.full(&letter, &there)?;
    there.verdict()?;

    let mut reply = Letter::new(south, north, json!({ "subject": "Re: Hello", "body": "I am." }));
    reply.answers(&letter.nonce);
    let back = exchange(tape, south, north, &reply).await?;
    page.brief("And back", &reply, &back)?;
    back.verdict()?;
    if !options.keep {
        page.what_next()?;
    }
    Ok(pair)
}

/// Sends a letter and follows it until its first attempt has ended; read by the recipient if it arrived.
async fn exchange(tape: &Tape, from: &Agent, to: &Agent, letter: &Letter) -> Result<Story, DemoError> {
    let mark = tape.mark();
    from.send(letter).await?;
    let ended = |event: &Event| event.is_about(&letter.nonce) && event.is_ending();
    let ending = tokio::time::timeout(PATIENCE, tape.wait(mark, ended)).await;
    if ending.is_ok_and(|(_, ending)| ending.name == "transferred") && !to.reads(&letter.nonce).await? {
        return Err(DemoError::Unread(letter.nonce.clone()));
    }
    Ok(Story::of(&letter.nonce, &tape.since(mark)))
}

fn new_nonce() -> Nonce {
    let mut random = [0; 6];
    crate::env::rng::Rng::fill(&crate::env::rng::SystemRng, &mut random);
    Nonce::reference_style(random)
}
