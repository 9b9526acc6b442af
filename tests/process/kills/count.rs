//! The count: what mailboxes and queues hold, beside what was acknowledged.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::messages::{Planned, number_of};

/// Most findings that are shown.
const MAX_SHOWN: usize = 20;

/// How often each copy of each message was found.
pub struct Count {
    planned: Vec<Planned>,
    /// By number of the message and place of the recipient.
    found: HashMap<(usize, usize), Found>,
    wrong: Wrong,
}

#[derive(Default, Clone, Copy)]
struct Found {
    delivered: usize,
    bounced: usize,
}

/// What must not be.
#[derive(Default)]
pub struct Wrong {
    all: usize,
    /// The first of them, and the nonce they are about.
    shown: Vec<(String, String)>,
}

/// Copies, one for each recipient of each acknowledged message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub copies: usize,
    pub delivered: usize,
    pub bounced: usize,
    pub queued: usize,
}

impl Count {
    /// Nothing found yet of these messages, all acknowledged, in order of their numbers.
    pub fn new(planned: Vec<Planned>) -> Count {
        Count { planned, found: HashMap::new(), wrong: Wrong::default() }
    }

    /// Takes note of what lies in an agent's mailbox.
    pub fn add(&mut self, owner: &str, message: &Value) {
        let payload = &message["payload"];
        let original = &payload["original_nonce"];
        let is_bounce = message["from"].as_str().is_some_and(|from| from.starts_with("postmaster@"));
        let nonce = if is_bounce { original } else { &message["nonce"] }.as_str().unwrap_or_default();
        let recipient = if is_bounce { payload["status"]["recipient"].as_str() } else { Some(owner) };
        let Some(planned) = number_of(nonce).and_then(|number| self.planned.get(number)) else {
            return self
                .wrong
                .note(nonce, format!("was never sent, and is in the mailbox of {owner}: {message}"));
        };
        let place = planned.recipients.iter().position(|other| Some(other.address.as_str()) == recipient);
        let Some(place) = place else {
            return self.wrong.note(nonce, format!("is in the mailbox of {owner}, who is no recipient"));
        };
        if is_bounce && planned.from != owner {
            self.wrong.note(nonce, format!("came back to {owner}, who has not sent it"));
        }
        if !is_bounce && !planned.is(message) {
            self.wrong.note(nonce, format!("is not what was sent to {owner}: {message}"));
        }
        let found = self.found.entry((planned.number, place)).or_default();
        *(if is_bounce { &mut found.bounced } else { &mut found.delivered }) += 1;
    }

    /// Every copy is to be found exactly once: in its mailbox, or as a bounce if there is no such agent, or in
    /// the queue, which `is_queued` looks at.
    pub fn close(mut self, mut is_queued: impl FnMut(&Planned, &str) -> bool) -> (Totals, Wrong) {
        let mut totals = Totals::default();
        for planned in &self.planned {
            for (place, recipient) in planned.recipients.iter().enumerate() {
                totals.copies += 1;
                let found = self.found.get(&(planned.number, place)).copied().unwrap_or_default();
                let (to, exists) = (&recipient.address, recipient.exists);
                match (found.delivered, found.bounced) {
                    (1, 0) if exists => totals.delivered += 1,
                    (0, 1) if !exists => totals.bounced += 1,
                    (0, 0) if is_queued(planned, to) => totals.queued += 1,
                    (0, 0) => self.wrong.note(&planned.nonce(), format!("is lost on its way to {to}")),
                    (delivered, bounced) => {
                        let text = format!("to {to} was delivered {delivered} and bounced {bounced} times");
                        self.wrong.note(&planned.nonce(), text);
                    }
                }
            }
        }
        (totals, self.wrong)
    }
}

impl Wrong {
    fn note(&mut self, nonce: &str, text: String) {
        self.all += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.push((nonce.to_owned(), text));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.all == 0
    }

    /// The nonce of the first finding.
    pub fn nonce(&self) -> Option<&str> {
        self.shown.first().map(|(nonce, _)| nonce.as_str())
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} things are wrong:", self.all)?;
        self.shown.iter().try_for_each(|(nonce, text)| writeln!(f, "  {nonce} {text}"))
    }
}

/// The count can fail: mailboxes made by hand with one thing wrong in each.
#[test]
fn whatever_is_lost_doubled_changed_or_made_up_is_noticed() {
    use serde_json::json;

    const SEED: u64 = 1;
    /// What is done to a message in place of putting it where it belongs, once.
    type Trick = fn(&mut Count, &str, &Value);
    let lost: Trick = |_, _, _| {};
    let doubled: Trick = |count, owner, message| (0..2).for_each(|_| count.add(owner, message));
    let elsewhere: Trick = |count, _, message| count.add("somebody@else.test", message);
    let changed: Trick = |count, owner, message| {
        let mut message = message.clone();
        message["payload"] = json!({ "body": "?", "original_nonce": message["payload"]["original_nonce"],
            "status": message["payload"]["status"], "further": true });
        message["type"] = "event".into();
        count.add(owner, &message);
    };
    let made_up: Trick = |count, owner, message| {
        count.add(owner, message);
        let mut message = message.clone();
        (message["nonce"], message["payload"]["original_nonce"]) = ("kill-999".into(), "kill-999".into());
        count.add(owner, &message);
    };
    let right: Trick = |count, owner, message| count.add(owner, message);

    // Of one message to all sorts of recipients, the copy at `place` is played with.
    let run = |place: usize, trick: Trick| {
        let number = (0..).find(|number| Planned::new(SEED, *number, 0).recipients.len() == 5).expect("one");
        let planned = (0..=number).map(|number| Planned::new(SEED, number, 0)).collect::<Vec<_>>();
        let mut count = Count::new(planned);
        for number in 0..=number {
            let planned = Planned::new(SEED, number, 0);
            let sent: Value = serde_json::from_slice(&planned.submission()).expect("JSON");
            for (index, recipient) in planned.recipients.iter().enumerate() {
                let bounce = json!({ "from": "postmaster@alice.local", "nonce": "msg-1", "payload": {
                    "original_nonce": planned.nonce(), "status": { "recipient": recipient.address } } });
                let trick = if planned.recipients.len() == 5 && index == place { trick } else { right };
                match recipient.exists {
                    true => trick(&mut count, &recipient.address, &sent),
                    false => trick(&mut count, planned.from, &bounce),
                }
            }
        }
        count
    };
    for place in 0..5 {
        for (name, trick) in
            [("lost", lost), ("doubled", doubled), ("elsewhere", elsewhere), ("made up", made_up)]
        {
            assert!(!run(place, trick).close(|_, _| false).1.is_empty(), "{name} at {place}");
        }
    }
    assert!(!run(0, changed).close(|_, _| false).1.is_empty(), "changed");
    let (totals, wrong) = run(0, right).close(|_, _| false);
    assert!(wrong.is_empty() && totals.copies == totals.delivered + totals.bounced, "{wrong} {totals:?}");
    let (totals, wrong) = run(0, lost).close(|_, _| true);
    assert!(wrong.is_empty() && totals.queued == 1, "{wrong} {totals:?}");
}
