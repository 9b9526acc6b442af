//! `--keep`: the servers stay for a person to play with.

use std::path::Path;

use super::error::DemoError;
use super::page::Page;
use super::pair::{Pair, Site};
use super::signals::Signals;
use super::story::Story;
use super::tape::{Event, Tape};
use crate::proto::nonce::Nonce;

/// Prints commands to try, then tells of every message until a signal comes.
pub(super) async fn keep(
    pair: &Pair,
    tape: &Tape,
    page: &mut Page,
    signals: &mut Signals,
) -> Result<(), DemoError> {
    page.line("")?;
    page.line(
        &page.bold("Both servers stay until Ctrl-C. Try these in another terminal; what happens shows here."),
    )?;
    page.line("")?;
    for command in commands(pair) {
        page.line(&command)?;
    }
    page.line("")?;
    tokio::select! {
        biased;
        () = signals.next() => Ok(()),
        failed = follow(tape, page) => failed,
    }
}

/// Tells of each attempt when it has ended.
async fn follow(tape: &Tape, page: &Page) -> Result<(), DemoError> {
    let start = tape.mark();
    let mut told = start;
    loop {
        let (place, event) = tape.wait(told, Event::is_ending).await;
        if let Some(nonce) = event.nonce() {
            let events = tape.since(start);
            page.line(&page.bold(&format!("nonce {nonce}")))?;
            page.summary(&Story::of(&nonce, last_attempt(&events, &nonce)))?;
            page.line("")?;
        }
        told = place;
    }
}

/// What came after the attempt before the last.
fn last_attempt<'a>(events: &'a [Event], nonce: &Nonce) -> &'a [Event] {
    let ends = |(_, event): &(usize, &Event)| event.is_about(nonce) && event.is_ending();
    let before = events.iter().enumerate().filter(ends).rev().nth(1);
    before.and_then(|(place, _)| events.get(place + 1..)).unwrap_or(events)
}

/// Each in two lines: what it does, and where.
fn commands(pair: &Pair) -> Vec<String> {
    let (north, south) = (&pair.north, &pair.south);
    let at = |site: &Site| format!("--server {} --ca {}", site.address, quoted(&pair.ca));
    let mut commands = Vec::new();
    for (from, to) in [(north, south), (south, north)] {
        let (sender, recipient) = (&from.agent.address, &to.agent.address);
        let (theirs, password) = (from.agent.password.expose(), to.agent.password.expose());
        commands.push((format!("send {recipient} --from {sender} -P {theirs} -b 'Hello again'"), at(from)));
        commands.push((format!("recv --agent-id {recipient} -P {password}"), at(to)));
    }
    commands.push(("agent register cyd -p secret".to_owned(), at(north)));
    commands.push((format!("status --admin-token {}", north.admin_token.expose()), at(north)));
    let (domain, port) = (&north.domain, north.address.port());
    let (ca, home) = (quoted(&pair.ca), quoted(&pair.home));
    let records = format!("--dns-server {} --ca {ca} --state-dir {home}", pair.dns);
    commands.push((format!("dns check --domain {domain} --port {port}"), records));
    let program = program();
    commands.iter().map(|(what, place)| format!("  {program} {what} \\\n      {place}")).collect()
}

/// How this program can be called again from here.
pub(super) fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "atp".into() };
    let here = std::env::current_dir().ok();
    let relative =
        here.and_then(|here| program.strip_prefix(here).map(|path| Path::new(".").join(path)).ok());
    quoted(&relative.unwrap_or(program))
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_words_of_a_shell() {
        for (path, want) in [("/tmp/a-b.c/d", "/tmp/a-b.c/d"), ("/a b", "'/a b'"), ("/it's", r"'/it'\''s'")] {
            assert_eq!(quoted(Path::new(path)), want);
        }
    }
}
