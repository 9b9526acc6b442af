//! An authoritative DNS server on loopback, for processes that are told of it with `--dns-server`.

use std::net::{Ipv4Addr, SocketAddr};

use atp::demo::dns_server::ZoneServer;
use tokio::runtime::Runtime;

/// What every zone begins with.
pub const HEAD: &str = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n";

/// A running DNS server; it ends with this value.
pub struct Dns {
    server: ZoneServer,
    /// Its tasks run there.
    runtime: Runtime,
}

impl Dns {
    /// Serves a zone: its origin, and its records beside [`HEAD`].
    pub fn start(origin: &str, records: &str) -> Dns {
        Dns::start_at(&[(origin, records)], SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Serves several zones.
    pub fn of(zones: &[(&str, &str)]) -> Dns {
        Dns::start_at(zones, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Serves other records of a zone from now on, and leaves no question unanswered meanwhile.
    pub fn change(&self, origin: &str, records: &str) {
        let zone = format!("{HEAD}{records}");
        self.runtime.block_on(self.server.change(origin, &zone)).expect("a zone");
    }

    /// Serves other records of a zone from now on, at the same address.
    pub fn again(self, origin: &str, records: &str) -> Dns {
        let address = self.server.addr();
        drop(self);
        Dns::start_at(&[(origin, records)], address)
    }

    fn start_at(zones: &[(&str, &str)], bind: SocketAddr) -> Dns {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let texts: Vec<_> =
            zones.iter().map(|(origin, records)| (*origin, format!("{HEAD}{records}"))).collect();
        let zones: Vec<_> = texts.iter().map(|(origin, text)| (*origin, text.as_str())).collect();
        let server = runtime.block_on(ZoneServer::start(&zones, bind)).expect("a DNS server");
        Dns { server, runtime }
    }

    /// What `--dns-server` takes.
    pub fn address(&self) -> String {
        self.server.addr().to_string()
    }
}
