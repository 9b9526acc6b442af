//! Addresses (docs/protocol.md §1).

use crate::suite::{Case, ensure, must, should};

const MALFORMED: &str = "550 5.6.0";

/// Recipients that are no addresses.
const WRONG: [(&str, &str, &str); 15] = [
    ("no-at", "bob", "without an @"),
    ("two-ats", "bob@x@tested.test", "with two @"),
    ("empty-local", "@tested.test", "without a local part"),
    ("empty-domain", "bob@", "without a domain"),
    ("space", "bo b@tested.test", "with a space"),
    ("other-sign", "bo!b@tested.test", "with a sign that is none of . _ + -"),
    ("no-letter", "...@tested.test", "without a letter or digit in the local part"),
    ("unicode-local", "bøb@tested.test", "with a letter outside ASCII in the local part"),
    ("unicode-domain", "bob@tësted.test", "with a letter outside ASCII in the domain"),
    ("dot-at-end", "bob@tested.test.", "with a dot at the end"),
    ("empty-label", "bob@tested..test", "with an empty label"),
    ("hyphen-first", "bob@-tested.test", "with a label that begins with a hyphen"),
    ("underscore-domain", "bob@_tested.test", "with an underscore in the domain"),
    ("ip-domain", "bob@127.0.0.1", "whose domain is an IP address"),
    ("digits-last", "bob@tested.123", "whose last label is all digits"),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = WRONG
        .iter()
        .map(|&(name, address, what)| {
            let asks = format!("A transfer to an address {what} is refused as malformed.");
            must(1, &format!("address/{name}"), &asks, move |s| async move {
                let sender = s.sender();
                sender.transfer(sender.message(address)).await?.refused(400, MALFORMED)
            })
        })
        .collect();
    for (name, length, is_good) in [("local-64", 64, true), ("local-65", 65, false)] {
        let word = if is_good { "taken for an address" } else { "refused as malformed" };
        let asks = format!("A local part of {length} characters is {word}.");
        cases.push(must(1, &format!("address/{name}"), &asks, move |s| async move {
            let sender = s.sender();
            let to = format!("{}@{}", "x".repeat(length), s.domain());
            let reply = sender.transfer(sender.message(&to)).await?;
            if is_good { reply.refused(404, "550 5.1.1") } else { reply.refused(400, MALFORMED) }
        }));
    }
    for (name, label, count) in [("label-64", 64, 1), ("domain-254", 50, 5)] {
        let asks =
            "A domain with a label of more than 63 characters, or of more than 253 in all, is malformed.";
        cases.push(must(1, &format!("address/{name}"), asks, move |s| async move {
            let sender = s.sender();
            let to = format!("bob@{}test", format!("{}.", "x".repeat(label)).repeat(count));
            sender.transfer(sender.message(&to)).await?.refused(400, MALFORMED)
        }));
    }
    cases.extend(folding());
    cases.extend(reserved());
    cases
}

fn folding() -> Vec<Case> {
    vec![
        must(
            1,
            "address/case-of-recipient",
            "Upper and lower case of a recipient are equal.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let message = sender.message(&bob.address.to_uppercase());
                sender.transfer(message.clone()).await?.accepted()?;
                bob.has(&message["nonce"]).await
            },
        ),
        must(
            1,
            "address/case-of-sender",
            "A sender may be written in any case; its signature is checked over the message as it was sent.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let mut message = sender.message(&bob.address);
                message["from"] = format!("EVE@{}", sender.domain.to_uppercase()).into();
                sender.transfer(message.clone()).await?.accepted()?;
                bob.has(&message["nonce"]).await
            },
        ),
        must(1, "address/plus-is-no-tag", "bot+x and bot are two agents.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let other = format!("{}+x@{}", bob.local, s.domain());
            sender.transfer(sender.message(&other)).await?.refused(404, "550 5.1.1")?;
            bob.counts(0).await
        }),
        must(1, "address/all-signs", "A local part may have . _ + and - in it.", |s| async move {
            let local = format!("a.b_c+d-{}", s.names.next());
            let agent = crate::agent::Agent::register(&s, &local).await?;
            s.sender().reaches(&agent).await
        }),
        must(
            1,
            "address/unknown",
            "A transfer to an agent that does not exist is refused.",
            |s| async move {
                let to = format!("nobody-of-this-name@{}", s.domain());
                let sender = s.sender();
                sender.transfer(sender.message(&to)).await?.refused(404, "550 5.1.1")
            },
        ),
    ]
}

fn reserved() -> Vec<Case> {
    let mut cases: Vec<Case> = ["postmaster", "abuse", "security"]
        .map(|local| {
            let asks = format!("{local} is a mailbox in every domain and takes mail.");
            should(1, &format!("reserved/{local}"), &asks, move |s| async move {
                let sender = s.sender();
                sender.transfer(sender.message(&format!("{local}@{}", s.domain()))).await?.accepted()
            })
        })
        .into();
    cases.push(must(1, "reserved/registering", "Nobody can register a reserved name.", |s| async move {
        for local in [
            "abuse",
            "admin",
            "mailer-daemon",
            "no-reply",
            "noreply",
            "postmaster",
            "root",
            "security",
            "server",
            "system",
            "PostMaster",
        ] {
            let body =
                serde_json::json!({"agent_id": format!("{local}@{}", s.domain()), "password": "a password"});
            let reply = s.send(crate::wire::http::Call::json("POST", "register", &body)).await?;
            ensure((400..500).contains(&reply.status), || format!("{local}: {}", reply.shown()))?;
        }
        Ok(())
    }));
    cases
}
