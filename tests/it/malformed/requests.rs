//! Requests wrong around the message: credentials, parameters, framing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::World;
use super::body::Body;
use crate::support::https::{Call, PREFIX, connect, raw, read_reply};
use crate::support::node::{PASSWORD, TOKEN};

#[tokio::test]
async fn credentials_that_are_none() {
    let World { node, .. } = &World::new().await;
    let basic = |pair: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(pair)).into_bytes();
    let good = format!("alice:{PASSWORD}");
    let encoded = BASE64_STANDARD.encode(&good);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", b"".to_vec()),
        ("a word", b"alice".to_vec()),
        ("scheme alone", b"Basic".to_vec()),
        ("scheme and space", b"Basic ".to_vec()),
        ("not base64", b"Basic ***".to_vec()),
        ("URL-safe base64", b"Basic __79_v8=".to_vec()),
        ("no colon", basic(b"alice")),
        ("nothing", basic(b"")),
        ("colon alone", basic(b":")),
        ("no name", basic(format!(":{PASSWORD}").as_bytes())),
        ("not UTF-8", basic(b"alice:\xff")),
        ("name not UTF-8", basic(b"\xff:x")),
        ("name with a space", basic(format!("alice :{PASSWORD}").as_bytes())),
        ("name with a zero", basic(b"alice\0:x")),
        ("no domain", basic(format!("alice@:{PASSWORD}").as_bytes())),
        ("two @", basic(format!("alice@ours@example:{PASSWORD}").as_bytes())),
        ("foreign", basic(format!("alice@peer.example:{PASSWORD}").as_bytes())),
        // Not all of one agent: the sixth wrong one would have to wait.
        ("password cut short", basic(b"bob:p")),
        ("password and a line break", basic(format!("{good}\n").as_bytes())),
        ("password and a zero", basic(format!("{good}\0").as_bytes())),
        ("password of 2 KiB", basic(format!("bob:{}", "p".repeat(2048)).as_bytes())),
        ("tab for space", format!("Basic\t{encoded}").into_bytes()),
        ("no space", format!("Basic{encoded}").into_bytes()),
        ("other scheme", format!("Digest {encoded}").into_bytes()),
        ("two credentials", format!("Basic {encoded}, Basic {encoded}").into_bytes()),
        ("high bytes", b"Basic \xff\xfe".to_vec()),
        ("bearer alone", b"Bearer".to_vec()),
        ("empty token", b"Bearer ".to_vec()),
        ("token with a space", b"Bearer a b".to_vec()),
        ("a token of nobody", b"Bearer atpa_0123456789".to_vec()),
        ("password as token", format!("Bearer {encoded}").into_bytes()),
        ("the operator's token", format!("Bearer {TOKEN}").into_bytes()),
        ("a token of 9 KiB", format!("Bearer {}", "x".repeat(9 * 1024)).into_bytes()),
    ];
    for (case, value) in cases {
        let call = Call::get("messages").header("authorization", value.clone());
        node.send(call).await.refuses(case, 401, "535 5.7.8");
        let call = Call::post("message", Body::message().submission()).header("authorization", value);
        node.send(call).await.refuses(case, 401, "535 5.7.8");
    }
    node.send(Call::get("messages")).await.refuses("none", 401, "535 5.7.8");
    for scheme in ["Basic ", "basic ", "BASIC ", "Basic  "] {
        let call = Call::get("messages").header("authorization", format!("{scheme}{encoded}"));
        assert_eq!(node.send(call).await.status, 200, "{scheme:?}");
    }
}

#[tokio::test]
async fn parameters_that_are_no_numbers() {
    let world = World::new().await;
    for _ in 0..3 {
        world.submit(Body::message().submission()).await.accepts("mail", "accepted");
    }
    let read = |query: &str| Call::get(&format!("messages?{query}")).basic("bob", PASSWORD);
    for query in [
        "limit=0",
        "limit=-1",
        "limit=",
        "limit=abc",
        "limit=1.5",
        "limit=1e2",
        "limit=0x10",
        "limit=%2010",
        "limit=%FF",
        "limit=%00",
        "limit=1%262",
        "limit=18446744073709551616",
        "limit=٣",
        "after_id=-1",
        "after_id=",
        "after_id=x",
        "after_id=1.0",
        "after_id=null",
        "after_id=99999999999999999999999",
        "after_id=1&limit=x",
    ] {
        let query = query.replace('٣', "%D9%A3");
        world.node.send(read(&query)).await.refuses(&query, 400, "550 5.6.0");
    }
    for (query, want) in [
        ("", 3),
        ("limit=1", 1),
        ("limit=2&after_id=0", 2),
        ("limit=500", 3),
        ("limit=501", 3),
        ("limit=18446744073709551615", 3),
        ("after_id=18446744073709551615", 0),
        ("limit", 400),
        ("&&&", 3),
        ("nothing=1&%=%", 3),
        ("domain=nowhere", 3),
        ("after_id=17000000", 0),
    ] {
        let reply = world.node.send(read(query)).await;
        match want {
            0 => assert_eq!(query, format!("after_id={}", reply.json()["last_id"]), "an empty page"),
            400 => reply.refuses(query, 400, "550 5.6.0"),
            _ => assert_eq!((reply.status, &reply.json()["count"]), (200, &Value::from(want)), "{query}"),
        }
    }
}

#[tokio::test]
async fn content_types_that_do_not_matter() {
    let world = World::new().await;
    for kind in ["", "text/plain", "application/json", "application/atp+json; charset=latin1", "x", "\u{e9}"]
    {
        let call = Call::post("message", Body::message().submission()).basic("alice", PASSWORD);
        world.node.send(call.header("content-type", kind)).await.accepts(kind, "accepted");
    }
}

/// A request with these header lines and this body.
fn request(lines: &[&str], body: &[u8]) -> Vec<u8> {
    let credential = BASE64_STANDARD.encode(format!("alice:{PASSWORD}"));
    let mut head = format!(
        "POST {PREFIX}message HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Basic {credential}\r\n"
    );
    for line in lines {
        head.push_str(line);
        head.push_str("\r\n");
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

fn chunked(body: &[u8], bytes: usize) -> Vec<u8> {
    let chunks = body
        .chunks(bytes)
        .map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
    let mut out: Vec<u8> = chunks.flatten().collect();
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

#[tokio::test]
async fn framing_by_the_byte() {
    let world = World::new().await;
    let address = world.node.address();
    let message = || Body::message().submission();
    let chunks = "Transfer-Encoding: chunked";

    for bytes in [1, 7, 4096] {
        let reply = raw(address, &request(&[chunks], &chunked(&message(), bytes))).await;
        reply.accepts(&format!("chunks of {bytes}"), "accepted");
    }
    let body = message();
    let exact = format!("Content-Length: {}", body.len());
    raw(address, &request(&[&exact], &body)).await.accepts("exact length", "accepted");
    let short = format!("Content-Length: {}", body.len() - 1);
    raw(address, &request(&[&short], &body)).await.refuses("length too short", 400, "550 5.6.0");
    raw(address, &request(&[], &body)).await.refuses("no length", 400, "550 5.6.0");
    let bad = [b"5\r\n{\"a\":\r\nzz\r\n".as_slice(), &body].concat();
    raw(address, &request(&[chunks], &bad)).await.refuses("a chunk without size", 400, "550 5.6.0");

    // What HTTP itself forbids never reaches us; that it is refused is enough.
    for (case, lines) in [
        ("two lengths", &["Content-Length: 3", "Content-Length: 4"][..]),
        ("length no number", &["Content-Length: x"]),
        ("length negative", &["Content-Length: -1"]),
        ("length with a plus", &["Content-Length: +3"]),
        ("length a list", &["Content-Length: 3, 4"]),
        ("unknown coding", &["Transfer-Encoding: gzip"]),
        ("chunked not last", &["Transfer-Encoding: chunked, gzip"]),
        ("space in a name", &["Bad Name: x"]),
        ("a line that is no header", &["nonsense"]),
    ] {
        let reply = raw(address, &request(lines, b"{}")).await;
        assert_eq!(reply.status, 400, "{case}: {:?}", reply.body);
    }
    assert_eq!(world.mail().await, 4);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_message() {
    let world = World::new().await;
    let body = Body::message().submission();
    let length = format!("Content-Length: {}", body.len() + 1);
    let mut io = connect(world.node.address()).await;
    io.write_all(&request(&[&length], &body)).await.unwrap();
    // The end of what we send, in order; the answer may still come.
    io.shutdown().await.unwrap();
    read_reply(&mut io).await.refuses("one byte is missing", 408, "450 4.4.2");
    assert_eq!(world.mail().await, 0);
}
