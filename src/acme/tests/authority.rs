//! An authority that is spoken to over a pipe instead of TLS, and refuses in every way.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::{START, config};
use crate::acme::issue::{Authority, Failure, Issue as _};
use crate::acme::respond::Responder;
use crate::acme::solve::Solver;
use crate::config::checked::Acme;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::env::{BoxFuture, Env};
use crate::testing;

const DIRECTORY: &str = r#"{ "newNonce": "https://192.0.2.1/nonce", "newAccount": "https://192.0.2.1/account",
    "newOrder": "https://192.0.2.1/order", "renewalInfo": "https://192.0.2.1/ari",
    "revokeCert": "https://192.0.2.1/revoke", "keyChange": "https://192.0.2.1/key" }"#;

/// Answers by path; the status, the body, and `Retry-After`.
type Answers = Arc<dyn Fn(&str) -> (u16, String, Option<&'static str>) + Send + Sync>;

struct Pipe {
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dial for Pipe {
    fn dial<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (answers, asked) = (Arc::clone(&self.answers), Arc::clone(&self.asked));
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                asked.lock().unwrap().push(path.clone());
                let (status, body, after) = answers(&path);
                let mut response = Response::builder().status(status).header("Replay-Nonce", "nonce");
                if let Some(after) = after {
                    response = response.header("Retry-After", after);
                }
                let response = response.header("Location", "https://192.0.2.1/account/1");
                let response = response.body(Full::new(Bytes::from(body))).unwrap();
                async move { Ok::<_, Infallible>(response) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(theirs), service).await;
        });
        Box::pin(std::future::ready(Ok(Connection {
            io: Box::new(ours),
            alpn: None,
            certificate_sha256: None,
            certificate_ends: None,
        })))
    }
}

fn problem(kind: &str, detail: &str) -> String {
    format!(r#"{{ "type": "urn:ietf:params:acme:error:{kind}", "detail": "{detail}" }}"#)
}

/// What an order comes to with these answers, and what was asked for; twice, with one account.
async fn orders(answers: Answers, config: Acme) -> (Vec<Failure>, Vec<String>) {
    let asked = Arc::default();
    let dial = Arc::new(Pipe { answers, asked: Arc::clone(&asked) });
    let dns = Arc::new(testing::resolver::ScriptedResolver::default());
    let clock = Arc::new(testing::clock::SetClock::at(START));
    let directory = tempfile::tempdir().unwrap();
    let solver = Solver::Http(Responder { socket: None, address: None });
    let env = Env { dial, ..testing::env(&dns, &clock) };
    let names = config.names.clone();
    let authority = Authority { config, directory: directory.path().to_owned(), env, solver };
    let mut failures = Vec::new();
    for _ in 0..2 {
        failures.push(authority.issue(&names, None).await.err().unwrap());
    }
    let asked: &Mutex<Vec<String>> = &asked;
    let asked = asked.lock().unwrap().clone();
    (failures, asked)
}

fn at_ip() -> Acme {
    Acme { directory: "https://192.0.2.1/dir".into(), ..config() }
}

/// Answers as an authority does up to the order.
fn up_to_order(order: (u16, String, Option<&'static str>)) -> Answers {
    Arc::new(move |path| match path {
        "/dir" => (200, DIRECTORY.into(), None),
        "/nonce" => (200, String::new(), None),
        "/account" => (201, "{}".into(), None),
        _ => order.clone(),
    })
}

#[tokio::test]
async fn a_rate_limit_is_told_with_its_end() {
    let (failures, asked) = orders(
        up_to_order((429, problem("rateLimited", "too many\\u001b[2J orders"), Some("7200"))),
        at_ip(),
    )
    .await;
    for failure in &failures {
        assert!(failure.limited, "{failure:?}");
        assert_eq!(failure.told, Some(START.plus(Duration::from_secs(7200))));
        assert!(failure.text.contains("too many\\u{1b}[2J orders"), "{failure:?}");
    }
    assert_eq!(asked.iter().filter(|path| *path == "/account").count(), 1, "{asked:?}");
    assert_eq!(asked.iter().filter(|path| *path == "/order").count(), 2, "{asked:?}");
}

#[tokio::test]
async fn a_broken_authority_is_told_as_what_it_is() {
    for (answer, wanted) in [
        ((500, problem("serverInternal", "out of order"), Some("60")), "out of order"),
        ((503, "<html>".into(), None), "the order"),
        ((201, "{}".into(), None), "not one of an ACME server"),
        ((200, "x".repeat(2 * 1024 * 1024), None), "length limit"),
    ] {
        let (failures, _) = orders(up_to_order(answer), at_ip()).await;
        assert!(failures[0].text.contains(wanted), "{wanted}: {failures:?}");
        assert!(!failures[0].limited, "{failures:?}");
    }
    let (failures, _) = orders(Arc::new(|_| (404, "no".into(), None)), at_ip()).await;
    assert!(!failures[0].text.is_empty());
}

#[tokio::test]
async fn an_account_that_the_authority_has_forgotten_is_made_again_with_its_key() {
    let (failures, asked) =
        orders(up_to_order((400, problem("accountDoesNotExist", "who?"), None)), at_ip()).await;
    assert!(failures[0].text.contains("who?"), "{failures:?}");
    // Made, then forgotten, then made again; and so the next time.
    assert_eq!(asked.iter().filter(|path| *path == "/account").count(), 3, "{asked:?}");
}

#[tokio::test]
async fn no_proof_is_given_for_names_that_were_not_asked_for() {
    for name in ["victim.example", "atp.a.example\\n--", "*.a.example", ""] {
        let answers: Answers = Arc::new(move |path| match path {
            "/order" => (
                201,
                r#"{ "status": "pending", "authorizations": ["https://192.0.2.1/authz"],
                     "finalize": "https://192.0.2.1/finalize" }"#
                    .into(),
                None,
            ),
            "/authz" => (
                200,
                format!(
                    r#"{{ "status": "pending", "identifier": {{ "type": "dns", "value": "{name}" }},
                       "challenges": [{{ "type": "http-01", "url": "https://192.0.2.1/challenge",
                       "status": "pending", "token": "x" }}] }}"#
                ),
                None,
            ),
            path => up_to_order((500, String::new(), None))(path),
        });
        let (failures, asked) = orders(answers, at_ip()).await;
        assert!(failures[0].text.contains("for which nothing was asked"), "{failures:?}");
        assert!(!failures[0].text.contains('\n'), "{failures:?}");
        assert!(!asked.iter().any(|path| path == "/challenge"), "{asked:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_in_the_clear() {
    let plain = DIRECTORY.replace("https://192.0.2.1/nonce", "http://192.0.2.1/nonce");
    let answers: Answers = Arc::new(move |_| (200, plain.clone(), None));
    let (failures, asked) = orders(answers, at_ip()).await;
    assert!(failures[0].text.contains("not https"), "{failures:?}");
    assert!(asked.iter().all(|path| path == "/dir"), "{asked:?}");
}
