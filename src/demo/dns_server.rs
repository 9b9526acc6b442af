//! An authoritative DNS server for zone text, on UDP and TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::{LowerName, Name, RData, RecordSet, RecordType};
use hickory_server::proto::serialize::txt::Parser;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

/// How long an idle TCP connection is kept.
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers waiting on one TCP connection before it stops reading.
const TCP_ANSWERS_WAITING: usize = 32;
/// How often another port is tried, if the one TCP was given is taken for UDP.
const PORT_TRIES: usize = 16;

/// Why the zones cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ZoneError {
    /// The zone's text is not a zone's.
    #[error("zone {origin}: {wrong}")]
    Zone {
        /// The zone.
        origin: String,
        /// What is wrong with it.
        wrong: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
}

/// Where a server will answer, before it is known what: questions asked meanwhile wait in the sockets.
pub struct ZoneSockets {
    address: SocketAddr,
    tcp: TcpListener,
    udp: UdpSocket,
}

/// A running server; it stops when this value is dropped.
pub struct ZoneServer {
    address: SocketAddr,
    zones: Vec<(LowerName, Arc<InMemoryZoneHandler>)>,
    /// Its tasks end with it.
    server: Server<Catalog>,
}

impl ZoneSockets {
    /// Listens on an address. Port 0 takes any port that is free for UDP and TCP alike.
    ///
    /// # Errors
    /// [`ZoneError::Listen`].
    pub async fn bind(bind: SocketAddr) -> Result<ZoneSockets, ZoneError> {
        let bound = async {
            let (tcp, udp) = listen(bind).await?;
            Ok(ZoneSockets { address: tcp.local_addr()?, tcp, udp })
        };
        bound.await.map_err(|error| ZoneError::Listen { address: bind, error })
    }

    /// Where the server will answer, over UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves zones, given as (origin, text in the form of RFC 1035 §5 with an SOA record). Names outside the
    /// zones are refused.
    ///
    /// # Errors
    /// [`ZoneError::Zone`] if one cannot be read.
    pub fn serve(self, zones: &[(&str, &str)]) -> Result<ZoneServer, ZoneError> {
        let mut catalog = Catalog::new();
        let mut served = Vec::with_capacity(zones.len());
        for (origin, text) in zones {
            let (name, zone) = read(origin, text).map_err(|wrong| ZoneError::zone(origin, wrong))?;
            let zone = Arc::new(zone);
            catalog.upsert(name.clone(), vec![Arc::clone(&zone) as Arc<dyn ZoneHandler>]);
            served.push((name, zone));
        }
        let mut server = Server::new(catalog);
        server.register_socket(self.udp);
        server.register_listener(self.tcp, TCP_IDLE_TIMEOUT, TCP_ANSWERS_WAITING);
        Ok(ZoneServer { address: self.address, zones: served, server })
    }
}

impl ZoneServer {
    /// Binds and serves at once.
    ///
    /// # Errors
    /// As [`ZoneSockets::bind`] and [`ZoneSockets::serve`].
    pub async fn start(zones: &[(&str, &str)], bind: SocketAddr) -> Result<ZoneServer, ZoneError> {
        ZoneSockets::bind(bind).await?.serve(zones)
    }

    /// Answers from other text of one of its zones from now on; no question goes unanswered meanwhile.
    ///
    /// # Errors
    /// [`ZoneError::Zone`] if it cannot be read, or if there is no such zone.
    pub async fn change(&self, origin: &str, text: &str) -> Result<(), ZoneError> {
        let (name, mut next) = read(origin, text).map_err(|wrong| ZoneError::zone(origin, wrong))?;
        let zone = self.zones.iter().find_map(|(served, zone)| (*served == name).then_some(zone));
        let zone = zone.ok_or_else(|| ZoneError::zone(origin, "it is not served here".to_owned()))?;
        *zone.records_mut().await = std::mem::take(next.records_get_mut());
        Ok(())
    }

    /// Where it answers, over UDP and TCP.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl ZoneError {
    fn zone(origin: &str, wrong: String) -> ZoneError {
        ZoneError::Zone { origin: origin.to_owned(), wrong }
    }
}

impl Drop for ZoneServer {
    fn drop(&mut self) {
        self.server.shutdown_token().cancel();
    }
}

fn read(origin: &str, text: &str) -> Result<(LowerName, InMemoryZoneHandler), String> {
    let mut name = Name::from_ascii(origin).map_err(|error| error.to_string())?;
    name.set_fqdn(true);
    let (_, mut records) =
        Parser::new(text, None, Some(name.clone())).parse().map_err(|error| error.to_string())?;
    records.values_mut().try_for_each(|set| complete_svcb(set, &name))?;
    let zone = InMemoryZoneHandler::new(name.clone(), records, ZoneType::Primary, AxfrPolicy::Deny)?;
    Ok((name.into(), zone))
}

/// Makes good what hickory's parser leaves of SVCB records as it stood in the text: parameters in any order,
/// where the wire wants that of their numbers (RFC 9460 §2.2), and targets relative to the origin.
fn complete_svcb(set: &mut RecordSet, origin: &Name) -> Result<(), String> {
    if set.record_type() != RecordType::SVCB {
        return Ok(());
    }
    let mut records: Vec<_> = set.records_without_rrsigs().cloned().collect();
    for record in &mut records {
        let RData::SVCB(svcb) = &mut record.data else { continue };
        svcb.svc_params.sort_by_key(|(key, _)| *key);
        if !svcb.target_name.is_fqdn() {
            svcb.target_name =
                svcb.target_name.clone().append_domain(origin).map_err(|error| error.to_string())?;
        }
    }
    set.set_records(records);
    Ok(())
}

async fn listen(bind: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let mut tries = PORT_TRIES;
    loop {
        let tcp = TcpListener::bind(bind).await?;
        tries -= 1;
        match UdpSocket::bind(tcp.local_addr()?).await {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) if bind.port() != 0 || tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}
