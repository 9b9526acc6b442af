//! What is sent: each message follows from the seed, its number and its sender, so that nothing need be kept to
//! check what arrives.

use atp::env::clock::{Clock as _, SystemClock};
use bytes::Bytes;
use serde_json::{Value, json};

use super::dice::Dice;

/// The domains of the two servers.
pub const DOMAINS: [&str; 2] = ["alice.local", "bob.local"];
/// Two agents at each, in the order of the domains.
pub const AGENTS: [&str; 4] = ["ann@alice.local", "art@alice.local", "bea@bob.local", "ben@bob.local"];

/// What nonces begin with; the number follows.
const PREFIX: &str = "kill-";
const SHORT_CHARS: usize = 200;
/// So long that the store keeps it in pieces.
const LONG_CHARS: usize = 20_000;

/// Whose server an agent is at.
pub fn domain_of(agent: usize) -> usize {
    agent / 2
}

/// The number in a nonce of ours.
pub fn number_of(nonce: &str) -> Option<usize> {
    nonce.strip_prefix(PREFIX)?.parse().ok()
}

/// A message to be sent.
pub struct Planned {
    pub number: usize,
    pub from: &'static str,
    /// The first is `to`, the others are `cc`.
    pub recipients: Vec<Recipient>,
    chars: usize,
}

/// One of its recipients.
pub struct Recipient {
    pub address: String,
    /// Whether there is such an agent; if not, the message must bounce.
    pub exists: bool,
}

impl Planned {
    /// Message number `number`, sent by the agent with the index `from`.
    pub fn new(seed: u64, number: usize, from: usize) -> Planned {
        let mut dice = Dice::numbered(seed, number);
        let (own, peer) = (domain_of(from), 1 - domain_of(from));
        let neighbour = agent(from ^ 1);
        let (first, second) = (2 * peer + dice.below(2), dice.below(9));
        let (remote, other_remote) = (agent(first), agent(first ^ 1));
        let (stranger, unknown_here) = (nobody(second, peer), nobody(second, own));
        let recipients = match dice.below(12) {
            0..4 => vec![remote],
            4 => vec![neighbour],
            5 => vec![remote, other_remote],
            6 => vec![remote, neighbour],
            7 => vec![neighbour, remote],
            8 | 9 => vec![stranger],
            10 => vec![stranger, remote, unknown_here],
            _ => vec![remote, neighbour, stranger, other_remote, agent(from)],
        };
        let chars = if dice.one_in(16) { LONG_CHARS } else { SHORT_CHARS };
        Planned { number, from: AGENTS[from], recipients, chars }
    }

    pub fn nonce(&self) -> String {
        format!("{PREFIX}{}", self.number)
    }

    /// The body of its submission.
    pub fn submission(&self) -> Bytes {
        let mut message = self.to_be_read();
        message["timestamp"] = SystemClock.now().seconds().into();
        message.to_string().into()
    }

    /// Whether this is how a reader must find it.
    pub fn is(&self, found: &Value) -> bool {
        let mut found = found.clone();
        let Some(members) = found.as_object_mut() else { return false };
        // What travelled is signed, what stayed here is not.
        members.remove("signature");
        members.remove("timestamp").is_some() && found == self.to_be_read()
    }

    /// All of it but the time.
    fn to_be_read(&self) -> Value {
        let mut addresses = self.recipients.iter().map(|recipient| recipient.address.as_str());
        let mut message = json!({
            "from": self.from, "to": addresses.next(), "nonce": self.nonce(), "type": "message",
            "payload": { "body": self.text() },
        });
        let cc: Vec<&str> = addresses.collect();
        if !cc.is_empty() {
            message["cc"] = cc.into();
        }
        message
    }

    fn text(&self) -> String {
        let word = format!("{} ", self.number);
        word.repeat(self.chars / word.len())
    }
}

fn agent(index: usize) -> Recipient {
    Recipient { address: AGENTS[index].to_owned(), exists: true }
}

fn nobody(which: usize, domain: usize) -> Recipient {
    Recipient { address: format!("nobody-{which}@{}", DOMAINS[domain]), exists: false }
}
