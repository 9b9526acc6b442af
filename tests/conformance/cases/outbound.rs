//! What a sending server hands to a peer that understands everything (docs/protocol.md §3, §4).

use serde_json::json;

use crate::neighbour::{Form, capabilities};
use crate::suite::{Case, ensure, must, now, same, should};
use crate::wire::peer::Answer;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(
            4,
            "sent/request",
            "A transfer is one `POST …/message`, as application/atp+json.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                let request = peer.gets(1).await?.remove(0);
                same("method", request.method.as_str(), "POST")?;
                same("path", request.path.as_str(), "/.well-known/atp/v1/message")?;
                same("type", request.header("content-type"), Some("application/atp+json"))
            },
        ),
        must(4, "sent/host", "`Host` names the target and its port.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            let wanted = format!("{}:{}", peer.host, peer.address.port());
            same("Host", peer.gets(1).await?.remove(0).header("host"), Some(wanted.as_str()))
        }),
        must(
            4,
            "sent/capabilities-first",
            "Before its first transfer to a server, the sender asks for its capabilities.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                peer.gets(1).await?;
                let heard = peer.desk.heard();
                let first = heard.first().map(|request| (request.method.clone(), request.path.clone()));
                same("first", first, Some(("GET".to_owned(), "/.well-known/atp/v1/capabilities".to_owned())))
            },
        ),
        should(
            4,
            "sent/capabilities-kept",
            "A sender keeps what a server says of its capabilities for the next transfers.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                for count in 1..=3 {
                    alice.send(&alice.message(&peer.agent("bob"))).await?;
                    peer.gets(count).await?;
                }
                same("times asked", peer.desk.presented(), 1)
            },
        ),
        should(
            6,
            "sent/connection-reused",
            "Several messages to one server go over one connection.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                for count in 1..=3 {
                    alice.send(&alice.message(&peer.agent("bob"))).await?;
                    peer.gets(count).await?;
                }
                let last = peer.desk.heard().iter().map(|request| request.connection).max();
                same("last connection", last, Some(0))
            },
        ),
        must(
            3,
            "sent/signature",
            "The signature holds over the RFC 8785 form, by the published key.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["payload"] = serde_json::from_str(
                    r#"{"tiny":1e-7,"big":1e16,"zero":-0.0,"one":1.0,"ﬀ":1,"😀":[0.1]}"#,
                )
                .map_err(|e| e.to_string())?;
                alice.send(&message).await?;
                peer.verify(&peer.gets_one().await?, Form::Rfc8785)
            },
        ),
        must(
            3,
            "sent/envelope",
            "`signature` has its five members, and a `key_id` of the sender's domain.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                let signature = peer.gets_one().await?["signature"].clone();
                let key_id = signature["key_id"].as_str().unwrap_or_default().to_owned();
                ensure(key_id.ends_with(&format!(".atk._atp.{}", s.domain())), || key_id.clone())?;
                same("algorithm", &signature["algorithm"], &json!("ed25519"))?;
                same("headers", &signature["headers"], &json!(["from", "to", "timestamp", "nonce", "type"]))?;
                let is_now = signature["timestamp"].as_i64().is_some_and(|at| (at - now()).abs() < 30);
                ensure(is_now, || signature.to_string())
            },
        ),
        must(3, "sent/lower-case", "`from`, `to` and `cc` are lower-cased before signing.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let mut message = alice.message(&peer.agent("Bob").to_uppercase());
            message["from"] = json!(alice.address.to_uppercase());
            message["cc"] = json!([peer.agent("Carol").to_uppercase()]);
            alice.send(&message).await?;
            let got = peer.gets_one().await?;
            same("from", &got["from"], &json!(alice.address))?;
            same("to", &got["to"], &json!(peer.agent("bob")))?;
            same("cc", &got["cc"], &json!([peer.agent("carol")]))?;
            peer.verify(&got, Form::Rfc8785)
        }),
        must(3, "sent/empty-cc", "An empty `cc` and a null `routing` are left out.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let mut message = alice.message(&peer.agent("bob"));
            message["cc"] = json!([]);
            message["routing"] = json!(null);
            alice.send(&message).await?;
            let got = peer.gets_one().await?;
            same("cc", got.get("cc"), None)?;
            same("routing", got.get("routing"), None)
        }),
        must(
            2,
            "sent/as-written",
            "What the author wrote is handed over as it was: fields, payload, digits.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["priority"] = json!({"level": 1});
                message["context_id"] = json!("c");
                message["payload"] =
                    serde_json::from_str(r#"{"huge":1180591620717411303424,"price":0.10,"text":"Ü😀\n"}"#)
                        .map_err(|e| e.to_string())?;
                alice.send(&message).await?;
                let got = peer.gets_one().await?;
                for name in ["timestamp", "nonce", "type", "payload", "priority", "context_id"] {
                    same(name, got[name].to_string(), message[name].to_string())?;
                }
                peer.verify(&got, Form::Rfc8785)
            },
        ),
    ];
    cases.extend(recipients());
    cases.extend(profiles());
    cases
}

fn recipients() -> Vec<Case> {
    vec![
        must(
            4,
            "sent/one-recipient",
            "Each recipient gets a transfer: `to` without `rcpt`, one in `cc` with.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["cc"] = json!([peer.agent("carol")]);
                alice.send(&message).await?;
                let got: Vec<_> = peer.gets(2).await?.iter().map(|request| request.json()).collect();
                for transfer in &got {
                    same("to", &transfer["to"], &json!(peer.agent("bob")))?;
                    same("cc", &transfer["cc"], &json!([peer.agent("carol")]))?;
                    same("nonce", &transfer["nonce"], &message["nonce"])?;
                    peer.verify(transfer, Form::Rfc8785)?;
                }
                let mut rcpt: Vec<String> =
                    got.iter().map(|transfer| transfer["routing"]["atp"]["rcpt"].to_string()).collect();
                rcpt.sort();
                same("rcpt", rcpt, vec![json!(peer.agent("carol")).to_string(), "null".to_owned()])
            },
        ),
        must(4, "sent/once-each", "Who is in `to` and `cc` gets one transfer.", |s| async move {
            let (alice, peer) = (s.agent().await?, s.peer().await?);
            let mut message = alice.message(&peer.agent("bob"));
            message["cc"] = json!([peer.agent("BOB"), peer.agent("carol"), peer.agent("carol")]);
            alice.send(&message).await?;
            peer.gets(2).await?;
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            same("transfers", peer.desk.messages().len(), 2)
        }),
        must(
            4,
            "sent/to-each-domain",
            "Recipients of several domains are reached at each one's server.",
            |s| async move {
                let (alice, bob, one, two) =
                    (s.agent().await?, s.agent().await?, s.peer().await?, s.peer().await?);
                let mut message = alice.message(&one.agent("x"));
                message["cc"] = json!([two.agent("y"), bob.address]);
                let nonce = alice.send(&message).await?;
                bob.has(&nonce).await?;
                same("first", &one.gets_one().await?["nonce"], &nonce)?;
                let second = two.gets_one().await?;
                same("rcpt", &second["routing"]["atp"]["rcpt"], &json!(two.agent("y")))
            },
        ),
        must(
            4,
            "sent/local-stays",
            "A recipient of the same server gets no transfer, and outsiders learn of it what the author wrote.",
            |s| async move {
                let (alice, bob, peer) = (s.agent().await?, s.agent().await?, s.peer().await?);
                let mut message = alice.message(&bob.address);
                message["cc"] = json!([peer.agent("carol")]);
                alice.send(&message).await?;
                let got = peer.gets_one().await?;
                same("to", &got["to"], &json!(bob.address))?;
                same("rcpt", &got["routing"]["atp"]["rcpt"], &json!(peer.agent("carol")))
            },
        ),
    ]
}

fn profiles() -> Vec<Case> {
    vec![
        must(
            4,
            "profile/rcpt-without-fields",
            "To a peer without `fields` other fields travel in `routing.atp.fields`.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.present(&[capabilities(&["message", "rcpt"], 1 << 20)]);
                let mut message = alice.message(&peer.agent("bob"));
                message["in_reply_to"] = json!("msg-1");
                alice.send(&message).await?;
                let got = peer.gets_one().await?;
                same("in_reply_to", got.get("in_reply_to"), None)?;
                same("fields", &got["routing"]["atp"]["fields"], &json!({"in_reply_to": "msg-1"}))?;
                peer.verify(&got, Form::Rfc8785)
            },
        ),
        must(
            4,
            "profile/fields-without-rcpt",
            "To a peer without `rcpt` each transfer's `to` is its recipient; RFC 8785 is signed.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.present(&[capabilities(&["message", "fields"], 1 << 20)]);
                let mut message = alice.message(&peer.agent("bob"));
                message["cc"] = json!([peer.agent("carol")]);
                alice.send(&message).await?;
                let got = peer.gets(2).await?;
                let mut to: Vec<String> =
                    got.iter().map(|request| request.json()["to"].to_string()).collect();
                to.sort();
                same(
                    "to",
                    to,
                    [peer.agent("bob"), peer.agent("carol")].map(|to| json!(to).to_string()).to_vec(),
                )?;
                got.iter().try_for_each(|request| peer.verify(&request.json(), Form::Rfc8785))
            },
        ),
        must(
            4,
            "profile/failed",
            "Where `capabilities` fails nothing is handed over, and it is asked again later.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let good = capabilities(&["message", "rcpt", "fields"], 1 << 20);
                peer.desk.present(&[
                    Answer::page(503),
                    Answer::page(200),
                    Answer::refusal(500, "451 4.3.0"),
                    good,
                ]);
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                peer.gets(1).await?;
                same("times asked", peer.desk.presented(), 4)
            },
        )
        .retried(),
        must(4, "profile/redirect", "A redirect of `capabilities` is not followed.", |s| async move {
            let (alice, peer, other) = (s.agent().await?, s.peer().await?, s.peer().await?);
            let to =
                format!("https://{}:{}/.well-known/atp/v1/capabilities", other.host, other.address.port());
            let good = capabilities(&["message", "rcpt", "fields"], 1 << 20);
            peer.desk.present(&[Answer::Json(307, vec![("Location", to)], json!({})), good]);
            alice.send(&alice.message(&peer.agent("bob"))).await?;
            peer.gets(1).await?;
            ensure(other.desk.heard().is_empty(), || "it was followed".to_owned())
        })
        .retried(),
        should(
            4,
            "profile/after-413",
            "After a 413 a server is asked for its capabilities again.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.answer(&[Answer::refusal(413, "552 5.3.4"), Answer::accepted()]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                alice.gets_back(&nonce, "552 5.3.4").await?;
                alice.send(&alice.message(&peer.agent("bob"))).await?;
                peer.gets(2).await?;
                same("times asked", peer.desk.presented(), 2)
            },
        )
        .retried(),
    ]
}
