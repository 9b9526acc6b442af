//! An own agent hands a message over (docs/protocol.md §7, `POST message`).

use serde_json::json;

use crate::suite::{Case, ensure, must, same, should};
use crate::wire::http::Call;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        must(7, "submission/without-credential", "A submission needs a credential: 401.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            s.post(alice.message(&bob.address).to_string()).await?.refused(401, "535 5.7.8")?;
            bob.counts(0).await
        }),
        must(7, "submission/wrong-password", "A wrong password is refused: 401.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let call = Call::post("message", alice.message(&bob.address).to_string());
            s.send(call.basic(&alice.address, "wrong")).await?.refused(401, "535 5.7.8")?;
            bob.counts(0).await
        }),
        must(
            7,
            "submission/of-another",
            "The credential of another agent than `from` is refused: 403.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                alice.submit(&bob.message(&alice.address)).await?.refused(403, "550 5.7.1")?;
                alice.counts(0).await
            },
        ),
        must(7, "submission/of-postmaster", "No agent submits as postmaster.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let message = s.message(&format!("postmaster@{}", s.domain()), &bob.address);
            let reply = alice.submit(&message).await?;
            ensure(matches!(reply.status, 401 | 403), || reply.shown())?;
            bob.counts(0).await
        }),
        must(
            7,
            "submission/foreign-from",
            "A `from` of another domain makes a transfer, which a credential does not replace.",
            |s| async move {
                let (alice, bob, other) = (s.agent().await?, s.agent().await?, s.sender());
                alice.submit(&other.message(&bob.address)).await?.refused(403, "550 5.7.28")?;
                bob.counts(0).await
            },
        ),
        must(
            7,
            "submission/own-domain-by-signature",
            "A transfer from a domain of the server's own is a submission: its signature does not replace a credential.",
            |s| async move {
                let (alice, bob, other) = (s.agent().await?, s.agent().await?, s.sender());
                let signed = other.signed(alice.message(&bob.address));
                s.post(signed.to_string()).await?.refused(401, "535 5.7.8")
            },
        ),
        must(7, "submission/routing-atp", "A submission with `routing.atp` is malformed.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let mut message = alice.message(&bob.address);
            message["routing"] = json!({"atp": {"rcpt": bob.address}});
            alice.submit(&message).await?.refused(400, "550 5.6.0")
        }),
        must(
            7,
            "submission/malformed-cc",
            "A malformed address in `cc` is refused, and nobody gets the message.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let mut message = alice.message(&bob.address);
                message["cc"] = json!([bob.address, "nobody"]);
                alice.submit(&message).await?.refused(400, "550 5.6.0")?;
                bob.counts(0).await
            },
        ),
        must(
            7,
            "submission/answer",
            "The answer to a submission has `status`, its `nonce` and the server's `timestamp`.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let message = alice.message(&bob.address);
                let reply = alice.submit(&message).await?;
                reply.accepted()?;
                same("nonce", &reply.json()["nonce"], &message["nonce"])?;
                let is_near = reply.json()["timestamp"]
                    .as_i64()
                    .is_some_and(|at| (at - crate::suite::now()).abs() < 60);
                ensure(is_near, || reply.shown())
            },
        ),
        must(
            7,
            "submission/content-type",
            "The content type of a message is not looked at.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let call = Call::post("message", alice.message(&bob.address).to_string());
                let call = call.basic(&alice.address, &alice.password).header("Content-Type", "text/plain");
                s.send(call).await?.accepted()
            },
        ),
        must(
            7,
            "submission/case-of-from",
            "`from` and the credential's name may be written in any case.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let mut message = alice.message(&bob.address);
                message["from"] = json!(alice.address.to_uppercase());
                let call = Call::post("message", message.to_string());
                s.send(call.basic(&alice.address.to_uppercase(), &alice.password)).await?.accepted()?;
                same("from", &bob.message_of(&message["nonce"]).await?["from"], &json!(alice.address))
            },
        ),
        must(7, "submission/old", "A submission must be fresh, too.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let mut message = alice.message(&bob.address);
            message["timestamp"] = json!(1_000_000_000);
            alice.submit(&message).await?.refused(400, "450 4.6.0")
        }),
    ];
    cases.extend(recipients());
    cases
}

fn recipients() -> Vec<Case> {
    vec![
        must(
            7,
            "submission/local",
            "A recipient of the same server has the message before the 202.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let nonce = alice.send(&alice.message(&bob.address)).await?;
                bob.has(&nonce).await
            },
        ),
        must(
            7,
            "submission/local-cc",
            "Recipients of the same server in `cc` have the message before the 202.",
            |s| async move {
                let (alice, bob, carol) = (s.agent().await?, s.agent().await?, s.agent().await?);
                let mut message = alice.message(&bob.address);
                message["cc"] = json!([carol.address]);
                let nonce = alice.send(&message).await?;
                bob.has(&nonce).await?;
                carol.has(&nonce).await
            },
        ),
        must(7, "submission/doubles", "Who is named twice gets one.", |s| async move {
            let (alice, bob) = (s.agent().await?, s.agent().await?);
            let mut message = alice.message(&bob.address);
            message["cc"] = json!([bob.address.to_uppercase(), bob.address]);
            let nonce = alice.send(&message).await?;
            bob.has(&nonce).await
        }),
        must(7, "submission/to-oneself", "An agent can write to itself.", |s| async move {
            let alice = s.agent().await?;
            let nonce = alice.send(&alice.message(&alice.address)).await?;
            alice.has(&nonce).await
        }),
        must(
            7,
            "submission/unknown-to",
            "An unknown own `to`, without `cc`, is refused: 404.",
            |s| async move {
                let alice = s.agent().await?;
                let message = alice.message(&format!("nobody-there@{}", s.domain()));
                alice.submit(&message).await?.refused(404, "550 5.1.1")
            },
        ),
        must(
            7,
            "submission/unknown-among-others",
            "With `cc` the message is accepted, and each unknown recipient bounces at once.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let unknown = format!("nobody-there@{}", s.domain());
                let mut message = alice.message(&unknown);
                message["cc"] = json!([bob.address]);
                let nonce = alice.send(&message).await?;
                bob.has(&nonce).await?;
                let bounce = alice.bounce_of(&nonce).await?;
                same("recipient", &bounce["payload"]["status"]["recipient"], &json!(unknown))?;
                same("error_code", &bounce["payload"]["status"]["error_code"], &json!("550 5.1.1"))
            },
        ),
        must(
            7,
            "submission/signature-replaced",
            "A `signature` in a submission counts for nothing and is replaced.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let mut message = alice.message(&peer.agent("bob"));
                message["signature"] = json!({"key_id": "x", "signature": "made up"});
                alice.send(&message).await?;
                peer.verify(&peer.gets_one().await?, crate::neighbour::Form::Rfc8785)
            },
        ),
        should(
            7,
            "submission/received",
            "What `received` says of mail from this server is `local`.",
            |s| async move {
                let (alice, bob) = (s.agent().await?, s.agent().await?);
                let nonce = alice.send(&alice.message(&bob.address)).await?;
                let received = bob.received(&nonce).await?;
                same("ats", received["ats"].as_str(), Some("local"))?;
                same("atk", received["atk"].as_str(), Some("local"))?;
                same("from_ip", received.get("from_ip"), None)
            },
        ),
    ]
}
