//! Certificates over real sockets: which one is shown to whom, and what a server demands of others.

mod authority;
mod destinations;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use atp::config::home::Home;
use atp::config::{self, Overrides};
use atp::daemon::{self, Daemon};
use atp::env::dial::{Dial as _, Endpoint, Trust};
use atp::env::tls::TlsDial;
use atp::proto::address::Domain;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;

use self::authority::{Authority, Issued};
use crate::support::https::{Call, Client, PATIENCE};

/// How often it is asked again what is shown.
const POLL_PAUSE: Duration = Duration::from_millis(50);

/// A server with files of certificates.
struct Server {
    daemon: Daemon,
    dir: TempDir,
}

impl Server {
    async fn start(dir: TempDir, text: &str) -> Result<Server, String> {
        let file = dir.path().join("atp.toml");
        std::fs::write(&file, text).unwrap();
        let config = config::load(Some(&file), Overrides::default()).unwrap();
        let home = Home::locate(Some(dir.path().join("home"))).unwrap();
        let daemon = daemon::start(&config, &home).await.map_err(|error| error.to_string())?;
        Ok(Server { daemon, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn address(&self) -> SocketAddr {
        self.daemon.address()
    }

    /// SHA-256 of the certificate that is shown to whoever asks for `name`.
    async fn shows(&self, name: &str) -> [u8; 32] {
        let endpoint = Endpoint { address: self.address(), name: name.into(), trust: Trust::Unverified };
        let connection = TlsDial::new(Vec::new()).dial(&endpoint).await.unwrap();
        connection.certificate_sha256.unwrap()
    }

    async fn comes_to_show(&self, name: &str, wanted: &Issued) {
        let until = Instant::now() + PATIENCE;
        while self.shows(name).await != wanted.sha256() {
            assert!(Instant::now() < until, "{name} is not shown what it should be");
            sleep(POLL_PAUSE).await;
        }
    }
}

const ONE: &str = "domains = [\"a.test\"]\n[server]\nport = 0\ncert = \"a.crt\"\nkey = \"a.key\"\n";

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
    let authority = Authority::new();
    let (first, second) = (authority.issue(&["atp.a.test"]), authority.issue(&["atp.a.test"]));
    let dir = tempfile::tempdir().unwrap();
    first.write(dir.path(), "a");
    let server = Server::start(dir, ONE).await.unwrap();
    let open = [Client::http2(server.address()).await, Client::http1(server.address()).await];
    assert_eq!(server.shows("atp.a.test").await, first.sha256());

    std::fs::write(server.path("a.crt"), "half of a certif").unwrap();
    let looks = Instant::now() + Duration::from_millis(2500);
    while Instant::now() < looks {
        assert_eq!(server.shows("atp.a.test").await, first.sha256(), "a broken one is not shown");
        sleep(POLL_PAUSE).await;
    }
    second.write(server.dir.path(), "a");
    server.comes_to_show("atp.a.test", &second).await;
    for client in open {
        assert_eq!(client.send(Call::get("capabilities")).await.status, 200);
    }
}

#[tokio::test]
async fn a_session_is_resumed_after_the_certificate_was_replaced() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    authority.issue(&["atp.a.test"]).write(dir.path(), "a");
    let server = Server::start(dir, ONE).await.unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let handshake = async || {
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        let name = ServerName::try_from("atp.a.test").unwrap();
        let mut tls = TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await.unwrap();
        let request = b"GET /.well-known/atp/v1/health HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        tls.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        let _ = tls.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        tls.get_ref().1.handshake_kind()
    };
    assert_ne!(handshake().await, Some(HandshakeKind::Resumed));
    let next = authority.issue(&["atp.a.test"]);
    next.write(server.dir.path(), "a");
    server.comes_to_show("atp.a.test", &next).await;
    assert_eq!(handshake().await, Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn every_domain_is_served_with_its_own_certificate() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let (host, a, b) =
        (authority.issue(&["host.test"]), authority.issue(&["atp.a.test"]), authority.issue(&["*.b.test"]));
    host.write(dir.path(), "host");
    a.write(dir.path(), "a");
    b.write(dir.path(), "b");
    let text = "domains = [\"a.test\", \"b.test\", \"c.test\"]\n\
                [server]\nport = 0\ncert = \"host.crt\"\nkey = \"host.key\"\n\
                [domain.\"a.test\"]\ncert = \"a.crt\"\nkey = \"a.key\"\n\
                [domain.\"b.test\"]\ncert = \"b.crt\"\nkey = \"b.key\"\n";
    let server = Server::start(dir, text).await.unwrap();
    for (name, want) in [
        ("atp.a.test", &a),
        ("a.test", &a),
        ("atp.b.test", &b),
        ("atp.c.test", &host),
        ("host.test", &host),
        ("elsewhere.example", &host),
        // An address is never asked for by SNI.
        ("127.0.0.1", &host),
    ] {
        assert_eq!(server.shows(name).await, want.sha256(), "{name}");
    }
    let next = authority.issue(&["atp.a.test"]);
    next.write(server.dir.path(), "a");
    server.comes_to_show("atp.a.test", &next).await;
    assert_eq!(server.shows("atp.b.test").await, b.sha256());
    // What neighbours on this machine are told to expect.
    let local = atp::env::local::LocalDirectory::new(&server.path("home"));
    let until = Instant::now() + PATIENCE;
    for (domain, want) in [("a.test", &next), ("b.test", &b), ("c.test", &host)] {
        let domain = Domain::parse(domain).unwrap();
        while local.read(&domain).unwrap().unwrap().certificate_sha256 != want.sha256() {
            assert!(Instant::now() < until, "{domain} is not published anew");
            sleep(POLL_PAUSE).await;
        }
    }
}

#[tokio::test]
async fn a_server_does_not_start_with_a_certificate_that_has_expired_unless_it_is_told_to() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let old = authority.issue_until(&["atp.a.test"], 2020);
    old.write(dir.path(), "a");
    let copy = tempfile::tempdir().unwrap();
    old.write(copy.path(), "a");
    let error = Server::start(dir, ONE).await.err().unwrap();
    assert!(error.contains("a.crt expired on 2020-01-01 00:00:00 UTC"), "{error}");
    assert!(error.contains("--allow-expired-certificate") && !error.contains('\n'), "{error}");
    let allowed = format!("{ONE}allow_expired_certificate = true\n");
    let server = Server::start(copy, &allowed).await.unwrap();
    assert_eq!(server.shows("atp.a.test").await, old.sha256());
}
