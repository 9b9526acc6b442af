//! What a sending server does with an answer (docs/protocol.md §9).

use std::time::Duration;

use serde_json::{Value, json};

use crate::neighbour::Form;
use crate::suite::{Case, ensure, must, same, should};
use crate::wire::peer::Answer;

/// Answers after which a message is tried again.
fn again() -> Vec<(&'static str, &'static str, Answer)> {
    let json = |status, body: Value| Answer::Json(status, Vec::new(), body);
    vec![
        ("4xx-class-4", "A code of class 4, whatever the status", Answer::refusal(400, "450 4.6.1")),
        ("451", "451 with a code of class 4", Answer::refusal(451, "451 4.7.26")),
        ("503-coded", "503 with a code of class 4", Answer::refusal(503, "452 4.3.1")),
        ("policy-denied", "5.7.26: policies take time to spread", Answer::refusal(403, "550 5.7.26")),
        ("bad-signature", "5.7.28: keys take time to spread", Answer::refusal(403, "550 5.7.28")),
        ("bad-key", "5.7.29: keys take time to spread", Answer::refusal(403, "550 5.7.29")),
        ("408", "408 without a code", Answer::error(408, "Slow")),
        ("425", "425 without a code", Answer::error(425, "Early")),
        ("429", "429 without a code", Answer::error(429, "Too many")),
        ("451-bare", "451 without a code", Answer::error(451, "DNS")),
        ("500", "500 without a code", Answer::error(500, "Fault")),
        ("503", "503 without a code", Answer::error(503, "Busy")),
        ("599", "Any other 5xx", Answer::error(599, "Fault")),
        ("200", "A 200, which is not 202", json(200, json!({"status": "accepted"}))),
        ("204", "A 2xx without a body", Answer::Raw(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())),
        ("page-403", "A page of HTML with 403: a proxy may have answered", Answer::page(403)),
        ("page-404", "A page of HTML with 404", Answer::page(404)),
        ("page-500", "A page of HTML with 500", Answer::page(500)),
        ("json-without-error", "JSON without `error`", json(403, json!({"detail": "no"}))),
        ("json-array", "JSON that is no object", json(400, json!(["no"]))),
        ("not-http", "What is no HTTP", Answer::Raw(b"220 mail.example.org ESMTP\r\n".to_vec())),
        ("cut-head", "An answer that breaks off in its head", Answer::Raw(b"HTTP/1.1 202 Acc".to_vec())),
        ("hang-up", "No answer", Answer::HangUp),
    ]
}

/// Answers after which it comes back, and the code it comes back with.
fn never() -> Vec<(&'static str, &'static str, Answer, &'static str)> {
    vec![
        ("404-coded", "5.1.1", Answer::refusal(404, "550 5.1.1"), "550 5.1.1"),
        ("400-coded", "5.6.0", Answer::refusal(400, "550 5.6.0"), "550 5.6.0"),
        ("409-coded", "5.6.0 with 409", Answer::refusal(409, "550 5.6.0"), "550 5.6.0"),
        ("413-coded", "5.3.4", Answer::refusal(413, "552 5.3.4"), "552 5.3.4"),
        ("not-wanted", "5.7.1", Answer::refusal(403, "550 5.7.1"), "550 5.7.1"),
        ("policy-broken", "5.7.27", Answer::refusal(403, "550 5.7.27"), "550 5.7.27"),
        (
            "503-class-5",
            "A code of class 5, whatever the status",
            Answer::refusal(503, "554 5.7.7"),
            "554 5.7.7",
        ),
        ("400-bare", "400 without a code", Answer::error(400, "Bad"), "550 5.0.0"),
        ("403-bare", "403 without a code", Answer::error(403, "No"), "550 5.0.0"),
        ("404-bare", "404 without a code", Answer::error(404, "No"), "550 5.0.0"),
        ("413-bare", "413 without a code", Answer::error(413, "Large"), "550 5.0.0"),
        ("unreadable-code", "400 with a code that is none", Answer::refusal(400, "no code"), "550 5.0.0"),
    ]
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, what, answer) in again() {
        let asks = format!("{what}: the message is tried again, under its nonce and signed.");
        cases.push(must(9, &format!("again/{id}"), &asks, move |s| {
            let answer = answer.clone();
            async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.answer(&[answer, Answer::accepted()]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let got = peer.gets(2).await?.remove(1).json();
                same("nonce", &got["nonce"], &nonce)?;
                peer.verify(&got, Form::Rfc8785)?;
                alice.counts(0).await
            }
        }));
    }
    for (id, what, answer, code) in never() {
        let asks = format!("{what}: the message comes back at once, and is not tried again.");
        cases.push(must(9, &format!("never/{id}"), &asks, move |s| {
            let answer = answer.clone();
            async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.answer(&[answer]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                alice.gets_back(&nonce, code).await?;
                same("attempts", peer.desk.messages().len(), 1)
            }
        }));
    }
    cases.extend(others());
    cases.into_iter().map(Case::retried).collect()
}

fn others() -> Vec<Case> {
    let mut cases: Vec<Case> = [301, 302, 307, 308]
        .map(|status| {
            let asks = format!("A {status} is not followed; the message is tried again where it was.");
            must(9, &format!("redirect/{status}"), &asks, move |s| async move {
                let (alice, peer, other) = (s.agent().await?, s.peer().await?, s.peer().await?);
                let to =
                    format!("https://{}:{}/.well-known/atp/v1/message", other.host, other.address.port());
                let moved = Answer::Json(status, vec![("Location", to)], json!({}));
                peer.desk.answer(&[moved, Answer::accepted()]);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                peer.gets(2).await?;
                ensure(other.desk.heard().is_empty(), || "it was followed".to_owned())
            })
        })
        .into();
    cases.extend([
        must(9, "done/202", "After 202 the message is handed over no more.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(1).await?;
            tokio::time::sleep(Duration::from_secs(4)).await;
            same("attempts", peer.desk.messages().len(), 1)?;
            alice.counts(0).await
        }),
        must(9, "done/already-accepted", "202 `already_accepted` is as good.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let body = json!({"status": "already_accepted", "nonce": "any", "timestamp": 0});
            peer.desk.answer(&[Answer::HangUp, Answer::Json(202, Vec::new(), body)]);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(2).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            same("attempts", peer.desk.messages().len(), 2)?;
            alice.counts(0).await
        }),
        must(9, "done/202-cut", "202 counts, even if its body breaks off.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let cut = b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\n{\"sta".to_vec();
            peer.desk.answer(&[Answer::Raw(cut)]);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(1).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            same("attempts", peer.desk.messages().len(), 1)
        }),
        should(9, "again/retry-after", "`Retry-After` is waited for.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let wait = ("Retry-After", "5".to_owned());
            let body = json!({"error": "Busy", "error_code": "452 4.3.1"});
            peer.desk.answer(&[Answer::Json(503, vec![wait], body), Answer::accepted()]);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            let got = peer.gets(2).await?;
            let between = got[1].at - got[0].at;
            ensure(between >= Duration::from_millis(4500), || format!("tried again after {between:?}"))
        }),
        must(9, "again/afresh", "Every attempt is signed afresh.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let wait = ("Retry-After", "2".to_owned());
            let body = json!({"error": "Busy", "error_code": "452 4.3.1"});
            peer.desk.answer(&[Answer::Json(503, vec![wait], body), Answer::accepted()]);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            let got = peer.gets(2).await?;
            let stamp =
                |index: usize| got[index].json()["signature"]["timestamp"].as_i64().unwrap_or_default();
            ensure(stamp(1) > stamp(0), || format!("signed at {} and {}", stamp(0), stamp(1)))
        }),
        must(
            10,
            "again/same-shape",
            "After an attempt without an answer the next has the same `to`, `cc`, nonce and recipient.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let other = s.agent().await?;
                peer.desk.answer(&[Answer::HangUp, Answer::accepted()]);
                let mut message = alice.message(&other.address);
                message["cc"] = json!([peer.agent("carol")]);
                alice.send(&message).await?;
                let got: Vec<Value> = peer.gets(2).await?.iter().map(|request| request.json()).collect();
                for name in ["from", "to", "cc", "nonce", "timestamp", "payload", "routing"] {
                    same(name, &got[1][name], &got[0][name])?;
                }
                Ok(())
            },
        ),
        must(
            9,
            "again/stale",
            "At 4.6.0 the message is stamped anew; `submitted_at` keeps the author's time.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.answer(&[Answer::refusal(400, "450 4.6.0"), Answer::accepted()]);
                let mut message = alice.message(&peer.agent("bob"));
                message["timestamp"] = json!(crate::suite::now() - 1000);
                alice.send(&message).await?;
                let got = peer.gets(2).await?.remove(1).json();
                let is_new = got["timestamp"].as_i64() > message["timestamp"].as_i64();
                ensure(is_new, || got["timestamp"].to_string())?;
                same("submitted_at", &got["routing"]["atp"]["submitted_at"], &message["timestamp"])
            },
        ),
        must(
            10,
            "again/same-target",
            "After an attempt without an answer a message goes back to that target.",
            |s| async move {
                let (alice, peer, other) = (s.agent().await?, s.peer().await?, s.peer().await?);
                peer.services(vec![peer.service(1), other.service(2)]);
                peer.desk.answer(&[Answer::HangUp, Answer::HangUp, Answer::accepted()]);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                peer.gets(3).await?;
                ensure(other.desk.messages().is_empty(), || "it went to the other".to_owned())
            },
        ),
    ]);
    cases
}
