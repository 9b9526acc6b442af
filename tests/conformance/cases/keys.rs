//! ATK: a domain's keys (docs/protocol.md §5).

use crate::suite::{Case, must, now};
use crate::wire::dns::Trouble;
use crate::wire::dns_message::{Record, kind};

const UNUSABLE: &str = "550 5.7.29";
const LATER: &str = "451 4.7.29";

/// Key records. `%` stands for the key, `&` for its DER, `<` for a moment ago and `>` for a while from now.
const RECORDS: [(&str, &str, &str, bool); 25] = [
    ("raw", "A key may be given as its 32 bytes.", "v=atp1 k=ed25519 p=%", true),
    ("der", "A key may be given as its 44 bytes of DER.", "v=atp1 k=ed25519 p=&", true),
    ("revoked", "t=s revokes a key.", "v=atp1 k=ed25519 p=% t=s", false),
    ("revoked-list", "s in a list of flags revokes a key.", "v=atp1 k=ed25519 p=% t=y,s", false),
    ("other-flags", "Other flags mean nothing.", "v=atp1 k=ed25519 p=% t=y,z", true),
    ("expired", "A key is expired from x on.", "v=atp1 k=ed25519 p=% x=<", false),
    ("not-expired", "A key is good before x.", "v=atp1 k=ed25519 p=% x=>", true),
    ("bad-expiry", "A key with an x that is no number is unreadable.", "v=atp1 k=ed25519 p=% x=soon", false),
    ("rsa", "A key that is not for ed25519 is unusable.", "v=atp1 k=rsa p=%", false),
    ("without-k", "A record without k has no key.", "v=atp1 p=%", false),
    ("without-p", "A record without p has no key.", "v=atp1 k=ed25519", false),
    ("empty-p", "A record with an empty p has no key.", "v=atp1 k=ed25519 p=", false),
    ("not-base64", "A p that is no base64 is unreadable.", "v=atp1 k=ed25519 p=****", false),
    (
        "short",
        "A key of 31 bytes is unreadable.",
        "v=atp1 k=ed25519 p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
        false,
    ),
    ("twice-p", "A record with two p is unreadable.", "v=atp1 k=ed25519 p=% p=%", false),
    (
        "unknown-tokens",
        "Unknown tokens of the form name=value are ignored.",
        "v=atp1 k=ed25519 n=hello p=% z=1",
        true,
    ),
    (
        "bare-token",
        "A token that is not name=value makes a record unreadable.",
        "v=atp1 k=ed25519 p=% hello",
        false,
    ),
    (
        "case",
        "Names and values are compared without regard to case, except for the key.",
        "V=ATP1 K=ED25519 P=%",
        true,
    ),
    ("case-of-flag", "A flag too is compared without regard to case.", "v=atp1 k=ed25519 p=% T=S", false),
    ("order", "The order of tokens behind the first does not matter.", "v=atp1 p=% k=ed25519", true),
    ("white-space", "Tokens are separated by any white space.", "v=atp1\tk=ed25519   p=% ", true),
    (
        "version-later",
        "A record whose first token is not v=atp1 does not count.",
        "k=ed25519 v=atp1 p=%",
        false,
    ),
    ("version-other", "A record of another version does not count.", "v=atp2 k=ed25519 p=%", false),
    ("version-absent", "A record without a version does not count.", "k=ed25519 p=%", false),
    ("policy", "A policy is no key.", "v=atp1 allow=all", false),
];

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = RECORDS
        .iter()
        .map(|&(id, asks, record, is_good)| {
            must(5, &format!("atk/{id}"), asks, move |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let record = record.replace('%', &sender.public()).replace('&', &sender.public_der());
                let record =
                    record.replace('<', &(now() - 10).to_string()).replace('>', &(now() + 3600).to_string());
                sender.record(&record);
                if is_good {
                    return sender.reaches(&bob).await;
                }
                sender.refused(&bob, 403, UNUSABLE).await?;
                bob.counts(0).await
            })
        })
        .collect();
    cases.extend([
        must(5, "atk/none", "A key that is not published is unusable.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            s.dns.remove(&sender.key_name(), kind::TXT);
            sender.refused(&bob, 403, UNUSABLE).await
        }),
        must(5, "atk/two-records", "Of two records none is believed.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            let text = sender.key_text();
            s.dns.txts(&sender.key_name(), &[&text, &format!("{text} t=y")]);
            sender.refused(&bob, 403, UNUSABLE).await
        }),
        must(5, "atk/other-records", "Records of other kinds beside the key do not count.", |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            s.dns.txts(&sender.key_name(), &["v=DKIM1; p=x", &sender.key_text()]);
            sender.reaches(&bob).await
        }),
        must(
            5,
            "atk/strings",
            "The strings of one record are joined without anything between.",
            |s| async move {
                let (sender, bob) = (s.sender(), s.agent().await?);
                let strings: Vec<Vec<u8>> =
                    sender.key_text().as_bytes().chunks(9).map(<[u8]>::to_vec).collect();
                s.dns.set(&sender.key_name(), kind::TXT, vec![Record::txt(&strings)]);
                sender.reaches(&bob).await
            },
        ),
        must(5, "atk/cname", "A CNAME at the key's name is followed.", |s| async move {
            let (sender, bob, other) = (s.sender(), s.agent().await?, s.fresh_domain());
            s.dns.remove(&sender.key_name(), kind::TXT);
            s.dns.cname(&sender.key_name(), &other);
            s.dns.txt(&other, &sender.key_text());
            sender.reaches(&bob).await
        }),
    ]);
    let kinds = [
        ("servfail", "DNS says SERVFAIL", Trouble::ServFail),
        ("refused", "DNS says REFUSED", Trouble::Refused),
        ("silent", "DNS says nothing", Trouble::Silent),
    ];
    cases.extend(kinds.map(|(id, what, trouble)| {
        let asks = format!("A key of which {what} is temporary: 451.");
        must(5, &format!("atk/{id}"), &asks, move |s| async move {
            let (sender, bob) = (s.sender(), s.agent().await?);
            s.dns.trouble(&sender.key_name(), kind::TXT, trouble, 1000);
            sender.refused(&bob, 451, LATER).await
        })
    }));
    cases
}
