//! The order of checks at a transfer (docs/protocol.md §7): the first that fails decides the answer.

use serde_json::json;

use crate::suite::{Case, must, now};
use crate::wire::dns::Trouble;
use crate::wire::dns_message::kind;
use crate::wire::http::Call;

const YEAR: i64 = 365 * 24 * 3600;

pub fn cases() -> Vec<Case> {
    vec![
        must(7, "order/size-before-form", "Size is checked before form.", |s| async move {
            let size = s.send(Call::get("capabilities")).await?.json()["max_payload_size"].as_u64();
            let size = usize::try_from(size.unwrap_or(1 << 20)).unwrap_or(1 << 20);
            s.post(vec![b'['; size + 1]).await?.refused(413, "552 5.3.4")
        }),
        must(7, "order/form-before-freshness", "Form is checked before freshness.", |s| async move {
            let change = |m: &mut serde_json::Value| {
                m["timestamp"] = json!(now() - YEAR);
                m["type"] = json!("");
            };
            s.sender().transfer_changed(change).await?.refused(400, "550 5.6.0")
        }),
        must(
            7,
            "order/freshness-before-routing",
            "Freshness is checked before `routing.atp`.",
            |s| async move {
                let change = |m: &mut serde_json::Value| {
                    m["timestamp"] = json!(now() - YEAR);
                    m["routing"] = json!({"atp": {"rcpt": "nobody"}});
                };
                s.sender().transfer_changed(change).await?.refused(400, "450 4.6.0")
            },
        ),
        must(
            7,
            "order/routing-before-domain",
            "`routing.atp` is checked before the recipient's domain.",
            |s| async move {
                let change = |m: &mut serde_json::Value| {
                    m["to"] = json!("bob@elsewhere.test");
                    m["routing"] = json!({"atp": {"nonce": ""}});
                };
                s.sender().transfer_changed(change).await?.refused(400, "550 5.6.0")
            },
        ),
        must(
            7,
            "order/domain-before-ats",
            "The recipient's domain is checked before the sender's policy.",
            |s| async move {
                let sender = s.sender();
                sender.policy("v=atp1 deny=all");
                sender.transfer(sender.message("bob@elsewhere.test")).await?.refused(403, "550 5.7.1")
            },
        ),
        must(7, "order/ats-before-atk", "The policy is checked before the signature.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            sender.policy("v=atp1 deny=all");
            s.dns.trouble(&sender.key_name(), kind::TXT, Trouble::ServFail, 1000);
            sender.refused(&bob, 403, "550 5.7.26").await
        }),
        must(
            7,
            "order/atk-before-identity",
            "The signature is checked before the message is looked for.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let signed = sender.signed(sender.message(&bob.address));
                s.post(signed.to_string()).await?.accepted()?;
                let mut forged = signed.clone();
                forged["payload"]["body"] = json!("forged");
                s.post(forged.to_string()).await?.refused(403, "550 5.7.28")?;
                s.post(signed.to_string()).await?.accepted_before()
            },
        ),
        must(
            7,
            "order/atk-before-recipient",
            "The signature is checked before the recipient is looked for.",
            |s| async move {
                let sender = s.sender();
                let mut signed = sender.signed(sender.message(&format!("nobody-at-all@{}", s.domain())));
                signed["payload"]["body"] = json!("forged");
                s.post(signed.to_string()).await?.refused(403, "550 5.7.28")
            },
        ),
    ]
}
