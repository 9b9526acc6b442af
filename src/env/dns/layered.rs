//! Where a name is looked up: overrides, the local directory, then DNS (`docs/protocol.md` §5, §12).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

use super::overrides::Overrides;
use super::{Answer, DnsTrouble, Kind, Record, Resolver};
use crate::env::BoxFuture;
use crate::env::clock::micros_since;
use crate::env::local::LocalDirectory;
use crate::proto::address::Domain;

/// How long an answer that costs no question counts: whoever keeps it must notice a restarted neighbour or
/// an edited file soon.
const NEARBY_TTL: Duration = Duration::from_secs(1);

/// The resolver the stages see.
pub struct LayeredResolver<R> {
    overrides: Overrides,
    local: Option<LocalDirectory>,
    dns: Option<R>,
    explicit: bool,
}

impl<R: Resolver> LayeredResolver<R> {
    /// `local` is `None` where there is no local directory. `dns` is `None` where the system has no
    /// resolver: names that would need it are then in trouble, not absent. `explicit` says that the
    /// operator named the DNS servers, so special-use names may be asked there too.
    pub fn new(
        overrides: Overrides,
        local: Option<LocalDirectory>,
        dns: Option<R>,
        explicit: bool,
    ) -> LayeredResolver<R> {
        LayeredResolver { overrides, local, dns, explicit }
    }

    async fn find(&self, name: &str, kind: Kind) -> Result<Answer, DnsTrouble> {
        if kind == Kind::Txt
            && let Some(text) = self.overrides.get(name)
        {
            return Ok(nearby(Record::Txt(text.as_bytes().to_vec())));
        }
        if kind == Kind::Txt
            && let Some(answer) = self.in_local_directory(name)?
        {
            return Ok(answer);
        }
        if is_special_use(name) && !self.explicit {
            return Ok(without_dns(name, kind));
        }
        match &self.dns {
            Some(dns) => dns.lookup(name, kind).await,
            None => Err(DnsTrouble::Unusable),
        }
    }

    /// The TXT records a server on this machine published. Its entry speaks for all names below `_atp.`
    /// of its domain; `None` if it has none. Reads a small file: less than the hop to another thread costs.
    fn in_local_directory(&self, name: &str) -> Result<Option<Answer>, DnsTrouble> {
        let (Some(local), Some((_, domain))) = (&self.local, name.rsplit_once("._atp.")) else {
            return Ok(None);
        };
        let Ok(domain) = Domain::parse(domain) else { return Ok(None) };
        let Some(entry) = local.read(&domain)? else { return Ok(None) };
        Ok(Some(match entry.txt.get(name) {
            Some(text) => nearby(Record::Txt(text.clone().into_bytes())),
            None => Answer::absent(NEARBY_TTL),
        }))
    }
}

impl<R: Resolver> Resolver for LayeredResolver<R> {
    fn lookup<'a>(&'a self, name: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
        Box::pin(async move {
            let name = name.to_ascii_lowercase();
            let begun = Instant::now();
            let outcome = self.find(&name, kind).await;
            let micros = micros_since(begun);
            tracing::debug!(name, kind = kind.as_str(), answer = summary(&outcome), micros, "dns");
            outcome
        })
    }
}

fn nearby(record: Record) -> Answer {
    Answer { records: vec![record], ttl: NEARBY_TTL, secure: false }
}

/// Whether the name ends in `.local`, `.test` or `.localhost`. Unlike a [`Domain`] it may have underscores.
fn is_special_use(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("local" | "test" | "localhost"))
}

/// A special-use name without a resolver to ask: absent, save that localhost is this host (RFC 6761 §6.3).
fn without_dns(name: &str, kind: Kind) -> Answer {
    match (name.rsplit('.').next(), kind) {
        (Some("localhost"), Kind::A) => nearby(Record::A(Ipv4Addr::LOCALHOST)),
        (Some("localhost"), Kind::Aaaa) => nearby(Record::Aaaa(Ipv6Addr::LOCALHOST)),
        _ => Answer::absent(NEARBY_TTL),
    }
}

fn summary(outcome: &Result<Answer, DnsTrouble>) -> String {
    match outcome {
        Ok(answer) => answer.summary(),
        Err(trouble) => trouble.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::env::local::LocalEntry;

    /// Has an A and a TXT record for every name.
    struct Everything;

    impl Resolver for Everything {
        fn lookup<'a>(&'a self, _: &'a str, kind: Kind) -> BoxFuture<'a, Result<Answer, DnsTrouble>> {
            let record = match kind {
                Kind::Txt => Record::Txt(b"dns".to_vec()),
                _ => Record::A(Ipv4Addr::new(192, 0, 2, 1)),
            };
            Box::pin(async { Ok(nearby(record)) })
        }
    }

    fn overrides(text: &str) -> Overrides {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Overrides::load(file.path()).unwrap()
    }

    async fn txt<R: Resolver>(resolver: &LayeredResolver<R>, name: &str) -> Result<String, DnsTrouble> {
        let answer = resolver.lookup(name, Kind::Txt).await?;
        Ok(match answer.records.first() {
            Some(Record::Txt(text)) => String::from_utf8(text.clone()).unwrap(),
            _ => "absent".to_owned(),
        })
    }

    fn entry(domain: &str) -> LocalEntry {
        LocalEntry {
            domain: Domain::parse(domain).unwrap(),
            address: "127.0.0.1:7443".parse().unwrap(),
            certificate_sha256: [7; 32],
            txt: [(format!("ats._atp.{domain}"), "local".to_owned())].into(),
        }
    }

    fn directory(home: &Path) -> LocalDirectory {
        LocalDirectory::new(home)
    }

    #[tokio::test]
    async fn overrides_go_before_the_local_directory_and_that_before_dns() {
        let home = tempfile::tempdir().unwrap();
        let _bob = directory(home.path()).publish(entry("bob.local")).unwrap();
        let _carol = directory(home.path()).publish(entry("carol.local")).unwrap();
        let overrides = overrides("[\"ats._atp.bob.local\"]\nrecord = \"override\"\n");
        for (explicit, name, want) in [
            (false, "ats._atp.bob.local", "override"),
            (false, "ATS._atp.bob.local", "override"),
            (false, "ats._atp.carol.local", "local"),
            (true, "ats._atp.carol.local", "local"),
            (true, "default.atk._atp.carol.local", "absent"),
            (false, "ats._atp.dave.local", "absent"),
            (false, "ats._atp.dave.test", "absent"),
            (true, "ats._atp.dave.local", "dns"),
            (false, "ats._atp.example.com", "dns"),
        ] {
            let resolver = LayeredResolver::new(
                overrides.clone(),
                Some(directory(home.path())),
                Some(Everything),
                explicit,
            );
            assert_eq!(txt(&resolver, name).await.as_deref(), Ok(want), "{name}, explicit: {explicit}");
        }
    }

    #[tokio::test]
    async fn a_local_server_that_is_down_is_trouble_not_absence() {
        let home = tempfile::tempdir().unwrap();
        drop(directory(home.path()).publish(entry("bob.local")).unwrap());
        let resolver =
            LayeredResolver::new(Overrides::default(), Some(directory(home.path())), Some(Everything), true);
        assert_eq!(txt(&resolver, "ats._atp.bob.local").await, Err(DnsTrouble::LocalServerDown));
    }

    #[tokio::test]
    async fn without_any_resolver_only_special_use_names_are_absent() {
        let resolver = LayeredResolver::<Everything>::new(Overrides::default(), None, None, false);
        assert_eq!(resolver.lookup("example.com", Kind::A).await, Err(DnsTrouble::Unusable));
        assert!(resolver.lookup("bob.local", Kind::A).await.unwrap().records.is_empty());
        let localhost = resolver.lookup("bob.localhost", Kind::A).await.unwrap();
        assert_eq!(localhost.records, [Record::A(Ipv4Addr::LOCALHOST)]);
    }
}
