//! What must hold when all is mended and every message has come to its end, whatever went wrong before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use atp::spool::keys;
use serde_json::{Value, json};

use crate::clients::writer::{self, Fate};
use crate::log::Log;
use crate::plan::{Letter, Plan};
use crate::site::Site;

/// What there is to be seen in the end.
pub struct Ends {
    /// What the client of each letter knows.
    pub fates: Vec<Fate>,
    /// The cursors in each agent's mailbox now.
    pub there: BTreeMap<String, BTreeSet<u64>>,
    /// Everything each agent was ever shown, and when it was shown first.
    pub seen: BTreeMap<String, BTreeMap<u64, (Duration, Value)>>,
    /// What `me/sent` tells of each letter that was accepted. `None`: it is too late to ask.
    pub sent: Option<BTreeMap<usize, Value>>,
}

/// How much of what there was.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub letters: usize,
    pub accepted: usize,
    pub delivered: usize,
    pub bounced: usize,
    /// Both, as far as the bounce says that this may be.
    pub both: usize,
    pub notices: usize,
    pub receipts: usize,
}

impl Counts {
    pub fn add(&mut self, other: Counts) {
        self.letters += other.letters;
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.bounced += other.bounced;
        self.both += other.both;
        self.notices += other.notices;
        self.receipts += other.receipts;
    }
}

/// What was found of a letter at one recipient's.
#[derive(Debug, Default)]
struct Found {
    copies: usize,
    /// The reasons that the bounces give.
    bounces: Vec<String>,
    notices: usize,
}

type Finds = BTreeMap<(usize, String), Found>;

/// The code of a message that was tried for as long as allowed.
const EXPIRED: &str = "550 5.4.7";
/// What its bounce says of a message that the recipient's server would take for too old, by the sender's clock.
const TOO_OLD: &str = "became too old";
/// What a sender's bounce says of a message that an attempt without an answer may have delivered.
const MAY_BE: &str = "may have";

/// Checks everything that holds of messages.
pub fn hold(plan: &Plan, log: &Log, ends: &Ends) -> Counts {
    let by_name: BTreeMap<_, _> =
        plan.letters.iter().enumerate().map(|(number, letter)| (name(letter), number)).collect();
    let mut finds = Finds::new();
    for (agent, messages) in &ends.seen {
        let Some(there) = ends.there.get(agent) else { continue };
        for (cursor, (at, message)) in messages {
            if !there.contains(cursor) {
                log.broken("what was shown stays", &format!("{agent} at {cursor}: {message}"));
            }
            let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
            let home = agent.split_once('@').map_or("", |(_, domain)| domain);
            if text("from") == format!("postmaster@{home}") {
                notice(plan, log, &by_name, agent, (*at, message), &mut finds);
                continue;
            }
            match by_name.get(&(text("from"), text("nonce"))) {
                Some(number) if is_copy(&plan.letters[*number], message) => {
                    finds.entry((*number, agent.clone())).or_default().copies += 1;
                }
                _ => log.broken("nothing is in a mailbox that nobody sent", &format!("{agent}: {message}")),
            }
        }
    }
    let mut counts = Counts { letters: plan.letters.len(), ..Counts::default() };
    for (number, letter) in plan.letters.iter().enumerate() {
        if ends.fates[number] == Fate::Accepted {
            counts.accepted += 1;
        }
        fate(plan, log, (number, letter), ends, &finds, &mut counts);
    }
    for ((number, agent), found) in &finds {
        if !plan.letters[*number].to.contains(agent) {
            let what = format!("{agent} has {:?}: {found:?}", name(&plan.letters[*number]));
            log.broken("a message is in the right mailboxes only", &what);
        }
    }
    log.say("world", format_args!("{counts:?}"));
    counts
}

/// A bounce or a notice, of a letter of the agent's.
fn notice(
    plan: &Plan,
    log: &Log,
    by_name: &BTreeMap<(String, String), usize>,
    agent: &str,
    (at, message): (Duration, &Value),
    finds: &mut Finds,
) {
    let payload = &message["payload"];
    let nonce = payload["original_nonce"].as_str().unwrap_or_default();
    let recipient = payload["status"]["recipient"].as_str().unwrap_or_default();
    let known = by_name.get(&(agent.to_owned(), nonce.to_owned()));
    let Some(number) = known.filter(|number| plan.letters[**number].to.iter().any(|to| to == recipient))
    else {
        log.broken("bounces are of what was sent", &format!("{agent}: {message}"));
        return;
    };
    let found = finds.entry((*number, recipient.to_owned())).or_default();
    if payload["subject"].as_str().is_some_and(|subject| subject.starts_with("Delayed")) {
        found.notices += 1;
    } else {
        let early = at < plan.letters[*number].at + plan.terms.give_up_after;
        let reason = payload["status"]["reason"].as_str().unwrap_or_default();
        if payload["status"]["error_code"] == EXPIRED && early && !reason.contains(TOO_OLD) {
            log.broken(
                "a message is tried for as long as it says",
                &format!("{agent} after {at:?}: {message}"),
            );
        }
        found.bounces.push(payload["status"]["reason"].as_str().unwrap_or_default().to_owned());
    }
}

/// Whether a letter has ended as it must, at each of its recipients.
fn fate(
    plan: &Plan,
    log: &Log,
    (number, letter): (usize, &Letter),
    ends: &Ends,
    finds: &Finds,
    counts: &mut Counts,
) {
    let none = Found::default();
    let told = ends.sent.as_ref().and_then(|sent| sent.get(&number));
    let home = plan.site_of(&letter.from);
    for recipient in letter.to.iter().collect::<BTreeSet<_>>() {
        let found = finds.get(&(number, recipient.clone())).unwrap_or(&none);
        let (copies, bounces) = (found.copies, found.bounces.len());
        counts.delivered += copies;
        counts.bounced += bounces;
        counts.notices += found.notices;
        let seen = || {
            let fate = ends.fates[number];
            format!("{:?} to {recipient} ({fate:?}): {found:?}; sent: {:?}", name(letter), told)
        };
        let check = |holds: bool, invariant: &str| {
            if !holds {
                log.broken(invariant, &seen());
            }
        };
        check(copies <= 1, "a message is delivered once");
        check(bounces <= 1, "a message is returned once");
        check(found.notices <= 1, "a sender is told once that a message is late");
        check(copies == 0 || plan.exists(recipient), "a message is in the right mailboxes only");
        let may_be = found.bounces.iter().all(|reason| reason.contains(MAY_BE));
        check(
            copies + bounces < 2 || may_be,
            "what was delivered is returned only if that says that it may have been",
        );
        counts.both += usize::from(copies + bounces == 2);
        match ends.fates[number] {
            Fate::Accepted => {
                check(copies + bounces >= 1, "what was accepted is delivered or returned");
                let is_ours = plan.site_of(recipient) == home;
                check(
                    !is_ours || bounces == usize::from(!plan.exists(recipient)),
                    "own agents get their mail",
                );
                let said = told.map(|sent| said_of(sent, recipient));
                counts.receipts += usize::from(said.as_ref().is_some_and(|said| said.1));
                let agrees = match said.as_ref().map(|said| said.0.as_str()) {
                    Some("delivered" | "delivered (inferred)" | "acknowledged") => copies == 1,
                    Some("bounced") => bounces == 1,
                    _ => ends.sent.is_none(),
                };
                check(agrees, "a sender is told what became of a message");
                let asked = !letter.receipts.is_empty();
                check(asked || !said.is_some_and(|said| said.1), "receipts are for those who asked");
            }
            Fate::Refused => check(copies + bounces + found.notices == 0, "what was refused is nowhere"),
            Fate::Unknown => {}
        }
    }
}

/// The state of a recipient's copy, and whether there is a receipt.
fn said_of(sent: &Value, recipient: &str) -> (String, bool) {
    let recipients = sent["recipients"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_it = recipients.iter().find(|of| of["address"] == recipient);
    let state = of_it.and_then(|of| of["state"].as_str()).unwrap_or_default();
    (state.to_owned(), of_it.is_some_and(|of| !of["receipt"].is_null()))
}

fn name(letter: &Letter) -> (String, String) {
    (letter.from.clone(), letter.nonce.clone())
}

/// Whether a message is what the letter says, but for the time of writing.
fn is_copy(letter: &Letter, message: &Value) -> bool {
    let without_time = |mut message: Value| {
        message["timestamp"] = json!(null);
        if let Some(object) = message.as_object_mut() {
            object.remove("signature");
        }
        message
    };
    without_time(writer::content(letter, 0)) == without_time(message.clone())
}

/// Records that belong to what lasts: accounts, mailboxes, and what a store knows of itself.
const LASTING: [&[u8]; 8] = [
    keys::SCHEMA,
    keys::NUMBERS,
    keys::ACCOUNTS,
    keys::RUNNING,
    keys::RUNNING_MARKS,
    keys::OF_MAILBOX,
    keys::DOMAIN_OF_MAILBOX,
    keys::TRIAL,
];

/// Whether everything has gone that is kept for a time.
pub fn nothing_is_left(sites: &[Arc<Site>], log: &Log) {
    for site in sites {
        let mut kinds = site.disk().kinds();
        kinds.retain(|kind, _| !LASTING.contains(&&[*kind][..]));
        if !kinds.is_empty() {
            let shown: BTreeMap<_, _> =
                kinds.iter().map(|(kind, count)| (char::from(*kind), count)).collect();
            log.broken("what is kept for a time is gone after it", &format!("s{}: {shown:?}", site.number));
        }
    }
}
