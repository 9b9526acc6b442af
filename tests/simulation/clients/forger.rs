//! Somebody on a machine of its own who tries to get in what nobody wrote: transfers without a signature, with a wrong one,
//! with one of another domain, altered, to the wrong server; and what somebody did write, once more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atp::env::rng::Rng;
use atp::proto::address::{Address, Domain};
use atp::proto::message::Message;
use atp::proto::routing::{self, CopyNonce, Shape};
use atp::proto::signature::KeyId;
use atp::sign::{CanonicalForm, Key, Signer};
use atp::testing::node::Keys;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::http::{Caller, Reply};
use super::writer;
use crate::clock::Time;
use crate::dice::{Dice, SeededRng};
use crate::log::Log;
use crate::net::{HostId, Net};
use crate::plan::{Letter, Plan, agent};
use crate::site::Site;

/// The pauses between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(400));
/// The domain that the forger has keys for.
pub const DOMAIN: &str = "forger.example";

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trick {
    /// No signature at all.
    Unsigned,
    /// A key of the forger's under the name of the domain's.
    OtherKey,
    /// The forger's own domain has signed it.
    OtherDomain,
    /// The domain has signed it, and then something was changed.
    Altered,
    /// The domain has signed it for another recipient.
    OtherRecipient,
    /// The domain has signed it, for a server of another domain.
    Relayed,
    /// A submission without the password.
    NoPassword,
    /// A receipt without a signature.
    Receipt,
    /// Exactly what an agent has sent, as its domain has signed it: may be taken, but not twice.
    Replayed,
}

const TRICKS: [Trick; 10] = [
    Trick::Unsigned,
    Trick::OtherKey,
    Trick::OtherDomain,
    Trick::Altered,
    Trick::OtherRecipient,
    Trick::Relayed,
    Trick::NoPassword,
    Trick::Receipt,
    Trick::Replayed,
    Trick::Replayed,
];

pub struct Forger {
    pub net: Arc<Net>,
    pub host: HostId,
    pub plan: Arc<Plan>,
    pub sites: Vec<Arc<Site>>,
    pub time: Time,
    pub log: Log,
    /// Of the forger's own domain.
    pub keys: Keys,
    /// Letters that a server has accepted, which the forger has seen go by.
    pub accepted: Arc<dyn Fn() -> Vec<Arc<Letter>> + Send + Sync>,
}

impl Forger {
    /// Tries again and again.
    pub async fn run(self, mut dice: Dice) {
        let rng = SeededRng::new(Dice::of(self.plan.seed, "forger's keys", 0));
        loop {
            sleep(dice.time(PAUSES.0, PAUSES.1)).await;
            let trick = dice.one_of(&TRICKS);
            self.play(trick, &mut dice, &rng).await;
        }
    }

    async fn play(&self, trick: Trick, dice: &mut Dice, rng: &dyn Rng) {
        let from = self.somebody(dice);
        let to = self.somebody(dice);
        let accepted = (self.accepted)();
        let seen = if accepted.is_empty() { None } else { Some(&accepted[dice.below(accepted.len())]) };
        let now = self.time.now();
        let forged = json!({
            "from": from, "to": to, "timestamp": now.seconds(), "nonce": format!("forged-{}", now.0),
            "type": "message", "payload": { "forged": true },
        });
        let home = from.split_once('@').map_or("", |(_, domain)| domain);
        let (body, to) = match (trick, seen) {
            (Trick::Unsigned, _) => (forged.to_string(), to),
            (Trick::NoPassword, _) => (forged.to_string(), from.clone()),
            (Trick::OtherKey, _) => (self.signed(forged, &self.key(home, rng)), to),
            (Trick::OtherDomain, _) => (self.signed(forged, &self.keys.signer().borrow()), to),
            (Trick::Receipt, Some(letter)) => {
                let recipient = letter.to[0].clone();
                let domain = recipient.split_once('@').map_or("", |(_, domain)| domain);
                let receipt = json!({ "original_nonce": letter.nonce, "recipient": recipient,
                    "outcome": "completed", "at": now.seconds() });
                let forged = json!({
                    "from": format!("postmaster@{domain}"), "to": letter.from, "timestamp": now.seconds(),
                    "nonce": "rcpt-forged", "type": "event", "payload": { "receipt": receipt },
                });
                (self.signed(forged, &self.key(domain, rng)), letter.from.clone())
            }
            (Trick::Replayed, Some(letter)) => {
                let to = letter.to[dice.below(letter.to.len())].clone();
                (self.transfer(letter, &to), to)
            }
            (Trick::Altered, Some(letter)) => {
                let to = letter.to[0].clone();
                (self.changed(letter, &to, |transfer| transfer["payload"] = json!({ "forged": true })), to)
            }
            (Trick::OtherRecipient, Some(letter)) if !letter.to.contains(&to) => {
                let change = |transfer: &mut Value| transfer["routing"] = json!({ "atp": { "rcpt": to } });
                (self.changed(letter, &letter.to[0], change), to.clone())
            }
            (Trick::Relayed, Some(letter)) if self.plan.site_of(&letter.to[0]) != self.plan.site_of(&to) => {
                (self.transfer(letter, &letter.to[0]), to)
            }
            _ => return,
        };
        let Some(site) = self.plan.site_of(&to) else { return };
        let caller = self.caller(self.sites[site].address());
        let reply = caller.post("message", body).await;
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        let said = reply.as_ref().map_or("no answer", Reply::word);
        self.log.say("forger", format_args!("{trick:?} to {to}: {status} {said}"));
        let own = seen.is_some_and(|letter| self.plan.site_of(&letter.from) == self.plan.site_of(&to));
        if status == 202 && (trick != Trick::Replayed || own) {
            self.log.broken("nothing forged is taken in", &format!("{trick:?} from {from} to {to}"));
        }
    }

    fn caller(&self, to: SocketAddr) -> Caller {
        Caller { net: Arc::clone(&self.net), from: self.host, to, agent: None }
    }

    fn somebody(&self, dice: &mut Dice) -> String {
        let domain = &self.plan.domains[dice.below(self.plan.domains.len())];
        agent(&domain.name, dice.below(domain.agents))
    }

    /// A key of the forger's under a name of a domain's.
    fn key(&self, domain: &str, rng: &dyn Rng) -> Signer {
        let id = KeyId::new("k0", Domain::parse(domain).unwrap()).unwrap();
        Signer::new(Arc::new(Key::generate(id, rng)))
    }

    fn signed(&self, message: Value, signer: &Signer) -> String {
        let Value::Object(message) = message else { return String::new() };
        let signed = signer.sign(message, CanonicalForm::Rfc8785, self.time.now());
        signed.map_or(String::new(), |signed| String::from_utf8_lossy(signed.bytes()).into_owned())
    }

    /// The transfer of a letter as its own server makes it.
    fn transfer(&self, letter: &Letter, to: &str) -> String {
        self.changed(letter, to, |_| {})
    }

    fn changed(&self, letter: &Letter, to: &str, change: impl FnOnce(&mut Value)) -> String {
        let Some(site) = self.plan.site_of(&letter.from) else { return String::new() };
        let home = letter.from.split_once('@').map_or("", |(_, domain)| domain);
        let now = self.time.now().seconds();
        let author = Message::parse(writer::content(letter, now).to_string().as_bytes()).unwrap();
        let shape = Shape { rcpt: true, fields: true, reference: false, nonce: CopyNonce::Author };
        let unsigned = routing::write(&author, &Address::parse(to).unwrap(), shape, now);
        let signed = self.signed(Value::Object(unsigned), &self.sites[site].signer(home));
        let mut transfer = serde_json::from_str(&signed).unwrap_or_default();
        change(&mut transfer);
        transfer.to_string()
    }
}
