//! Authoritative name servers from a script.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::env::BoxFuture;
use crate::env::dns::authorities::{Authorities, Survey, Told};
use crate::env::dns::{Answer, DnsTrouble, Kind, Record};

/// TTL of every scripted answer, unless set otherwise.
const TTL: Duration = Duration::from_secs(3600);
/// Negative TTL, unless set otherwise.
const NEGATIVE_TTL: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Script {
    zone: Result<String, DnsTrouble>,
    negative_ttl: Duration,
    ttl: Duration,
    servers: Vec<Server>,
    surveys: Vec<(String, Kind)>,
}

#[derive(Debug)]
struct Server {
    name: String,
    address: IpAddr,
    records: HashMap<(String, Kind), Result<Vec<Record>, DnsTrouble>>,
    down: Option<DnsTrouble>,
}

/// One zone with its name servers. What a server has not been given does not exist there.
#[derive(Debug)]
pub struct ScriptedAuthorities(Mutex<Script>);

impl ScriptedAuthorities {
    /// A zone with so many servers, `ns1.<zone>` at 198.51.100.1 and so on.
    pub fn new(zone: &str, servers: u8) -> ScriptedAuthorities {
        let server = |number: u8| Server {
            name: format!("ns{number}.{zone}"),
            address: IpAddr::from([198, 51, 100, number]),
            records: HashMap::new(),
            down: None,
        };
        let servers = (1..=servers).map(server).collect();
        let zone = Ok(zone.to_owned());
        let script = Script { zone, negative_ttl: NEGATIVE_TTL, ttl: TTL, servers, surveys: Vec::new() };
        ScriptedAuthorities(Mutex::new(script))
    }

    /// From now on every server has these records.
    pub fn set(&self, name: &str, kind: Kind, records: Vec<Record>) -> &Self {
        for server in &mut self.script().servers {
            server.records.insert((name.to_ascii_lowercase(), kind), Ok(records.clone()));
        }
        self
    }

    /// From now on one server, counted from 0, has these records, or fails there.
    pub fn set_at(
        &self,
        server: usize,
        name: &str,
        kind: Kind,
        answer: Result<Vec<Record>, DnsTrouble>,
    ) -> &Self {
        self.script().servers[server].records.insert((name.to_ascii_lowercase(), kind), answer);
        self
    }

    /// From now on every server has these TXT records.
    pub fn txt(&self, name: &str, texts: &[&str]) -> &Self {
        self.set(name, Kind::Txt, texts.iter().map(|text| Record::Txt(text.as_bytes().to_vec())).collect())
    }

    /// From now on one server, counted from 0, answers nothing else; `None`: it works again.
    pub fn down(&self, server: usize, trouble: Option<DnsTrouble>) -> &Self {
        self.script().servers[server].down = trouble;
        self
    }

    /// From now on the name is in another zone, or none is found.
    pub fn zone(&self, zone: Result<&str, DnsTrouble>) -> &Self {
        self.script().zone = zone.map(str::to_owned);
        self
    }

    /// From now on absence counts for so long.
    pub fn negative_ttl(&self, ttl: Duration) -> &Self {
        self.script().negative_ttl = ttl;
        self
    }

    /// From now on records have this TTL.
    pub fn ttl(&self, ttl: Duration) -> &Self {
        self.script().ttl = ttl;
        self
    }

    /// Everything that was asked, in order.
    pub fn surveys(&self) -> Vec<(String, Kind)> {
        self.script().surveys.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, name: &str, kind: Kind) -> Result<Survey, DnsTrouble> {
        let question = (name.to_ascii_lowercase(), kind);
        let mut script = self.script();
        script.surveys.push(question.clone());
        let zone = script.zone.clone()?;
        let (ttl, negative_ttl) = (script.ttl, script.negative_ttl);
        let told = |server: &Server| {
            let found = match server.down {
                Some(trouble) => Err(trouble),
                None => server.records.get(&question).cloned().unwrap_or_else(|| Ok(Vec::new())),
            };
            let answer = found.map(|records| match records.as_slice() {
                [] => Answer::absent(negative_ttl),
                _ => Answer { records, ttl, secure: false },
            });
            Told { server: server.name.clone(), address: server.address, answer }
        };
        let servers = script.servers.iter().map(told).collect();
        Ok(Survey { zone, negative_ttl, servers })
    }
}

impl Authorities for ScriptedAuthorities {
    fn survey<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Survey, DnsTrouble>> {
        Box::pin(std::future::ready(self.answered(name, kind)))
    }
}
