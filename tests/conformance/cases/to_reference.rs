//! What a sending server hands to the reference (docs/protocol.md §4, §10 Towards the reference).

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::neighbour::Form;
use crate::suite::{Case, ensure, must, now, same};
use crate::wire::peer::Answer;

/// What the reference says to a nonce that it knows.
fn replay() -> Answer {
    Answer::error(400, "Replay detected")
}

/// The nonce of a further copy (docs/protocol.md §4).
fn derived(prefix: &str, from: &str, nonce: &Value, recipient: &str) -> String {
    let nonce = nonce.as_str().unwrap_or_default();
    let digest = Sha256::digest(format!("{from}\0{nonce}\0{recipient}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}", &hex[..32])
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(
            3,
            "to-reference/signature",
            "Towards the reference its own canonical form is signed.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["payload"] =
                serde_json::from_str(r#"{"tiny":1e-7,"big":1e16,"huge":1180591620717411303424,"zero":-0.0,"one":1.0,"ﬀ":1,"😀":0.1}"#).map_err(|e| e.to_string())?;
                alice.send(&message).await?;
                peer.verify(&peer.gets_one().await?, Form::Reference)
            },
        ),
        must(
            4,
            "to-reference/404",
            "A server without `capabilities` (404) is taken for the reference.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.present(&[Answer::error(404, "Not Found")]);
                let mut message = alice.message(&peer.agent("bob"));
                message["payload"] = serde_json::from_str(r#"{"tiny":1e-7}"#).map_err(|e| e.to_string())?;
                alice.send(&message).await?;
                peer.verify(&peer.gets_one().await?, Form::Reference)
            },
        ),
        must(
            4,
            "to-reference/eight-fields",
            "The reference is sent its eight fields only; others travel in `routing.atp.fields`.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["in_reply_to"] = json!("msg-1");
                message["priority"] = json!([1]);
                alice.send(&message).await?;
                let got = peer.gets_one().await?;
                let known =
                    ["from", "to", "timestamp", "nonce", "type", "payload", "cc", "routing", "signature"];
                let others: Vec<&String> = got
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name)
                    .filter(|name| !known.contains(&name.as_str()))
                    .collect();
                ensure(others.is_empty(), || format!("others: {others:?}"))?;
                same(
                    "fields",
                    &got["routing"]["atp"]["fields"],
                    &json!({"in_reply_to": "msg-1", "priority": [1]}),
                )?;
                peer.verify(&got, Form::Reference)
            },
        ),
        must(
            10,
            "to-reference/present-time",
            "Every transfer carries the present time; `submitted_at` keeps the author's.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["timestamp"] = json!(now() - 1000);
                alice.send(&message).await?;
                let got = peer.gets_one().await?;
                ensure(got["timestamp"].as_i64().is_some_and(|at| (at - now()).abs() < 30), || {
                    got["timestamp"].to_string()
                })?;
                same("submitted_at", &got["routing"]["atp"]["submitted_at"], &message["timestamp"])
            },
        ),
        must(
            4,
            "to-reference/copies",
            "Each recipient's copy has it in `to`; every further one has a nonce made from `c-`.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                let (bob, carol) = (peer.agent("bob"), peer.agent("carol"));
                let mut message = alice.message(&bob);
                message["cc"] = json!([carol]);
                alice.send(&message).await?;
                let got: Vec<Value> = peer.gets(2).await?.iter().map(|request| request.json()).collect();
                let of = |to: &str| {
                    got.iter().find(|copy| copy["to"] == to).ok_or_else(|| format!("no copy for {to}"))
                };
                let (first, second) = (of(&bob)?, of(&carol)?);
                same("first nonce", &first["nonce"], &message["nonce"])?;
                same("first cc", &first["cc"], &json!([carol]))?;
                same(
                    "second nonce",
                    &second["nonce"],
                    &json!(derived("c-", &alice.address, &message["nonce"], &carol)),
                )?;
                same("second cc", &second["cc"], &json!([bob]))?;
                let atp = &second["routing"]["atp"];
                same("author's to", &atp["to"], &json!(bob))?;
                same("author's cc", &atp["cc"], &json!([carol]))?;
                same("author's nonce", &atp["nonce"], &message["nonce"])?;
                got.iter().try_for_each(|copy| peer.verify(copy, Form::Reference))
            },
        ),
        must(
            4,
            "to-reference/two-domains-one-server",
            "Two domains with one server share its memory of nonces.",
            |s| async move {
                let (alice, peer, other) = (s.agent().await?, s.old_peer().await?, s.old_peer().await?);
                other.services(vec![peer.service(1)]);
                let (bob, carol) = (peer.agent("bob"), other.agent("carol"));
                let mut message = alice.message(&bob);
                message["cc"] = json!([carol]);
                alice.send(&message).await?;
                let got: Vec<Value> = peer.gets(2).await?.iter().map(|request| request.json()).collect();
                let second =
                    got.iter().find(|copy| copy["to"] == json!(carol)).ok_or("no copy for the second")?;
                same(
                    "nonce",
                    &second["nonce"],
                    &json!(derived("c-", &alice.address, &message["nonce"], &carol)),
                )
            },
        ),
        must(
            4,
            "to-reference/two-servers",
            "At another server the first copy keeps the author's nonce.",
            |s| async move {
                let (alice, peer, other) = (s.agent().await?, s.old_peer().await?, s.old_peer().await?);
                // Servers at one address could be one server.
                let away = crate::neighbour::Neighbour::hidden(
                    &s,
                    crate::neighbour::Neighbour::REFERENCE,
                    (s.fresh_address(), 0).into(),
                )
                .await?;
                other.services(vec![away.service(1)]);
                let mut message = alice.message(&peer.agent("bob"));
                message["cc"] = json!([other.agent("carol")]);
                alice.send(&message).await?;
                peer.gets(1).await?;
                same("nonce", &away.gets_one().await?["nonce"], &message["nonce"])
            },
        ),
    ];
    cases.extend(replays());
    cases
}

fn replays() -> Vec<Case> {
    let cases = [
        must(
            10,
            "to-reference/lost-answer",
            "\"Replay detected\" after an attempt without an answer means that the message was taken.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                peer.desk.answer(&[Answer::HangUp, replay()]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let got = peer.gets(2).await?;
                same("nonce", &got[1].json()["nonce"], &nonce)?;
                tokio::time::sleep(Duration::from_secs(4)).await;
                same("attempts", peer.desk.messages().len(), 2)?;
                alice.counts(0).await
            },
        ),
        must(
            10,
            "to-reference/used-nonce",
            "\"Replay detected\" at first means that the nonce was used: another one, from `d-`, is.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                peer.desk.answer(&[replay(), Answer::accepted()]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let second = peer.gets(2).await?.remove(1).json();
                same(
                    "nonce",
                    &second["nonce"],
                    &json!(derived("d-", &alice.address, &nonce, &peer.agent("bob"))),
                )?;
                same("author's nonce", &second["routing"]["atp"]["nonce"], &nonce)?;
                peer.verify(&second, Form::Reference)
            },
        ),
        must(
            10,
            "to-reference/after-500",
            "After a 500 without a code the next attempt has the next nonce.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                let failed = Answer::error(500, "Internal server error");
                peer.desk.answer(&[failed.clone(), failed, Answer::accepted()]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let got = peer.gets(3).await?;
                let next = |prefix: &str| json!(derived(prefix, &alice.address, &nonce, &peer.agent("bob")));
                same("second nonce", &got[1].json()["nonce"], &next("d-"))?;
                same("third nonce", &got[2].json()["nonce"], &next("d2-"))
            },
        ),
        must(
            10,
            "to-reference/wrong-clock",
            "\"Replay detected\" from a server whose `Date` is far off proves nothing.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                let past = crate::suite::wall_clock() - Duration::from_secs(3600);
                let date = ("Date", httpdate::fmt_http_date(past));
                let off = Answer::Json(400, vec![date], json!({"error": "Replay detected"}));
                peer.desk.answer(&[Answer::HangUp, off, Answer::accepted()]);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                peer.gets(3).await.map(|_| ())
            },
        ),
        must(
            10,
            "to-reference/shape-stays",
            "From an attempt without an answer on, `to`, `cc` and `nonce` stay.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.old_peer().await?);
                peer.desk.answer(&[Answer::HangUp, Answer::HangUp, Answer::accepted()]);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                let got: Vec<Value> = peer.gets(3).await?.iter().map(|request| request.json()).collect();
                for again in &got[1..] {
                    for name in ["to", "cc", "nonce", "payload"] {
                        same(name, &again[name], &got[0][name])?;
                    }
                    peer.verify(again, Form::Reference)?;
                }
                Ok(())
            },
        ),
    ];
    cases.into_iter().map(Case::retried).collect()
}
