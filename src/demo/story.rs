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
    let get = |name| event.get(name);
    let at_sender = event.server == sender;
    let told = |stage, text: String| Line { text, ..plain(stage, event) };
    Some(match event.name.as_str() {
        "authenticated" => Line {
            sums_up: false,
            ..told(Stage::Submit, format!("{}: the password is right (Argon2id)", get("agent")))
        },
        "submitted" => told(
            Stage::Submit,
            format!("{} to {}: a {} of the right form", get("from"), get("to"), get("kind")),
        ),
        "accepted" => told(Stage::Spool, "on disk, so 202: from here on it arrives, or bounces".into()),
        "dns" => {
            let stage = if at_sender { Stage::Discover } else { Stage::Verify };
            let text = format!("{} {}", get("kind"), get("name"));
            Line { answer: get("answer").into(), sums_up: false, ..told(stage, text) }
        }
        "route" => told(Stage::Discover, format!("the server is {}", get("targets"))),
        "signed" => told(Stage::Sign, format!("Ed25519 ({}), key {}", get("form"), get("key"))),
        "connected" => {
            let text = format!("{} to {}: {}, ALPN {}", get("tls"), get("host"), get("group"), get("alpn"));
            Line { sums_up: false, ..told(Stage::Transfer, text) }
        }
        "profile" => {
            let text = format!("it speaks {}, up to {} bytes", get("speaks"), get("max_payload_bytes"));
            Line { sums_up: false, ..told(Stage::Transfer, text) }
        }
        "answered" => {
            let tone = if get("status") == "202" { Tone::Plain } else { Tone::Bad };
            Line {
                tone,
                ..told(Stage::Transfer, format!("transfer of the signed message: HTTP {}", get("status")))
            }
        }
        "ats" => {
            let text =
                format!("policy (ATS): may {} send for {}? {}", get("source"), get("domain"), get("verdict"));
            Line { sums_up: false, tone: tone_of(event), ..told(Stage::Verify, text) }
        }
        "atk" => {
            let text = format!("key (ATK): does the signature of {} hold? {}", get("domain"), get("verdict"));
            Line { tone: tone_of(event), ..told(Stage::Verify, text) }
        }
        "delivered" => {
            let text = format!("in the mailbox of {}, on disk, cursor {}", get("to"), get("cursor"));
            Line { tone: Tone::Good, ..told(Stage::Deliver, text) }
        }
        "read" => {
            let text = format!("{} reads its mailbox: {} in it", get("agent"), get("messages"));
            Line { sums_up: false, ..told(Stage::Deliver, text) }
        }
        "transferred" => {
            let text = format!(
                "done in attempt {}, from the first question to DNS to the last answer",
                get("attempt")
            );
            told(Stage::End, text)
        }
        "attempt failed" => {
            let text = format!("attempt {} failed: {} {}", get("attempt"), get("code"), get("reason"));
            Line { tone: Tone::Bad, ..told(Stage::End, text) }
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
