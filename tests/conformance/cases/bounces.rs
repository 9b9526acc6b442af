//! What comes back (docs/protocol.md §10, Bounce).

use serde_json::json;

use crate::suite::{Case, ensure, must, now, same};
use crate::wire::peer::Answer;

pub fn cases() -> Vec<Case> {
    let cases = [
        must(
            10,
            "bounce/form",
            "A bounce comes from postmaster and names message, recipient, code and remote.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.answer(&[Answer::refusal(404, "550 5.1.1")]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let bounce = alice.bounce_of(&nonce).await?;
                same("from", &bounce["from"], &json!(format!("postmaster@{}", s.domain())))?;
                same("to", &bounce["to"], &json!(alice.address))?;
                same("type", &bounce["type"], &json!("message"))?;
                for name in ["subject", "body"] {
                    ensure(bounce["payload"][name].is_string(), || format!("no {name}: {bounce}"))?;
                }
                let status = &bounce["payload"]["status"];
                same("recipient", &status["recipient"], &json!(peer.agent("bob")))?;
                same("error_code", &status["error_code"], &json!("550 5.1.1"))?;
                same("remote", &status["remote"], &json!(format!("{}:{}", peer.host, peer.address.port())))?;
                same("attempts", &status["attempts"], &json!(1))?;
                same("subject", &status["subject"], &json!("A case"))?;
                let is_now = status["first_attempt"].as_i64().is_some_and(|at| (at - now()).abs() < 60);
                ensure(is_now && status["reason"].is_string(), || status.to_string())
            },
        ),
        must(
            10,
            "bounce/one-recipient",
            "Of two recipients only the one that was refused bounces, once.",
            |s| async move {
                let (alice, good, bad) = (s.agent().await?, s.peer().await?, s.peer().await?);
                bad.desk.answer(&[Answer::refusal(404, "550 5.1.1")]);
                let mut message = alice.message(&good.agent("bob"));
                message["cc"] = json!([bad.agent("carol")]);
                let nonce = alice.send(&message).await?;
                good.gets(1).await?;
                let bounce = alice.bounce_of(&nonce).await?;
                same("recipient", &bounce["payload"]["status"]["recipient"], &json!(bad.agent("carol")))?;
                alice.counts(1).await
            },
        ),
        must(
            10,
            "bounce/reason-is-the-peers",
            "Control characters of a peer's text do not reach the reader.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                let body = json!({"error": "No\u{1b}[31m such\r\nagent", "error_code": "550 5.1.1"});
                peer.desk.answer(&[Answer::Json(404, Vec::new(), body)]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                let bounce = alice.bounce_of(&nonce).await?;
                let reason = bounce["payload"]["status"]["reason"].as_str().unwrap_or_default().to_owned();
                ensure(!reason.is_empty() && !reason.chars().any(char::is_control), || format!("{reason:?}"))
            },
        ),
        must(
            10,
            "bounce/not-answered",
            "A bounce is not sent anywhere: it lies in the sender's own mailbox.",
            |s| async move {
                let (alice, peer) = (s.agent().await?, s.peer().await?);
                peer.desk.answer(&[Answer::refusal(404, "550 5.1.1")]);
                let nonce = alice.send(&alice.message(&peer.agent("bob"))).await?;
                alice.bounce_of(&nonce).await?;
                same("messages at the peer", peer.desk.messages().len(), 1)
            },
        ),
    ];
    cases.into_iter().map(Case::retried).collect()
}
