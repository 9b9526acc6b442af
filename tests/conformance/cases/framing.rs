//! HTTP at its edges: what is one request, and what is none (RFC 9112, RFC 9113; docs/protocol.md §6, §7).

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::site::Site;
use crate::suite::{Case, ensure, must, same, should};
use crate::wire::http::{PREFIX, Reader, Reply, connect, read_reply};

/// Sends these bytes on a connection of its own; the first answer. An end without an answer is an error.
async fn raw(s: &Site, bytes: &[u8]) -> Result<Reply, String> {
    let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["http/1.1"]).await?;
    let _ = io.write_all(bytes).await;
    let _ = io.flush().await;
    read_reply(&mut io).await
}

/// Heads that are refused, or whose connection is simply closed. `{host}` stands for the server's name.
const REFUSED: [(&str, &str, &str); 13] = [
    (
        "both-lengths",
        "A body with both Content-Length and Transfer-Encoding",
        "Host: {host}\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "two-lengths",
        "Two Content-Length that differ",
        "Host: {host}\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    ),
    (
        "length-list",
        "A Content-Length that is a list of different ones",
        "Host: {host}\r\nContent-Length: 2, 3\r\n\r\n{}",
    ),
    ("length-text", "A Content-Length that is no number", "Host: {host}\r\nContent-Length: two\r\n\r\n{}"),
    ("length-negative", "A negative Content-Length", "Host: {host}\r\nContent-Length: -2\r\n\r\n{}"),
    ("length-plus", "A Content-Length with a sign", "Host: {host}\r\nContent-Length: +2\r\n\r\n{}"),
    (
        "unknown-coding",
        "A Transfer-Encoding that nobody knows",
        "Host: {host}\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ),
    (
        "chunked-not-last",
        "A Transfer-Encoding in which chunked is not the last",
        "Host: {host}\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "bad-chunk",
        "A chunk whose size is no number",
        "Host: {host}\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    ),
    (
        "huge-chunk",
        "A chunk whose size does not fit into 64 bits",
        "Host: {host}\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    ),
    (
        "space-in-name",
        "A header with a space before the colon",
        "Host: {host}\r\nContent-Length : 2\r\n\r\n{}",
    ),
    ("no-header", "A line that is no header", "Host: {host}\r\nhello\r\n\r\n"),
    (
        "control",
        "A control character in a header",
        "Host: {host}\r\nX-A: a\u{1}b\r\nContent-Length: 2\r\n\r\n{}",
    ),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = REFUSED
        .iter()
        .map(|&(id, what, head)| {
            let asks = format!("{what} is refused, and what follows is not taken for another request.");
            must(7, &format!("http1/{id}"), &asks, move |s| async move {
                let next = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\n\r\n", s.target.host);
                let head = head.replace("{host}", &s.target.host);
                let request = format!("POST {PREFIX}message HTTP/1.1\r\n{head}{next}");
                let mut io =
                    connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["http/1.1"]).await?;
                let _ = io.write_all(request.as_bytes()).await;
                let _ = io.flush().await;
                let mut reader = Reader::new(&mut io);
                let first = reader.next().await;
                if let Ok(reply) = &first {
                    ensure((400..600).contains(&reply.status), || reply.shown())?;
                }
                match reader.next().await {
                    Ok(second) => Err(format!("a second answer: {}", second.shown())),
                    Err(_) => Ok(()),
                }
            })
        })
        .collect();
    cases.extend(requests());
    cases.extend(connections());
    cases.extend(h2());
    cases
}

fn requests() -> Vec<Case> {
    vec![
        must(7, "http1/chunked", "A chunked body is taken.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let message = sender.signed(sender.message(&bob.address));
            let text = message.to_string();
            let (one, two) = text.split_at(text.len() / 2);
            let chunk = |part: &str| format!("{:X};note=1\r\n{part}\r\n", part.len());
            let head = format!(
                "POST {PREFIX}message HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n",
                s.target.host
            );
            let request = format!("{head}{}{}0\r\nX-Trailer: 1\r\n\r\n", chunk(one), chunk(two));
            raw(&s, request.as_bytes()).await?.accepted()?;
            bob.has(&message["nonce"]).await
        }),
        must(7, "http1/expect", "Who asks for it is told to go on before the body (100).", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let message = sender.signed(sender.message(&bob.address)).to_string();
            let mut io =
                connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["http/1.1"]).await?;
            let head = format!(
                "POST {PREFIX}message HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
                s.target.host,
                message.len()
            );
            io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
            same("interim answer", Reader::new(&mut io).next().await?.status, 100)?;
            io.write_all(message.as_bytes()).await.map_err(|e| e.to_string())?;
            read_reply(&mut io).await?.accepted()
        }),
        must(7, "http1/pieces", "A request may arrive byte by byte.", |s| async move {
            let mut io =
                connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["http/1.1"]).await?;
            let request = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\n\r\n", s.target.host);
            for byte in request.bytes() {
                io.write_all(&[byte]).await.map_err(|e| e.to_string())?;
                io.flush().await.map_err(|e| e.to_string())?;
            }
            read_reply(&mut io).await?.has_status(200)
        }),
        must(
            7,
            "http1/absolute-form",
            "A target with scheme and host is understood (RFC 9112 §3.2.2).",
            |s| async move {
                let host = &s.target.host;
                let request = format!("GET https://{host}{PREFIX}health HTTP/1.1\r\nHost: {host}\r\n\r\n");
                raw(&s, request.as_bytes()).await?.has_status(200)
            },
        ),
        should(7, "http1/two-hosts", "Two Host headers are refused (RFC 9112 §3.2).", |s| async move {
            let host = &s.target.host;
            let request = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {host}\r\nHost: other.test\r\n\r\n");
            raw(&s, request.as_bytes()).await?.has_status(400)
        }),
        should(7, "http1/no-host", "A request without Host is refused (RFC 9112 §3.2).", |s| async move {
            raw(&s, format!("GET {PREFIX}health HTTP/1.1\r\n\r\n").as_bytes()).await?.has_status(400)
        }),
        must(7, "http1/large-header", "A header of 1 MiB is refused.", |s| async move {
            let head = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\nX-A: ", s.target.host);
            let request = format!("{head}{}\r\n\r\n", "x".repeat(1 << 20));
            match raw(&s, request.as_bytes()).await {
                Ok(reply) => ensure((400..500).contains(&reply.status), || reply.shown()),
                Err(_) => Ok(()),
            }
        }),
        must(7, "http1/many-headers", "10,000 headers are refused.", |s| async move {
            let head = format!("GET {PREFIX}health HTTP/1.1\r\nHost: {}\r\n", s.target.host);
            let request = format!("{head}{}\r\n", "a: b\r\n".repeat(10_000));
            match raw(&s, request.as_bytes()).await {
                Ok(reply) => ensure((400..500).contains(&reply.status), || reply.shown()),
                Err(_) => Ok(()),
            }
        }),
        must(7, "http1/not-http", "What is no HTTP gets no answer but a refusal.", |s| async move {
            match raw(&s, b"EHLO client.example.org\r\nMAIL FROM:<>\r\n\r\n").await {
                Ok(reply) => ensure((400..600).contains(&reply.status), || reply.shown()),
                Err(_) => Ok(()),
            }
        }),
    ]
}

fn connections() -> Vec<Case> {
    vec![
        must(
            7,
            "http1/pipelined",
            "Requests sent one after the other on a connection are answered in order.",
            |s| async move {
                let mut io =
                    connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["http/1.1"]).await?;
                let one =
                    |path: &str| format!("GET {PREFIX}{path} HTTP/1.1\r\nHost: {}\r\n\r\n", s.target.host);
                let both = format!("{}{}{}", one("health"), one("capabilities"), one("health"));
                io.write_all(both.as_bytes()).await.map_err(|e| e.to_string())?;
                let mut reader = Reader::new(&mut io);
                let first = reader.next().await?.json();
                let second = reader.next().await?.json();
                let third = reader.next().await?.json();
                let in_order =
                    first["status"] == "healthy" && second["capabilities"].is_array() && third == first;
                ensure(in_order, || format!("{first} {second} {third}"))
            },
        ),
        must(
            7,
            "http1/after-refusal",
            "A refused message does not spoil the next one on its connection.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let good = sender.signed(sender.message(&bob.address)).to_string();
                let mut io =
                    connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &["http/1.1"]).await?;
                let post = |body: &str| {
                    let head = format!("POST {PREFIX}message HTTP/1.1\r\nHost: {}\r\n", s.target.host);
                    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
                };
                io.write_all(format!("{}{}", post("{}"), post(&good)).as_bytes())
                    .await
                    .map_err(|e| e.to_string())?;
                let mut reader = Reader::new(&mut io);
                reader.next().await?.refused(400, "550 5.6.0")?;
                reader.next().await?.accepted()
            },
        ),
    ]
}

fn h2() -> Vec<Case> {
    vec![
        should(6, "http2/transfer", "HTTP/2 is spoken where ALPN agrees on h2.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let message = sender.signed(sender.message(&bob.address));
            let h2 = s.h2(&["h2"]).await?;
            h2.send("POST", "message", &[], message.to_string().into_bytes()).await?.accepted()?;
            bob.has(&message["nonce"]).await
        }),
        should(6, "http2/at-once", "Many requests on one connection are answered.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let h2 = std::sync::Arc::new(s.h2(&["h2"]).await?);
            let tasks: Vec<_> = (0..20)
                .map(|_| {
                    let (h2, body) = (h2.clone(), sender.signed(sender.message(&bob.address)).to_string());
                    tokio::spawn(async move { h2.send("POST", "message", &[], body.into_bytes()).await })
                })
                .collect();
            for task in tasks {
                task.await.map_err(|e| e.to_string())??.accepted()?;
            }
            bob.counts(20).await
        }),
        should(
            6,
            "http2/preface",
            "HTTP/2 is recognised by its preface where ALPN agreed on nothing.",
            |s| async move { s.h2(&[]).await?.send("GET", "health", &[], Vec::new()).await?.has_status(200) },
        ),
        should(6, "http2/refusal", "Refusals have the same form over HTTP/2.", |s| async move {
            let h2 = s.h2(&["h2"]).await?;
            h2.send("POST", "message", &[], b"{".to_vec()).await?.refused(400, "550 5.6.0")?;
            h2.send("GET", "nowhere", &[], Vec::new()).await?.refused(404, "550 5.5.1")
        }),
        should(
            6,
            "http2/large",
            "A body that is too large is refused with 413 over HTTP/2, too.",
            |s| async move {
                let h2 = s.h2(&["h2"]).await?;
                h2.send("POST", "message", &[], vec![b' '; 2 << 20]).await?.refused(413, "552 5.3.4")
            },
        ),
        must(
            6,
            "http2/garbage",
            "Frames that are none end the connection, and nothing else.",
            |s| async move {
                let offered: &[&str] = &["h2", "http/1.1"];
                let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, offered).await?;
                let _ = io
                    .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
                    .await;
                let mut rest = Vec::new();
                let read = tokio::time::timeout(crate::suite::PATIENCE, io.read_to_end(&mut rest)).await;
                ensure(read.is_ok(), || "the connection stays open".to_owned())?;
                s.send(crate::wire::http::Call::get("health")).await?.has_status(200)
            },
        ),
    ]
}
