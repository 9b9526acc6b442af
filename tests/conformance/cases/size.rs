//! How large a message may be, and when it has to arrive (docs/protocol.md §2, Size).

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::site::Site;
use crate::suite::{Case, ensure, must, should};
use crate::wire::http::{Call, PREFIX, connect, read_reply};

/// How much less own agents may submit.
const RESERVE: usize = 4096;

/// The limit that the server states.
async fn limit(s: &Site) -> Result<usize, String> {
    let reply = s.send(Call::get("capabilities")).await?;
    let size = reply.json()["max_payload_size"].as_u64().and_then(|size| usize::try_from(size).ok());
    size.ok_or_else(|| format!("no max_payload_size in {}", reply.shown()))
}

/// The text of a message made as long as is wanted.
fn padded(message: &Value, bytes: usize) -> String {
    let text = message.to_string();
    let spaces = " ".repeat(bytes.saturating_sub(text.len()));
    format!("{}{spaces}}}", &text[..text.len() - 1])
}

/// The head of a `POST message`.
fn head(s: &Site, length: &str) -> String {
    format!("POST {PREFIX}message HTTP/1.1\r\nHost: {}\r\n{length}\r\n\r\n", s.target.host)
}

pub fn cases() -> Vec<Case> {
    vec![
        must(
            2,
            "size/transfer-at-limit",
            "A transfer of exactly `max_payload_size` bytes is taken.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let signed = sender.signed(sender.message(&bob.address));
                s.post(padded(&signed, limit(&s).await?)).await?.accepted()
            },
        ),
        must(
            2,
            "size/transfer-over-limit",
            "A transfer of one byte more than `max_payload_size` is refused with 413.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let signed = sender.signed(sender.message(&bob.address));
                s.post(padded(&signed, limit(&s).await? + 1)).await?.refused(413, "552 5.3.4")?;
                bob.counts(0).await
            },
        ),
        must(
            2,
            "size/submission-at-limit",
            "A submission may have 4,096 bytes less than `max_payload_size`.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let body = padded(&alice.message(&bob.address), limit(&s).await? - RESERVE);
                s.send(Call::post("message", body).basic(&alice.address, &alice.password)).await?.accepted()
            },
        ),
        should(
            2,
            "size/submission-over-limit",
            "A submission of more is refused with 413, so that signing cannot make it too large.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let body = padded(&alice.message(&bob.address), limit(&s).await? - RESERVE + 1);
                let call = Call::post("message", body).basic(&alice.address, &alice.password);
                s.send(call).await?.refused(413, "552 5.3.4")
            },
        ),
        must(
            2,
            "size/announced",
            "A body announced as too large is refused with 413 before it has been sent.",
            |s| async move {
                let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &[]).await?;
                let head = head(&s, &format!("Content-Length: {}", 1_u64 << 33));
                io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
                read_reply(&mut io).await?.refused(413, "552 5.3.4")
            },
        ),
        must(
            2,
            "size/chunked-without-end",
            "A body of unknown length is refused with 413 as soon as it is too large.",
            |s| async move {
                let limit = limit(&s).await?;
                let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &[]).await?;
                let head = head(&s, "Transfer-Encoding: chunked");
                io.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
                let chunk = [b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
                for _ in 0..limit / 0x10000 + 2 {
                    if io.write_all(&chunk).await.is_err() {
                        break;
                    }
                }
                read_reply(&mut io).await?.refused(413, "552 5.3.4")
            },
        ),
        should(
            2,
            "size/answer-is-not-lost",
            "The 413 arrives also at a sender that writes 3 MiB before it reads.",
            |s| async move { s.post(vec![b' '; 3 << 20]).await?.refused(413, "552 5.3.4") },
        ),
        must(
            2,
            "size/breaks-off",
            "A body that breaks off is refused with 408 and nothing delivered.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let body = sender.signed(sender.message(&bob.address)).to_string();
                let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &[]).await?;
                let request = format!("{}{body}", head(&s, &format!("Content-Length: {}", body.len() + 1)));
                io.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
                io.shutdown().await.map_err(|e| e.to_string())?;
                let reply = read_reply(&mut io).await;
                bob.counts(0).await?;
                reply?.refused(408, "450 4.4.2")
            },
        ),
        should(
            2,
            "size/too-slow",
            "A body that has not arrived after 30 s is refused with 408.",
            |s| async move {
                let mut io = connect(s.target.address, &s.target.host, Ipv4Addr::LOCALHOST, &[]).await?;
                let request = format!("{}{{", head(&s, "Content-Length: 2"));
                io.write_all(request.as_bytes()).await.map_err(|e| e.to_string())?;
                read_reply(&mut io).await?.refused(408, "450 4.4.2")
            },
        ),
        must(
            2,
            "size/too-large-for-a-peer",
            "A message larger than its peer's `max_payload_size` comes back with 552 5.3.4, without a try.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.present(&[crate::neighbour::capabilities(&["message", "rcpt", "fields"], 2000)]);
                let mut message = alice.message(&peer.agent("bob"));
                message["payload"] = json!({"body": "x".repeat(3000)});
                let nonce = alice.send(&message).await?;
                alice.gets_back(&nonce, "552 5.3.4").await?;
                let tries = peer.desk.messages().len();
                ensure(tries == 0, || format!("the peer was handed the message {tries} times"))
            },
        )
        .retried(),
    ]
}
