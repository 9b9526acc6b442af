//! Bodies that are not the I-JSON a message must be.

use super::body::Body;
use super::{ACCEPTED, MALFORMED, World};

/// A payload with this value in it.
fn payload(value: &str) -> Body {
    Body::message().set("payload", &format!("{{\"x\":{value}}}"))
}

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn elements(count: usize) -> String {
    format!("[{}]", vec!["0"; count].join(","))
}

#[tokio::test]
async fn whole_bodies_that_are_no_object() {
    let world = World::new().await;
    let cases: [(&str, &[u8]); 29] = [
        ("empty", b""),
        ("space", b" \r\n\t"),
        ("text", b"hello"),
        ("null", b"null"),
        ("true", b"true"),
        ("number", b"1"),
        ("string", b"\"x\""),
        ("array", b"[]"),
        ("array of an object", b"[{}]"),
        ("empty object", b"{}"),
        ("open object", b"{"),
        ("open array", b"["),
        ("open string", b"{\"from"),
        ("member without value", b"{\"from\":}"),
        ("member without colon", b"{\"from\" 1}"),
        ("comma alone", b"{,}"),
        ("comma at the end", b"{\"from\":1,}"),
        ("name without quotes", b"{from:1}"),
        ("single quotes", b"{'from':1}"),
        ("comment", b"/* x */{}"),
        ("zeros", &[0; 100]),
        ("high bytes", &[0xff; 100]),
        ("UTF-16", b"\xff\xfe{\0}\0"),
        ("UTF-16 without mark", b"{\0}\0"),
        ("byte order mark alone", b"\xef\xbb\xbf"),
        ("form", b"from=alice&to=bob"),
        ("XML", b"<from>alice@ours.example</from>"),
        ("two objects", b"{}{}"),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    ];
    for (case, bytes) in cases {
        let reply = world.submit(bytes.to_vec()).await;
        reply.refuses(case, 400, "550 5.6.0");
    }
    for depth in [65, 1000, 100_000, 500_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[", ""), ("{\"a\":", "")] {
            let bytes = format!("{}{}", open.repeat(depth), close.repeat(depth)).into_bytes();
            let case = format!("{depth} of {open}");
            if bytes.len() <= 1024 * 1024 {
                world.submit(bytes).await.refuses(&case, 400, "550 5.6.0");
            } else {
                world.submit(bytes).await.refuses(&case, 413, "552 5.3.4");
            }
        }
    }
    assert_eq!(world.mail().await, 0);
}

#[tokio::test]
async fn what_two_readers_could_read_differently() {
    let world = World::new().await;
    let huge = "9".repeat(310);
    let long = format!("0.{}", "1".repeat(999));
    let private = |name: &str| Body::message().set("payload", &format!("{{\"{name}\":\"1\"}}"));
    let cases = [
        ("byte order mark", Body::message().after(b"\xef\xbb\xbf")),
        ("text before", Body::message().after(b"x")),
        ("text behind", Body::message().before(b"x")),
        ("a zero behind", Body::message().before(b"\0")),
        ("another behind", Body::message().before(b"{}")),
        ("a comma behind", Body::message().before(b",")),
        ("no-break space before", Body::message().after("\u{a0}".as_bytes())),
        ("form feed before", Body::message().after(b"\x0c")),
        ("duplicate member", Body::message().add("type", "\"message\"")),
        ("duplicate by escape", Body::message().add("typ\\u0065", "\"message\"")),
        ("duplicate unknown member", Body::message().add("x", "1").add("x", "1")),
        ("duplicate in the payload", Body::message().set("payload", r#"{"a":1,"b":2,"a":1}"#)),
        ("duplicate deep inside", payload(r#"[{"y":{"a":1,"\u0061":1}}]"#)),
        ("duplicate by surrogates", payload(r#"{"💬":1,"\ud83d\udcac":2}"#)),
        ("a high byte behind", Body::message().before(b"\xff")),
        ("NaN", payload("NaN")),
        ("Infinity", payload("-Infinity")),
        ("beyond a double", payload("1e999")),
        ("beyond a double, negative", payload("[-1e309]")),
        ("integer beyond a double", payload(&huge)),
        ("number text too long", payload(&long)),
        ("leading zero", payload("01")),
        ("leading plus", payload("+1")),
        ("no digit before the point", payload(".5")),
        ("no digit behind the point", payload("5.")),
        ("no exponent", payload("1e")),
        ("hexadecimal", payload("0x1F")),
        ("undefined", payload("undefined")),
        ("upper-case literal", payload("True")),
        ("lone high surrogate", payload(r#""\ud800""#)),
        ("lone low surrogate", payload(r#""\udc00""#)),
        ("surrogates the wrong way round", payload(r#""\udc00\ud800""#)),
        ("lone surrogate in a name", Body::message().set("payload", r#"{"\ud800":1}"#)),
        ("high surrogate before text", payload(r#""\ud83dx""#)),
        ("unknown escape", payload(r#""\x41""#)),
        ("short escape", payload(r#""\u12""#)),
        ("bare control character", payload("\"\u{1}\"")),
        ("bare line break", payload("\"a\nb\"")),
        ("bare tab", payload("\"a\tb\"")),
        ("the JSON library's number token", private("$serde_json::private::Number")),
        ("the token by escape", private("\\u0024serde_json::private::Number")),
        ("the JSON library's raw token", private("$serde_json::private::RawValue")),
        ("the token as a top-level member", Body::message().add("$serde_json::private::Number", "\"1\"")),
        ("nested one too deep", payload(&nested(63))),
        ("objects nested one too deep", payload(&format!("{}1{}", "{\"a\":".repeat(63), "}".repeat(63)))),
        ("nested far too deep", payload(&nested(10_000))),
        ("too many values", payload(&elements(100_000))),
    ];
    for (case, body) in cases {
        world.both_ways(case, &body, MALFORMED, MALFORMED).await;
    }
    let truncated = Body::message().submission();
    for end in [1, truncated.len() / 2, truncated.len() - 1] {
        let reply = world.submit(truncated[..end].to_vec()).await;
        reply.refuses(&format!("truncated to {end}"), 400, "550 5.6.0");
    }
    for (case, bytes) in [
        ("high byte", &b"\xff"[..]),
        ("open sequence", b"\xc3"),
        ("overlong slash", b"\xc0\xaf"),
        ("encoded surrogate", b"\xed\xa0\x80"),
        ("beyond Unicode", b"\xf4\x90\x80\x80"),
    ] {
        let inside = String::from_utf8(Body::message().submission()).unwrap();
        let (head, tail) = inside.split_once("\"x\"").unwrap();
        let bytes = [head.as_bytes(), b"\"", bytes, b"\"", tail.as_bytes()].concat();
        world.submit(bytes).await.refuses(case, 400, "550 5.6.0");
    }
    assert_eq!(world.mail().await, 0);
}

#[tokio::test]
async fn unusual_but_within_the_limits() {
    let world = World::new().await;
    let cases = [
        ("space around", Body::message().after(b" \r\n\t").before(b"\n")),
        ("nested as deep as allowed", payload(&nested(62))),
        ("many values", payload(&elements(90_000))),
        ("a long number", payload(&format!("0.{}", "1".repeat(998)))),
        ("large integers", payload("[1152921504606846976,1180591620717411303424,-9007199254740993]")),
        ("small numbers", payload("[1e-7,5e-324,-0,-0.0,0.10,1E5]")),
        ("underflow", payload("1e-999")),
        ("astral text", payload(r#"{"💬":"\ud83d\udcac","é":"\u00e9"}"#)),
        ("escaped controls", payload(r#""\u0000\u001f\u007f\b\f\n\r\t\"\\\/""#)),
        ("noncharacters", payload(r#""\uffff\ufdd0""#)),
        ("names alike", payload(r#"{"é":1,"e\u0301":2,"a":1,"A":2,"":3}"#)),
        ("names of objects' parts", payload(r#"{"__proto__":{},"constructor":1,"toString":null}"#)),
        ("escaped names of fields", Body::message().without("type").add("typ\\u0065", "\"message\"")),
        ("empty payload", Body::message().set("payload", "{}")),
    ];
    for (count, (case, body)) in cases.into_iter().enumerate() {
        world.both_ways(case, &body, ACCEPTED, ACCEPTED).await;
        assert_eq!(world.mail().await, 2 * count + 2, "{case}");
    }
}
