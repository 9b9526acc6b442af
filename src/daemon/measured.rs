//! The outside world, counted: how often it was asked, what came of it, how long it took.

use std::sync::Arc;

use tokio::time::Instant;

use crate::counters::Counters;
use crate::env::BoxFuture;
use crate::env::dial::{Connection, Dial, DialError, Endpoint, Family};
use crate::env::disk::{Disk, DiskError, Visit, Write};
use crate::env::dns::{Answer, DnsTrouble, Kind, Resolver};

/// Something of the outside world whose dealings are counted.
pub(super) struct Measured<T> {
    inner: T,
    counters: Arc<Counters>,
}

impl<T> Measured<T> {
    pub(super) fn new(inner: T, counters: Arc<Counters>) -> Measured<T> {
        Measured { inner, counters }
    }
}

impl<R: Resolver> Resolver for Measured<R> {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        Box::pin(async move {
            let begun = Instant::now();
            let outcome = self.inner.lookup(name, kind).await;
            self.counters.dns.took(begun.elapsed());
            self.counters.asked_dns(place_of_kind(kind), place_of_answer(&outcome));
            outcome
        })
    }
}

/// In [`DNS_KINDS`](crate::counters::DNS_KINDS).
fn place_of_kind(kind: Kind) -> usize {
    match kind {
        Kind::Svcb => 0,
        Kind::Srv => 1,
        Kind::Txt => 2,
        Kind::A => 3,
        Kind::Aaaa => 4,
        Kind::Cname => 5,
    }
}

/// In [`DNS_RESULTS`](crate::counters::DNS_RESULTS).
fn place_of_answer(outcome: &Result<Answer, DnsTrouble>) -> usize {
    match outcome {
        Ok(answer) if !answer.records.is_empty() => 0,
        Ok(_) => 1,
        // A chain that does not end is the zone's fault, as SERVFAIL mostly is.
        Err(DnsTrouble::ServFail | DnsTrouble::Chain | DnsTrouble::LocalServerDown) => 2,
        Err(DnsTrouble::Refused | DnsTrouble::NotAuthoritative) => 3,
        Err(DnsTrouble::TimedOut | DnsTrouble::Unreachable) => 4,
        Err(DnsTrouble::Unusable) => 5,
    }
}

impl<D: Dial> Dial for Measured<D> {
    fn source(&self, family: Family) -> Option<std::net::IpAddr> {
        self.inner.source(family)
    }

    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let outcome = self.inner.dial(endpoint).await;
            // In `DIAL_RESULTS`.
            self.counters.dialled(match &outcome {
                Ok(_) => {
                    self.counters.dial.took(begun.elapsed());
                    0
                }
                Err(DialError::Connect(_)) => 1,
                Err(DialError::TimedOut(_)) => 2,
                Err(DialError::Tls(_) | DialError::Certificate(_)) => 3,
            });
            outcome
        })
    }
}

impl<D: Disk> Disk for Measured<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, DiskError> {
        self.inner.get(key)
    }

    fn scan(&self, prefix: &[u8], from: &[u8], visit: &mut Visit<'_>) -> Result<(), DiskError> {
        self.inner.scan(prefix, from, visit)
    }

    fn apply(&self, batch: Vec<Write>) -> Result<(), DiskError> {
        let bytes: usize = batch.iter().map(size).sum();
        let outcome = self.inner.apply(batch).inspect_err(|_| self.counters.store_failures.add());
        self.counters.store_bytes.add_many(bytes as u64);
        outcome
    }

    fn sync(&self) -> Result<(), DiskError> {
        let begun = Instant::now();
        let outcome = self.inner.sync().inspect_err(|_| self.counters.store_failures.add());
        self.counters.sync.took(begun.elapsed());
        outcome
    }

    fn reopen(&self) -> Result<(), DiskError> {
        self.inner.reopen()
    }

    fn tidy(&self, is_idle: bool) -> Result<(), DiskError> {
        self.inner.tidy(is_idle)
    }
}

fn size(write: &Write) -> usize {
    match write {
        Write::Put(key, value) => key.len() + value.len(),
        Write::Delete(key) => key.len(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::counters::{DNS_KINDS, DNS_RESULTS};
    use crate::env::dns::Record;

    #[test]
    fn what_the_resolver_says_has_its_own_label() {
        let found =
            Answer { records: vec![Record::A(Ipv4Addr::LOCALHOST)], ..Answer::absent(Duration::ZERO) };
        for (outcome, label) in [
            (Ok(found), "found"),
            (Ok(Answer::absent(Duration::ZERO)), "absent"),
            (Err(DnsTrouble::ServFail), "servfail"),
            (Err(DnsTrouble::Refused), "refused"),
            (Err(DnsTrouble::TimedOut), "timeout"),
            (Err(DnsTrouble::Unusable), "unusable"),
        ] {
            assert_eq!(DNS_RESULTS[place_of_answer(&outcome)], label);
        }
        for kind in [Kind::Svcb, Kind::Srv, Kind::Txt, Kind::A, Kind::Aaaa, Kind::Cname] {
            assert_eq!(DNS_KINDS[place_of_kind(kind)], kind.as_str());
        }
    }
}
