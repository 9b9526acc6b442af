use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn issuer(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(issuer: &CertifiedIssuer<'_, KeyPair>, name: &str, last_year: i32) -> Chain {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

fn pin(chain: &Chain) -> [u8; 32] {
    Sha256::digest(&chain.0[0]).into()
}

/// A server that answers one connection with `hello`.
async fn serve(chain: Chain, alpn: &[&[u8]]) -> std::net::SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.0, chain.1)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        if let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await {
            tls.write_all(b"hello").await.unwrap();
            tls.shutdown().await.unwrap();
        }
    });
    address
}

async fn dial(
    dialer: &TlsDial,
    address: std::net::SocketAddr,
    name: &str,
    trust: Trust,
) -> Result<String, String> {
    let endpoint = Endpoint { address, name: name.to_owned(), trust };
    let mut connection = dialer.dial(&endpoint).await.map_err(|error| error.to_string())?;
    let mut text = String::new();
    connection.io.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
    Ok(match connection.alpn {
        Some(alpn) => format!("{text} over {}", String::from_utf8(alpn).unwrap()),
        None => text,
    })
}

#[tokio::test]
async fn certificates_are_judged_as_the_trust_says() {
    let (ours, theirs) = (issuer("ours"), issuer("theirs"));
    let home = tempfile::tempdir().unwrap();
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, theirs.pem()).unwrap();
    let ca = Authorities::read(&ca).unwrap();
    let dialer = TlsDial::new(vec![ours.der().clone()]);
    let name = "atp.bob.local";
    let good = || leaf(&ours, name, 2200);
    let foreign = || leaf(&theirs, name, 2200);
    let (one, other) = (foreign(), foreign());
    let (pin_one, pin_other) = (pin(&one), pin(&other));
    for (case, chain, trust, want) in [
        ("roots", good(), Trust::Roots, Ok("hello over h2")),
        ("foreign issuer", foreign(), Trust::Roots, Err("is from an issuer we do not trust")),
        ("its CA file", foreign(), Trust::Authorities(ca.clone()), Ok("hello over h2")),
        ("another CA file", good(), Trust::Authorities(ca), Err("is from an issuer we do not trust")),
        (
            "other name",
            leaf(&ours, "eve.local", 2200),
            Trust::Roots,
            Err("is not for atp.bob.local but for eve.local"),
        ),
        (
            "a name that steers terminals",
            leaf(&ours, "a\u{1b}[2Jb", 2200),
            Trust::Roots,
            Err("but for a\\u{1b}[2Jb"),
        ),
        ("expired", leaf(&ours, name, 2020), Trust::Roots, Err("of atp.bob.local has expired")),
        ("pinned", one, Trust::Pin(pin_one), Ok("hello over h2")),
        ("other pin", good(), Trust::Pin(pin_other), Err("is not the one expected of it: its SHA-256 is ")),
        ("unverified", leaf(&theirs, "eve.local", 2020), Trust::Unverified, Ok("hello over h2")),
    ] {
        let address = serve(chain, &[b"h2", b"http/1.1"]).await;
        match (dial(&dialer, address, name, trust).await, want) {
            (Ok(text), Ok(want)) => assert_eq!(text, want, "{case}"),
            (Err(error), Err(want)) => assert!(error.contains(want), "{case}: {error}"),
            (got, want) => panic!("{case}: got {got:?}, want {want:?}"),
        }
    }
}

#[tokio::test]
async fn an_address_can_be_the_name() {
    let issuer = issuer("ours");
    let dialer = TlsDial::new(vec![issuer.der().clone()]);
    let address = serve(leaf(&issuer, "127.0.0.1", 2200), &[]).await;
    assert_eq!(dial(&dialer, address, "127.0.0.1", Trust::Roots).await.as_deref(), Ok("hello"));
}

#[tokio::test]
async fn what_cannot_be_negotiated_is_said_in_a_sentence() {
    let issuer = issuer("ours");
    let dialer = TlsDial::new(vec![issuer.der().clone()]);
    let other = serve(leaf(&issuer, "bob.local", 2200), &[b"smtp"]).await;
    let error = dial(&dialer, other, "bob.local", Trust::Roots).await.unwrap_err();
    assert!(error.contains("speaks neither h2"), "{error}");

    // A fatal alert (RFC 8446 §6), as a server sends that ends at TLS 1.2.
    const PROTOCOL_VERSION: &[u8] = &[21, 3, 3, 0, 2, 2, 70];
    for (first_bytes, want) in [
        (PROTOCOL_VERSION, "does not speak TLS 1.3"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer with TLS"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 4096]).await;
            tcp.write_all(first_bytes).await.unwrap();
        });
        let error = dial(&dialer, address, "bob.local", Trust::Roots).await.unwrap_err();
        assert!(error.contains(want), "{error}");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_silent_peer_are_told_apart() {
    let dialer = TlsDial::new(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = dial(&dialer, address, "bob.local", Trust::Roots).await.unwrap_err();
    assert!(error.starts_with("cannot connect: "), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let accepted = tokio::spawn(async move { silent.accept().await.unwrap() });
    let waiting = tokio::spawn(async move { dial(&dialer, address, "bob.local", Trust::Roots).await });
    let _open = accepted.await.unwrap();
    // Paused only now: the connection is there, what remains is the wait.
    tokio::time::pause();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error, "no answer while negotiating TLS");
}
