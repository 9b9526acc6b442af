//! DNS from a script.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::env::BoxFuture;
use crate::env::dns::{Answer, DnsTrouble, Kind, Record, Resolver};

/// How long every scripted answer may be kept.
const TTL: Duration = Duration::from_secs(60);

type Script = HashMap<(String, Kind), Result<Vec<Record>, DnsTrouble>>;

/// Answers from a map of name and kind; what is not in it does not exist. Remembers what was asked.
#[derive(Debug, Default)]
pub struct ScriptedResolver {
    script: Mutex<Script>,
    asked: Mutex<Vec<(String, Kind)>>,
}

impl ScriptedResolver {
    /// Nothing exists yet.
    pub fn new() -> ScriptedResolver {
        ScriptedResolver::default()
    }

    /// From now on `name` has these records of this kind.
    pub fn set(&self, name: &str, kind: Kind, records: Vec<Record>) -> &Self {
        lock(&self.script).insert((name.to_ascii_lowercase(), kind), Ok(records));
        self
    }

    /// From now on `name` has these TXT records.
    pub fn txt(&self, name: &str, texts: &[&str]) -> &Self {
        let records = texts.iter().map(|text| Record::Txt(text.as_bytes().to_vec())).collect();
        self.set(name, Kind::Txt, records)
    }

    /// From now on `name` has these addresses and no others.
    pub fn addresses(&self, name: &str, addresses: &[IpAddr]) -> &Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(Record::A(*address)),
                IpAddr::V6(address) => v6.push(Record::Aaaa(*address)),
            }
        }
        self.set(name, Kind::A, v4).set(name, Kind::Aaaa, v6)
    }

    /// From now on asking fails.
    pub fn fail(&self, name: &str, kind: Kind, trouble: DnsTrouble) -> &Self {
        lock(&self.script).insert((name.to_ascii_lowercase(), kind), Err(trouble));
        self
    }

    /// Everything that was asked, in order.
    pub fn asked(&self) -> Vec<(String, Kind)> {
        lock(&self.asked).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Resolver for ScriptedResolver {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        let question = (name.to_ascii_lowercase(), kind);
        lock(&self.asked).push(question.clone());
        let found = lock(&self.script).get(&question).cloned().unwrap_or_else(|| Ok(Vec::new()));
        let answer = found.map(|records| Answer { records, ttl: TTL, secure: false });
        Box::pin(std::future::ready(answer))
    }
}
