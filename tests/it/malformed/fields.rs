//! Fields that are missing, or are not what they must be.

use super::body::{ABSENT, Body};
use super::{ACCEPTED, MALFORMED, STALE, UNKNOWN, World};
use crate::support::now;

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

#[tokio::test]
async fn every_field_missing_or_of_another_type() {
    let world = World::new().await;
    for field in ["from", "to", "timestamp", "nonce", "type", "payload"] {
        for (case, value) in [
            ("missing", ABSENT),
            ("null", "null"),
            ("true", "true"),
            ("array", "[]"),
            ("number", "1.5"),
            ("empty string", "\"\""),
            ("object", "{}"),
            ("string", "\"?\""),
        ] {
            // An object is what a payload is.
            if (field, case) == ("payload", "object") {
                continue;
            }
            let body = Body::message().set(field, value);
            world.both_ways(&format!("{field}: {case}"), &body, MALFORMED, MALFORMED).await;
        }
    }
    for field in ["in_reply_to", "task_id", "context_id"] {
        let too_long = quoted(&"x".repeat(257));
        for value in ["null", "1", "true", "[]", "{}", &too_long] {
            let body = Body::message().set(field, value);
            world.both_ways(&format!("{field}: {value}"), &body, MALFORMED, MALFORMED).await;
        }
    }
    let ann = ["\"ann@x.example\""; 101].join(",");
    for (field, value) in [
        ("cc", "null"),
        ("cc", "\"bob@ours.example\""),
        ("cc", "{}"),
        ("cc", "[null]"),
        ("cc", "[1]"),
        ("cc", "[[\"bob@ours.example\"]]"),
        ("cc", "[\"\"]"),
        ("cc", "[\"bob\"]"),
        ("cc", "[\"bob@ours.example\",\"bob@\"]"),
        ("cc", &format!("[{ann}]")),
        ("receipt", "null"),
        ("receipt", "\"delivered\""),
        ("receipt", "[\"read\"]"),
        ("receipt", "[1]"),
        ("receipt", "{}"),
        ("routing", "[]"),
        ("routing", "\"x\""),
        ("routing", "1"),
        ("routing", "{\"atp\":null}"),
        ("routing", "{\"atp\":[]}"),
        ("routing", "{\"atp\":\"x\"}"),
        ("signature", "\"x\""),
        ("signature", "[]"),
        ("signature", "1"),
        ("signature", "true"),
    ] {
        let body = Body::message().set(field, value);
        world.both_ways(&format!("{field}: {value:.40}"), &body, MALFORMED, MALFORMED).await;
    }
    assert_eq!(world.mail().await, 0);
}

#[tokio::test]
async fn addresses_nonces_and_types_with_other_characters() {
    let world = World::new().await;
    let long_local = format!("{}@ours.example", "a".repeat(65));
    let long_label = format!("a@{}.example", "b".repeat(64));
    let long_domain = format!("a@{}.example", ["b".repeat(63).as_str(); 4].join("."));
    for address in [
        "bob",
        "@ours.example",
        "bob@",
        "bob@@ours.example",
        "bob@ours@example",
        "bob@ours..example",
        "bob@.example",
        "bob@ours.example.",
        "bob@-ours.example",
        "bob@ours-.example",
        "bob@ours_.example",
        "bob@127.0.0.1",
        "bob@[127.0.0.1]",
        "bob@ours.1",
        "bob@öurs.example",
        "böb@ours.example",
        " bob@ours.example",
        "bob@ours.example ",
        "bob @ours.example",
        "b\\u0000b@ours.example",
        "b\\nb@ours.example",
        "b/b@ours.example",
        "b%62@ours.example",
        "\\\"bob\\\"@ours.example",
        "Bob <bob@ours.example>",
        "bob@ours.example,alice@ours.example",
        "...@ours.example",
        "+@ours.example",
        "bob＠ours.example",
        &long_local,
        &long_label,
        &long_domain,
    ] {
        for field in ["from", "to"] {
            let body = Body::message().set(field, &quoted(address));
            world.both_ways(&format!("{field}: {address}"), &body, MALFORMED, MALFORMED).await;
        }
        let body = Body::message().set("cc", &format!("[{}]", quoted(address)));
        world.both_ways(&format!("cc: {address}"), &body, MALFORMED, MALFORMED).await;
    }
    let (long_nonce, long_type) = ("n".repeat(129), "t".repeat(65));
    for (field, value) in [
        ("nonce", " "),
        ("nonce", "a b"),
        ("nonce", "a/b"),
        ("nonce", "a@b"),
        ("nonce", "a\\u0000"),
        ("nonce", "a\\n"),
        ("nonce", "ä"),
        ("nonce", "{}"),
        ("nonce", &long_nonce),
        ("type", " message"),
        ("type", "mess/age"),
        ("type", "m\\u0000"),
        ("type", "nachricht-für-dich"),
        ("type", &long_type),
    ] {
        let body = Body::message().set(field, &quoted(value));
        world.both_ways(&format!("{field}: {value}"), &body, MALFORMED, MALFORMED).await;
    }
    for (field, value) in [
        ("nonce", "A.b_c:d-9"),
        ("nonce", &"n".repeat(128)),
        ("type", &"t".repeat(64)),
        ("to", "BOB@Ours.Example"),
        ("in_reply_to", &"r".repeat(256)),
        ("task_id", ""),
    ] {
        let body = Body::message().set(field, &quoted(value));
        world.both_ways(&format!("{field}: {value}"), &body, ACCEPTED, ACCEPTED).await;
    }
    let nobody = Body::message().set("to", &quoted(&format!("{}@ours.example", "a".repeat(64))));
    world.both_ways("a local part as long as may be", &nobody, UNKNOWN, UNKNOWN).await;
}

#[tokio::test]
async fn timestamps() {
    let world = World::new().await;
    let at = |seconds: i64| (now() + seconds).to_string();
    for (case, value, want) in [
        ("now", at(0), ACCEPTED),
        ("a little ahead", at(250), ACCEPTED),
        ("nearly too old", at(-72 * 3600 + 600), ACCEPTED),
        ("too far ahead", at(360), STALE),
        ("too old", at(-72 * 3600 - 60), STALE),
        ("the beginning", "0".into(), STALE),
        ("the end of 9999", "253402300799".into(), STALE),
        ("in milliseconds", format!("{}000", now()), MALFORMED),
        ("the year 10000", "253402300800".into(), MALFORMED),
        ("beyond 64 bits", "18446744073709551616".into(), MALFORMED),
        ("minus zero", "-0".into(), MALFORMED),
        ("negative", "-1".into(), MALFORMED),
        ("with a fraction", format!("{}.5", now()), MALFORMED),
        ("with a fraction of zero", format!("{}.0", now()), MALFORMED),
        ("with an exponent", format!("{}e0", now()), MALFORMED),
        ("as an exponent", "1.7e9".into(), MALFORMED),
        ("as a string", quoted(&at(0)), MALFORMED),
        ("as a date", quoted("2026-01-01T00:00:00Z"), MALFORMED),
        ("in an array", format!("[{}]", now()), MALFORMED),
        ("with a leading zero", format!("0{}", now()), MALFORMED),
        ("with a plus", format!("+{}", now()), MALFORMED),
    ] {
        let body = Body::message().set("timestamp", &value);
        world.both_ways(case, &body, want, want).await;
    }
}

#[tokio::test]
async fn the_way_a_transfer_says_it_went() {
    let world = World::new().await;
    for (case, atp, want) in [
        ("empty", "{}", ACCEPTED),
        ("unknown member", r#"{"hops":[1]}"#, ACCEPTED),
        ("rcpt", r#"{"rcpt":"Bob@ours.example"}"#, ACCEPTED),
        ("other to and cc", r#"{"to":"x@y.example","cc":["z@y.example"]}"#, ACCEPTED),
        ("fields", r#"{"fields":{"task_id":"t","x":1}}"#, ACCEPTED),
        ("rcpt null", r#"{"rcpt":null}"#, MALFORMED),
        ("rcpt number", r#"{"rcpt":1}"#, MALFORMED),
        ("rcpt array", r#"{"rcpt":["bob@ours.example"]}"#, MALFORMED),
        ("rcpt no address", r#"{"rcpt":"bob"}"#, MALFORMED),
        ("to number", r#"{"to":1}"#, MALFORMED),
        ("to no address", r#"{"to":"@"}"#, MALFORMED),
        ("cc null", r#"{"cc":null}"#, MALFORMED),
        ("cc string", r#"{"cc":"bob@ours.example"}"#, MALFORMED),
        ("cc no address", r#"{"cc":["bob"]}"#, MALFORMED),
        ("nonce number", r#"{"nonce":1}"#, MALFORMED),
        ("nonce empty", r#"{"nonce":""}"#, MALFORMED),
        ("nonce bad character", r#"{"nonce":"a b"}"#, MALFORMED),
        ("submitted_at string", r#"{"submitted_at":"1"}"#, MALFORMED),
        ("submitted_at fraction", r#"{"submitted_at":1.5}"#, MALFORMED),
        ("submitted_at negative", r#"{"submitted_at":-1}"#, MALFORMED),
        ("fields null", r#"{"fields":null}"#, MALFORMED),
        ("fields array", r#"{"fields":[]}"#, MALFORMED),
        ("fields with from", r#"{"fields":{"from":"a@b.example"}}"#, MALFORMED),
        ("fields with to", r#"{"fields":{"to":"a@b.example"}}"#, MALFORMED),
        ("fields with routing", r#"{"fields":{"routing":{}}}"#, MALFORMED),
        ("fields with signature", r#"{"fields":{"signature":{}}}"#, MALFORMED),
        ("fields with a bad task_id", r#"{"fields":{"task_id":1}}"#, MALFORMED),
        ("fields with a bad receipt", r#"{"fields":{"receipt":["read"]}}"#, MALFORMED),
    ] {
        let body = Body::message().set("routing", &format!("{{\"atp\":{atp}}}"));
        // It is the server's, so an agent may not say anything there.
        world.both_ways(case, &body, MALFORMED, want).await;
    }
}
