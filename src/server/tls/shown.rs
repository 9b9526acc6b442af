//! Which certificate is shown to whom.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::pair::{Pair, wildcard_of};
use crate::proto::address::Domain;

/// A certificate that is shown.
#[derive(Clone)]
pub(super) struct Entry {
    /// Whose it is. `None`: the server's.
    pub(super) domain: Option<Domain>,
    /// The file of its chain.
    pub(super) file: PathBuf,
    pub(super) pair: Arc<Pair>,
    /// Why what now lies in its files is not shown, on one line. `None`: it is.
    pub(super) trouble: Option<String>,
}

/// All certificates that are shown, found by name.
pub(super) struct Shown {
    server: Entry,
    of_domains: Vec<Entry>,
    /// Places in `of_domains`, by domain.
    domains: HashMap<String, usize>,
    /// Places in `of_domains`, by names in the certificates, some with `*`.
    names: HashMap<String, usize>,
}

impl Shown {
    pub(super) fn new(server: Entry, of_domains: Vec<Entry>) -> Shown {
        let (mut domains, mut names) = (HashMap::new(), HashMap::new());
        for (place, entry) in of_domains.iter().enumerate() {
            domains.extend(entry.domain.as_ref().map(|domain| (domain.to_string(), place)));
            for name in &entry.pair.names {
                names.entry(name.clone()).or_insert(place);
            }
        }
        Shown { server, of_domains, domains, names }
    }

    /// The server's own first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        std::iter::once(&self.server).chain(&self.of_domains)
    }

    /// The certificate for whoever asks for `name`: that of the domain it belongs to, or one that is for it; among these
    /// one that is for it goes first. Otherwise the server's.
    pub(super) fn choose(&self, name: Option<&str>) -> &Entry {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.server };
        let of_domain = self.of_domain(&name);
        if let Some(entry) = of_domain.filter(|entry| entry.pair.covers(&name)) {
            return entry;
        }
        let by_name = self.names.get(&name).or_else(|| self.names.get(&wildcard_of(&name)?));
        if let Some(entry) = by_name.and_then(|place| self.of_domains.get(*place)) {
            return entry;
        }
        of_domain.filter(|_| !self.server.pair.covers(&name)).unwrap_or(&self.server)
    }

    /// The certificate of the innermost domain that `name` is, or is below.
    fn of_domain(&self, name: &str) -> Option<&Entry> {
        let mut rest = Some(name);
        while let Some(domain) = rest {
            if let Some(place) = self.domains.get(domain) {
                return self.of_domains.get(*place);
            }
            rest = domain.split_once('.').map(|(_, above)| above);
        }
        None
    }
}

/// Shows each new handshake what is to be shown at that moment.
pub(super) struct Resolver(pub(super) Arc<ArcSwap<Shown>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.load();
        Some(Arc::clone(&shown.choose(hello.server_name()).pair.certified))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}
