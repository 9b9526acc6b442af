//! DNS: the zones of all domains, and a resolver for each server that is away at times and lies at times.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atp::env::BoxFuture;
use atp::env::dns::{Answer, DnsTrouble, Kind, Record, Resolver};
use tokio::time::sleep;

use crate::dice::Dice;

/// How long a resolver that does not answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long answers may be kept: of servers, of keys and policies, and of lies.
const TTLS: [Duration; 3] = [Duration::from_secs(300), Duration::from_secs(120), Duration::from_secs(60)];

/// What is true.
#[derive(Debug, Default)]
pub struct Zones(Mutex<HashMap<(String, Kind), Vec<Record>>>);

impl Zones {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Kind), Vec<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on a name has these records of a kind.
    pub fn set(&self, name: &str, kind: Kind, records: Vec<Record>) {
        self.lock().insert((name.to_owned(), kind), records);
    }

    /// From now on a name has this TXT record, or none.
    pub fn txt(&self, name: &str, text: Option<String>) {
        self.set(name, Kind::Txt, text.into_iter().map(|text| Record::Txt(text.into_bytes())).collect());
    }

    /// From now on a host has these addresses.
    pub fn addresses(&self, host: &str, addresses: &[IpAddr]) {
        for (kind, wanted) in [(Kind::A, true), (Kind::Aaaa, false)] {
            let of_kind = addresses.iter().filter(|address| address.is_ipv4() == wanted);
            let record = |address: &IpAddr| match address {
                IpAddr::V4(address) => Record::A(*address),
                IpAddr::V6(address) => Record::Aaaa(*address),
            };
            self.set(host, kind, of_kind.map(record).collect());
        }
    }

    fn ask(&self, name: &str, kind: Kind) -> Vec<Record> {
        self.lock().get(&(name.to_owned(), kind)).cloned().unwrap_or_default()
    }
}

/// What is wrong with a resolver, as far as names of one zone are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// SERVFAIL.
    Fails,
    /// It says nothing.
    Silent,
    /// There is no such name.
    NoSuchName,
    /// Hosts are at this address.
    At(IpAddr),
    /// Whoever asks may send for the domain. (That a stranger's key is the domain's nobody may say: then all is lost.)
    AnyoneMaySend,
    /// Nobody may send for the domain.
    NobodyMaySend,
    /// Keys are others, which nobody has.
    OtherKey,
    /// Texts are no records.
    Garbage,
    /// Texts are there twice.
    Twice,
}

/// The resolver that one server asks.
pub struct SimResolver {
    zones: Arc<Zones>,
    inner: Mutex<Inner>,
}

struct Inner {
    dice: Dice,
    /// For which zones something is wrong, and what. The zone "" is all names.
    wrong: Vec<(String, Wrong)>,
}

impl SimResolver {
    pub fn new(zones: Arc<Zones>, dice: Dice) -> SimResolver {
        SimResolver { zones, inner: Mutex::new(Inner { dice, wrong: Vec::new() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something begins to be wrong with a zone, or no longer is.
    pub fn turn(&self, zone: &str, wrong: Wrong, begins: bool) {
        let mut inner = self.lock();
        if begins {
            inner.wrong.push((zone.to_owned(), wrong));
        } else if let Some(at) = inner.wrong.iter().position(|(name, what)| name == zone && *what == wrong) {
            inner.wrong.remove(at);
        }
    }

    async fn answer(&self, name: &str, kind: Kind) -> Result<Answer, DnsTrouble> {
        let (wrong, takes) = {
            let mut inner = self.lock();
            let takes = inner.dice.time(Duration::from_millis(1), Duration::from_millis(60));
            let of_name = |(zone, wrong): &(String, Wrong)| name.ends_with(zone.as_str()).then_some(*wrong);
            (inner.wrong.iter().find_map(of_name), takes)
        };
        sleep(takes).await;
        let mut records = self.zones.ask(name, kind);
        let ttl = match (wrong, kind) {
            (Some(_), _) => TTLS[2],
            (_, Kind::Txt) => TTLS[1],
            _ => TTLS[0],
        };
        match wrong {
            None => {}
            Some(Wrong::Fails) => return Err(DnsTrouble::ServFail),
            Some(Wrong::Silent) => {
                sleep(TIMEOUT).await;
                return Err(DnsTrouble::TimedOut);
            }
            Some(wrong) => lie(wrong, kind, name, &mut records),
        }
        Ok(Answer { records, ttl, secure: false })
    }
}

impl Resolver for SimResolver {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        Box::pin(self.answer(name, kind))
    }
}

fn lie(wrong: Wrong, kind: Kind, name: &str, records: &mut Vec<Record>) {
    let is_policy = name.starts_with("ats.");
    let text = |text: &str| vec![Record::Txt(text.as_bytes().to_vec())];
    match (wrong, kind) {
        (Wrong::NoSuchName, _) => records.clear(),
        (Wrong::At(IpAddr::V4(address)), Kind::A) => *records = vec![Record::A(address)],
        (Wrong::At(IpAddr::V6(address)), Kind::Aaaa) => *records = vec![Record::Aaaa(address)],
        (Wrong::At(_), Kind::A | Kind::Aaaa) => records.clear(),
        (Wrong::AnyoneMaySend, Kind::Txt) if is_policy => *records = text("v=atp1 allow=all"),
        (Wrong::NobodyMaySend, Kind::Txt) if is_policy => *records = text("v=atp1 deny=all"),
        (Wrong::OtherKey, Kind::Txt) if !is_policy => {
            *records = text("v=atp1 k=ed25519 p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
        }
        (Wrong::Garbage, Kind::Txt) => *records = text("v=atp1 \u{7f}nonsense p"),
        (Wrong::Twice, Kind::Txt) => records.extend(records.clone()),
        _ => {}
    }
}
