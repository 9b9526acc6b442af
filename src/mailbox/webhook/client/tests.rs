//! Receivers of every kind, in virtual time.

use std::sync::Arc;

use tokio::time::Instant;

use super::*;
use crate::env::rng::SystemRng;
use crate::testing::clock::TokioClock;
use crate::testing::receiver::{Deed, DialReceiver, ScriptedReceiver};
use crate::testing::resolver::ScriptedResolver;

struct World {
    client: Client,
    receiver: Arc<ScriptedReceiver>,
    dns: Arc<ScriptedResolver>,
}

fn world() -> World {
    let clock = Arc::new(TokioClock::at(UnixMillis(1_795_176_000_000)));
    let (receiver, dns) = (ScriptedReceiver::new(clock.clone()), Arc::new(ScriptedResolver::default()));
    dns.addresses("hook.example", &["8.8.8.8".parse().unwrap()]);
    let dial = Arc::new(DialReceiver(receiver.clone()));
    let env = Env { clock, dns: dns.clone(), dial, rng: Arc::new(SystemRng) };
    World { client: Client::new(env, Guard::default()), receiver, dns }
}

impl World {
    async fn push(&self, url: &str) -> Answered {
        let at = self.client.env.clock.now();
        let body = Bytes::from_static(b"{}");
        let push = Push { id: "msg_1".into(), at, signatures: "v1,x".into(), body };
        self.client.push(&Url::parse(url).unwrap(), &push).await
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_receiver_does_an_attempt_ends_in_time() {
    use PushOutcome::{Answered as A, NoAnswer, Tls, Unreachable};
    for (deed, outcome, seconds) in [
        (Deed::Say(200), A(200), 0),
        (Deed::Say(204), A(204), 0),
        (Deed::Say(410), A(410), 0),
        (Deed::Say(500), A(500), 0),
        (Deed::SayAfter(Duration::from_secs(14), 200), A(200), 14),
        (Deed::SayAfter(Duration::from_secs(16), 200), NoAnswer, 15),
        (Deed::Silence, NoAnswer, 15),
        (Deed::Deaf, NoAnswer, 15),
        (Deed::Dribble(Duration::from_millis(100)), NoAnswer, 15),
        (Deed::EndlessHead, NoAnswer, 0),
        (Deed::EndlessBody, A(200), 0),
        (Deed::Close, NoAnswer, 0),
        (Deed::Write(b"220 mail.example ESMTP\r\n"), NoAnswer, 0),
        (Deed::Write(b"\x00\x01\x02\xff\xfe garbage \r\n\r\n"), NoAnswer, 0),
        (Deed::Write(b"HTTP/1.1 200"), NoAnswer, 0),
        (Deed::Write(b"HTTP/1.1 999 X\r\ncontent-length: 0\r\n\r\n"), A(999), 0),
        (Deed::Write(b"HTTP/1.1 099 X\r\ncontent-length: 0\r\n\r\n"), NoAnswer, 0),
        (Deed::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut"), A(200), 0),
        (Deed::Write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx"), NoAnswer, 0),
        (Deed::Write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"), A(200), 0),
        (Deed::Refuse, Unreachable, 0),
        (Deed::BadCertificate, Tls, 0),
    ] {
        let world = world();
        world.receiver.will([deed.clone()]);
        let begun = Instant::now();
        let answered = world.push("https://hook.example/").await;
        assert_eq!((answered.outcome, begun.elapsed().as_secs()), (outcome, seconds), "{deed:?}");
        assert_eq!(world.receiver.dialled().len(), 1, "{deed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_not_followed() {
    for (status, lines) in [
        (301, "location: https://127.0.0.1/\r\n"),
        (302, "location: https://hook.example/other\r\n"),
        (303, "location: http://169.254.169.254/latest/meta-data\r\n"),
        (307, "location: https://[::1]:6379/\r\n"),
        (308, "location: //localhost/\r\n"),
        (300, "refresh: 0; url=https://127.0.0.1/\r\n"),
    ] {
        let world = world();
        world.receiver.will([Deed::SayWith(status, lines)]);
        let answered = world.push("https://hook.example/").await;
        assert_eq!(answered.outcome, PushOutcome::Answered(status));
        assert!(!answered.outcome.is_success());
        assert_eq!(world.receiver.dialled(), ["8.8.8.8:443".parse().unwrap()], "{status}");
        assert_eq!(world.dns.asked().len(), 2, "one question for each kind of address");
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_not_be_dialled_is_not_and_looks_like_what_is_not_there() {
    let world = world();
    for (name, addresses) in [
        ("private.example", &["10.0.0.1"][..]),
        ("mixed.example", &["8.8.8.8", "127.0.0.1"]),
        ("nowhere.example", &[]),
    ] {
        let addresses: Vec<_> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        world.dns.addresses(name, &addresses);
    }
    for url in
        ["https://private.example/", "https://mixed.example/", "https://nowhere.example/", "https://[::1]/"]
    {
        let begun = Instant::now();
        let answered = world.push(url).await;
        assert_eq!((answered.outcome, answered.retry_after), (PushOutcome::Unreachable, None), "{url}");
        assert_eq!(begun.elapsed(), Duration::ZERO, "{url}");
    }
    assert_eq!(world.receiver.dialled(), []);
}

#[tokio::test(start_paused = true)]
async fn what_was_checked_is_what_is_dialled() {
    let world = world();
    // A name whose answer changes as soon as it has been asked for.
    world.dns.addresses("hook.example", &["8.8.8.8".parse().unwrap()]);
    assert!(world.push("https://hook.example:8443/").await.outcome.is_success());
    world.dns.addresses("hook.example", &["127.0.0.1".parse().unwrap()]);
    assert_eq!(world.push("https://hook.example:8443/").await.outcome, PushOutcome::Unreachable);
    assert_eq!(world.receiver.dialled(), ["8.8.8.8:8443".parse().unwrap()]);
    assert_eq!(world.receiver.names(), ["hook.example"]);
    // Each attempt asked once: there is no second look-up that could say something else.
    assert_eq!(world.dns.asked().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_next_address_is_tried_where_one_is_out_of_reach() {
    let world = world();
    let addresses = ["8.8.8.1", "8.8.8.2", "8.8.8.3", "8.8.8.4", "8.8.8.5"].map(|text| text.parse().unwrap());
    world.dns.addresses("hook.example", &addresses);
    world.receiver.will([Deed::Refuse, Deed::Refuse, Deed::Say(200)]);
    assert!(world.push("https://hook.example/").await.outcome.is_success());
    assert_eq!(world.receiver.dialled().len(), 3);
    world.receiver.otherwise(Deed::Refuse);
    assert_eq!(world.push("https://hook.example/").await.outcome, PushOutcome::Unreachable);
    assert_eq!(world.receiver.dialled().len(), 3 + MAX_TRIED);
}

#[tokio::test(start_paused = true)]
async fn the_request_is_what_the_specification_says() {
    let world = world();
    world.push("https://hook.example:8443/a/b?token=x%20y").await;
    let arrived = world.receiver.arrived().remove(0);
    assert!(arrived.head.starts_with("POST /a/b?token=x%20y HTTP/1.1\r\n"), "{}", arrived.head);
    for (name, value) in [
        ("host", "hook.example:8443"),
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("webhook-id", "msg_1"),
        ("webhook-timestamp", "1795176000"),
        ("webhook-signature", "v1,x"),
    ] {
        assert_eq!(arrived.header(name), Some(value), "{name}");
    }
    assert!(arrived.header("authorization").is_none() && arrived.header("cookie").is_none());
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = UnixMillis::from_seconds(784_111_777);
    for (text, seconds) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("99999999999999999999", None),
        ("-1", None),
        ("soon", None),
    ] {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, text.parse().unwrap())]);
        assert_eq!(retry_after(&headers, now).map(|wait| wait.as_secs()), seconds, "{text}");
    }
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}
