//! TLS, in both directions (docs/protocol.md §6).

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::suite::{Case, PATIENCE, ensure, must, same, should, until};
use crate::wire::dns_message::Svcb;
use crate::wire::http::{Call, PREFIX, connect, read_reply, tcp};
use crate::wire::peer::listen;
use crate::wire::tls::Authority;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// A handshake message in a record.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    [&[HANDSHAKE, 3, 3][..], &length(body.len() + 4), &[kind, 0], &length(body.len()), body].concat()
}

/// The first message of a client that speaks TLS 1.2 and nothing newer.
fn client_hello_12() -> Vec<u8> {
    let extensions = [
        &[0, 0x0a, 0, 6, 0, 4, 0, 0x1d, 0, 0x17][..],
        &[0, 0x0b, 0, 2, 1, 0],
        &[0, 0x0d, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1],
    ]
    .concat();
    let length = u16::try_from(extensions.len()).unwrap_or(0).to_be_bytes();
    let ciphers = [0, 8, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30];
    let body = [&[3, 3][..], &[7; 32], &[0], &ciphers, &[1, 0], &length, &extensions].concat();
    record(1, &body)
}

/// The answer of a server that speaks nothing newer.
fn server_hello_12() -> Vec<u8> {
    record(2, &[&[3, 3][..], &[9; 32], &[0], &[0xc0, 0x2f], &[0]].concat())
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(
            6,
            "tls/1.2-refused",
            "A client that speaks nothing newer than TLS 1.2 is refused.",
            |s| async move {
                let mut io = tcp(s.target.address, Ipv4Addr::LOCALHOST).await?;
                io.write_all(&client_hello_12()).await.map_err(|e| e.to_string())?;
                let mut answer = [0; 7];
                let read = tokio::time::timeout(PATIENCE, io.read_exact(&mut answer)).await;
                match read.map_err(|_| "neither an answer nor an end".to_owned())? {
                    Ok(_) => same("kind of record", answer[0], ALERT),
                    // Closed without a word.
                    Err(_) => Ok(()),
                }
            },
        ),
        must(6, "tls/plain-refused", "HTTP without TLS is not answered with mail.", |s| async move {
            let mut io = tcp(s.target.address, Ipv4Addr::LOCALHOST).await?;
            let head = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\n\r\n", s.target.host);
            io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(PATIENCE, io.read_to_end(&mut answer)).await;
            ensure(!answer.starts_with(b"HTTP/1.1 200"), || String::from_utf8_lossy(&answer).into_owned())
        }),
        must(6, "tls/no-alpn", "A client that offers no ALPN is answered over HTTP/1.1.", |s| async move {
            let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &[]).await?;
            let head = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\n\r\n", s.target.host);
            io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
            read_reply(&mut io).await?.has_status(200)
        }),
        should(6, "tls/atp-1", "`atp/1` is agreed on, and is HTTP/1.1.", |s| async move {
            let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["atp/1"]).await?;
            same("ALPN", io.get_ref().1.alpn_protocol(), Some(&b"atp/1"[..]))?;
            let head = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\n\r\n", s.target.host);
            io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
            read_reply(&mut io).await?.has_status(200)
        }),
        should(6, "tls/prefers-h2", "Of several the server takes h2, then http/1.1.", |s| async move {
            for (offered, wanted) in
                [(&["atp/1", "http/1.1", "h2"][..], "h2"), (&["atp/1", "http/1.1"], "http/1.1")]
            {
                let io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, offered).await?;
                same("ALPN", io.get_ref().1.alpn_protocol(), Some(wanted.as_bytes()))?;
            }
            Ok(())
        }),
    ];
    cases.extend(outward());
    cases.extend(mistrusted());
    cases
}

fn outward() -> Vec<Case> {
    vec![
        must(6, "tls/sni", "The name in SNI is the target of the SVCB record.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            let request = peer.gets(1).await?.remove(0);
            same("SNI", request.name, Some(peer.host.clone()))
        }),
        should(6, "tls/offers", "A sender offers h2, http/1.1 and atp/1, in this order.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(1).await?;
            let offered = peer.desk.offered().first().cloned().unwrap_or_default();
            same("ALPN", offered, ["h2", "http/1.1", "atp/1"].map(str::to_owned).to_vec())
        }),
        must(
            6,
            "tls/peer-without-alpn",
            "A peer that agrees on nothing in ALPN is spoken to over HTTP/1.1.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.show(&[&peer.host], &[])?;
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                same("ALPN", peer.gets(1).await?.remove(0).protocol, None)
            },
        ),
        should(
            6,
            "tls/peer-atp-1",
            "A peer that agrees on atp/1 is spoken to over HTTP/1.1.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.show(&[&peer.host], &["atp/1"])?;
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                same("ALPN", peer.gets(1).await?.remove(0).protocol.as_deref(), Some("atp/1"))
            },
        ),
        should(6, "tls/peer-h2", "A peer that agrees on h2 is spoken to over HTTP/2.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            peer.show(&[&peer.host], &["h2"])?;
            let message = alice.message(&peer.agent("bob"));
            alice.send(&message).await?;
            let request = peer.gets(1).await?.remove(0);
            same("ALPN", request.protocol.as_deref(), Some("h2"))?;
            same("nonce", &request.json()["nonce"], &message["nonce"])
        }),
        must(
            6,
            "tls/peer-1.2",
            "A peer that speaks nothing newer than TLS 1.2 is not spoken to.",
            |s| async move {
                let (alice, domain) = (s.agent().await?, s.fresh_domain());
                let (listener, address) = listen((Ipv4Addr::LOCALHOST, 0).into()).await?;
                let host = format!("atp.{domain}");
                s.place(&host, address);
                let service = Svcb::new(1, &host).port(address.port());
                s.dns.set(
                    &format!("_atp.{domain}"),
                    crate::wire::dns_message::kind::SVCB,
                    vec![service.data()],
                );
                alice.send(&alice.message(&format!("bob@{domain}"))).await?;
                let accepted = tokio::time::timeout(PATIENCE, listener.accept()).await;
                let (mut io, _) =
                    accepted.map_err(|_| "nobody connected".to_owned())?.map_err(|e| e.to_string())?;
                let mut hello = [0; 4096];
                let _ = io.read(&mut hello).await;
                io.write_all(&server_hello_12()).await.map_err(|e| e.to_string())?;
                let mut rest = Vec::new();
                let ended = tokio::time::timeout(PATIENCE, io.read_to_end(&mut rest)).await;
                ensure(ended.is_ok(), || "the connection stays open".to_owned())?;
                ensure(rest.first().is_none_or(|kind| *kind == ALERT), || {
                    format!("it went on with {:?}", rest.first())
                })
            },
        ),
    ]
}

/// Certificates that are not accepted; once the right one is shown the message arrives.
fn mistrusted() -> Vec<Case> {
    let list = [
        ("wrong-name", "A peer whose certificate is for another name"),
        ("expired", "A peer whose certificate has expired"),
        ("unknown-authority", "A peer whose certificate is of an unknown authority"),
    ];
    list.map(|(id, what)| {
        let asks = format!("{what} is handed nothing; the message arrives once it shows a good one.");
        must(6, &format!("tls/{id}"), &asks, move |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let shown = match id {
                "wrong-name" => s.authority.issue(&["elsewhere.test"]),
                "expired" => s.authority.issue_until(&[&peer.host], 2021),
                _ => Authority::new().and_then(|other| other.issue(&[&peer.host])),
            };
            peer.desk.change(shown.map_err(|e| e.to_string())?.server(&["http/1.1"])?);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            until("a handshake that fails", || async { Ok((peer.desk.failed() > 0).then_some(())) }).await?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            ensure(peer.desk.heard().is_empty(), || "it was asked something".to_owned())?;
            peer.show(&[&peer.host], &["http/1.1"])?;
            peer.gets(1).await?;
            alice.counts(0).await
        })
        .retried()
    })
    .into_iter()
    .chain([must(
        6,
        "tls/other-names-of-it",
        "One name of several in a certificate is enough.",
        |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            peer.show(&["elsewhere.test", &peer.host], &["http/1.1"])?;
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(1).await?;
            s.send(Call::get("health")).await?.has_status(200)
        },
    )])
    .collect()
}
