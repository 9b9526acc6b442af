//! From events to the way of one message: what happened at which stage, in words.
//!
//! Nothing is told that no event says. The order is that of the stages; within one, that of the events.

use super::error::DemoError;
use super::tape::Event;
use crate::proto::nonce::Nonce;

/// The seven stages, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Submit,
    Spool,
    Discover,
    Sign,
    Transfer,
    Verify,
    Deliver,
    End,
}

impl Stage {
    /// Number and name; the end has neither.
    pub const fn label(self) -> &'static str {
        match self {
            Stage::Submit => "1 submit",
            Stage::Spool => "2 spool",
            Stage::Discover => "3 discover",
            Stage::Sign => "4 sign",
            Stage::Transfer => "5 transfer",
            Stage::Verify => "6 verify",
            Stage::Deliver => "7 deliver",
            Stage::End => "",
        }
    }
}

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Bad,
}

/// One event, told.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub stage: Stage,
    pub server: String,
    pub text: String,
    /// What was answered, where it may want a line of its own. Empty: nothing.
    pub answer: String,
    pub micros: Option<u64>,
    pub tone: Tone,
    /// Whether it stands for its stage where there is one line for each.
    pub sums_up: bool,
}

/// The way of a message.
#[derive(Debug, Clone)]
pub(super) struct Story {
    pub lines: Vec<Line>,
    ending: Option<Event>,
}

impl Story {
    /// Tells of a message what `events` know.
    pub fn of(nonce: &Nonce, events: &[Event]) -> Story {
        let about = |event: &&Event| event.is_about(nonce);
        let sender = events.iter().find(about).map_or("", |event| event.server.as_str());
        let mut lines = Vec::new();
        for (place, event) in events.iter().enumerate() {
            let earlier = events.get(..place).unwrap_or_default();
            if !event.is_about(nonce) && !is_its_reading(event, earlier, nonce) {
                continue;
            }
            let Some(line) = line(event, sender) else { continue };
            lines.extend(sync_before(&line, earlier));
            lines.push(line);
        }
        lines.sort_by_key(|line| line.stage);
        let is_ending = |event: &&Event| about(event) && event.is_ending();
        Story { lines, ending: events.iter().find(is_ending).cloned() }
    }

    /// Whether the message arrived.
    pub fn verdict(&self) -> Result<(), DemoError> {
        match &self.ending {
            None => Err(DemoError::Late),
            Some(event) if event.name == "attempt failed" => {
                Err(DemoError::Refused { code: event.get("code").into(), reason: event.get("reason").into() })
            }
            Some(_) => Ok(()),
        }
    }
}

/// Reading a mailbox is about no message in particular; the first after a delivery there is that of its agent.
fn is_its_reading(event: &Event, earlier: &[Event], nonce: &Nonce) -> bool {
    let delivered = |event: &Event| event.name == "delivered" && event.is_about(nonce);
    let Some(place) = earlier.iter().position(delivered) else { return false };
    let since = earlier.get(place..).unwrap_or_default();
    let by = |one: &Event, field| one.server == event.server && one.get(field) == event.get("agent");
    event.name == "read"
        && since.first().is_some_and(|delivered| by(delivered, "to"))
        && !since.iter().any(|one| one.name == "read" && by(one, "agent"))
}

/// Writes of many messages share one sync, which is therefore about none: the last before a line that says
/// "on disk" is the one.
fn sync_before(line: &Line, earlier: &[Event]) -> Option<Line> {
    if line.stage != Stage::Spool && !(line.stage == Stage::Deliver && line.sums_up) {
        return None;
    }
    let synced = earlier.iter().rev().find(|event| event.name == "synced" && event.server == line.server)?;
    let text = format!("flushed and fdatasynced; writes that share it: {}", synced.get("jobs"));
    Some(Line { sums_up: false, text, ..plain(line.stage, synced) })
}

/// `None`: an event the picture can do without.
fn line(event: &Event, sender: &str) -> Option<Line> {
    if event.name == "dns" {
        let stage = if event.server == sender { Stage::Discover } else { Stage::Verify };
        let text = format!("{} {}", event.get("kind"), event.get("name"));
        return Some(Line {
            text,
            answer: event.get("answer").into(),
            sums_up: false,
            ..plain(stage, event)
        });
    }
    accepting(event).or_else(|| sending(event)).or_else(|| receiving(event)).or_else(|| ending(event))
}

fn accepting(event: &Event) -> Option<Line> {
    let get = |name| event.get(name);
    Some(match event.name.as_str() {
        "authenticated" => {
            let text = format!("{}: the password is right (Argon2id)", get("agent"));
            Line { sums_up: false, text, ..plain(Stage::Submit, event) }
        }
        "submitted" => {
            let text = format!("{} to {}: a {} of the right form", get("from"), get("to"), get("kind"));
            Line { text, ..plain(Stage::Submit, event) }
        }
        "accepted" => {
            let text = "on disk, so 202: from here on it arrives, or bounces".into();
            Line { text, ..plain(Stage::Spool, event) }
        }
        _ => return None,
    })
}

fn sending(event: &Event) -> Option<Line> {
    let get = |name| event.get(name);
    Some(match event.name.as_str() {
        "route" => {
            Line { text: format!("the server is {}", get("targets")), ..plain(Stage::Discover, event) }
        }
        "signed" => {
            let text = format!("Ed25519 ({}), key {}", get("form"), get("key"));
            Line { text, ..plain(Stage::Sign, event) }
        }
        "connected" => {
            let text = format!("{} to {}: {}, ALPN {}", get("tls"), get("host"), get("group"), get("alpn"));
            Line { sums_up: false, text, ..plain(Stage::Transfer, event) }
        }
        "profile" => {
            let text = format!("it speaks {}, up to {} bytes", get("speaks"), get("max_payload_bytes"));
            Line { sums_up: false, text, ..plain(Stage::Transfer, event) }
        }
        "answered" => {
            let text = format!("transfer of the signed message: HTTP {}", get("status"));
            let tone = if get("status") == "202" { Tone::Plain } else { Tone::Bad };
            Line { tone, text, ..plain(Stage::Transfer, event) }
        }
        _ => return None,
    })
}

fn receiving(event: &Event) -> Option<Line> {
    let get = |name| event.get(name);
    Some(match event.name.as_str() {
        "ats" => {
            let (source, domain, verdict) = (get("source"), get("domain"), get("verdict"));
            let text = format!("policy (ATS): may {source} send for {domain}? {verdict}");
            Line { sums_up: false, tone: tone_of(event), text, ..plain(Stage::Verify, event) }
        }
        "atk" => {
            let (domain, verdict) = (get("domain"), get("verdict"));
            let text = format!("key (ATK): does the signature of {domain} hold? {verdict}");
            Line { tone: tone_of(event), text, ..plain(Stage::Verify, event) }
        }
        "delivered" => {
            let text = format!("in the mailbox of {}, on disk, cursor {}", get("to"), get("cursor"));
            Line { tone: Tone::Good, text, ..plain(Stage::Deliver, event) }
        }
        "read" => {
            let text = format!("{} reads its mailbox: {} in it", get("agent"), get("messages"));
            Line { sums_up: false, text, ..plain(Stage::Deliver, event) }
        }
        _ => return None,
    })
}

fn ending(event: &Event) -> Option<Line> {
    let get = |name| event.get(name);
    let attempt = get("attempt");
    Some(match event.name.as_str() {
        "transferred" => {
            let text =
                format!("done in attempt {attempt}, from the first question to DNS to the last answer");
            Line { text, ..plain(Stage::End, event) }
        }
        "attempt failed" => {
            let text = format!("attempt {attempt} failed: {} {}", get("code"), get("reason"));
            Line { tone: Tone::Bad, text, ..plain(Stage::End, event) }
        }
        _ => return None,
    })
}

fn tone_of(event: &Event) -> Tone {
    if matches!(event.get("verdict"), "pass" | "neutral") { Tone::Good } else { Tone::Bad }
}

fn plain(stage: Stage, event: &Event) -> Line {
    Line {
        stage,
        server: event.server.clone(),
        text: String::new(),
        answer: String::new(),
        micros: event.micros(),
        tone: Tone::Plain,
        sums_up: true,
    }
}
