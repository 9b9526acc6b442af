//! What is exported and taken in again is the same, and a line counts once.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::export::{Wanted, export};
use super::line::hex::{Hex, from_hex, to_hex};
use super::{Line, What};
use crate::proto::address::{Address, Domain};
use crate::proto::nonce::Nonce;
use crate::proto::time::UnixMillis;
use crate::spool::check::check;
use crate::spool::contract::{ReceiptStore as _, Store as _};
use crate::spool::store::{self, SpoolStore};
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::filled::{self, T0};

fn empty() -> SpoolStore {
    let opened = store::open(Arc::new(MemoryDisk::default()), Arc::new(MemoryFiles::default()));
    let (store, committer, _) = opened.unwrap();
    tokio::spawn(committer.run());
    store
}

async fn exported(store: &SpoolStore, what: &[What], agent: Option<&str>) -> Vec<String> {
    let snapshot = store.snapshot().await.unwrap().unwrap();
    let agent = agent.map(|text| Address::parse(text).unwrap());
    let mut lines = Vec::new();
    export(&snapshot, &Wanted { what: what.to_vec(), agent }, &mut |line| {
        lines.push(serde_json::to_string(line).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    lines
}

/// What is remembered comes in the order in which it was packed.
fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

fn parsed(lines: &[String]) -> Vec<Line> {
    let domains = [Domain::parse("a.test").unwrap()];
    lines.iter().map(|line| Line::parse(line.as_bytes(), &domains).unwrap()).collect()
}

async fn whole(store: &SpoolStore) {
    let snapshot = store.snapshot().await.unwrap().unwrap();
    let report = check(&snapshot, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.findings, [""; 0]);
}

#[tokio::test]
async fn what_is_exported_and_imported_is_exported_alike() {
    let (from, to) = (empty(), empty());
    filled::fill(&from).await.unwrap();
    let lines = exported(&from, &What::ALL, None).await;
    for kind in ["agent", "reserved", "token", "limits", "webhook", "received", "message", "submission"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{{\"{kind}\""))), "{kind}: {lines:#?}");
    }
    let taken = to.import(parsed(&lines), T0, false).await.unwrap();
    let wrong: Vec<_> = taken.iter().filter_map(|taken| taken.as_ref().err()).collect();
    assert_eq!(wrong, [""; 0]);
    assert_eq!(sorted(exported(&to, &What::ALL, None).await), sorted(lines.clone()));
    whole(&to).await;
    // Once more: nothing changes.
    let again = to.import(parsed(&lines), T0, true).await.unwrap();
    assert!(again.iter().all(|taken| *taken == Ok(false)), "{again:?}");
    assert_eq!(sorted(exported(&to, &What::ALL, None).await), sorted(lines.clone()));
    // Whatever is handed out from now on lies behind what was taken in.
    let bob = Address::parse("bob@a.test").unwrap();
    let page = to.mailbox(bob, 0, 100, usize::MAX).await.unwrap().unwrap();
    assert!(page.mail.len() > 10);
}

#[tokio::test]
async fn an_import_cut_off_after_any_line_is_finished_by_another() {
    let from = empty();
    filled::fill(&from).await.unwrap();
    let lines = exported(&from, &What::ALL, None).await;
    let to = empty();
    for cut in (0..lines.len()).step_by(5) {
        to.import(parsed(&lines[..cut]), T0, true).await.unwrap();
        whole(&to).await;
    }
    to.import(parsed(&lines), T0, true).await.unwrap();
    assert_eq!(sorted(exported(&to, &What::ALL, None).await), sorted(lines.clone()));
}

#[tokio::test]
async fn one_agents_mail_can_be_exported_alone() {
    let store = empty();
    filled::fill(&store).await.unwrap();
    let lines = exported(&store, &[What::Mail], Some("me@a.test")).await;
    assert!(
        lines.len() > 2 && lines[1..].iter().all(|line| line.contains("\"agent\":\"me@a.test\"")),
        "{lines:#?}"
    );
    let (own, others) = (Some("me@a.test"), Some("bob@a.test"));
    assert_eq!(exported(&store, &[What::Queue], others).await.len(), 1);
    assert_eq!(exported(&store, &[What::Queue], own).await, exported(&store, &[What::Queue], None).await);
    let mut counts = Vec::new();
    for agent in [own, others, None] {
        counts.push(exported(&store, &[What::Remembered], agent).await.len() - 1);
    }
    assert!(counts[0] > 2 && counts[1] > 10 && counts[0] + counts[1] == counts[2], "{counts:?}");
}

#[tokio::test]
async fn what_came_or_went_before_a_move_comes_and_goes_nowhere_twice() {
    let (from, to) = (empty(), empty());
    filled::fill(&from).await.unwrap();
    let lines = exported(&from, &What::ALL, None).await;
    to.import(parsed(&lines), T0, true).await.unwrap();
    // A peer that has heard no answer, and an author likewise.
    let heard = filled::again(&to, T0).await.unwrap();
    assert_eq!(heard, filled::again(&from, T0).await.unwrap());
    assert_eq!(heard, ["Already", "Already", "Reserved"]);
    // What was asked and said about it can still be asked.
    let trace = |store: SpoolStore| async move {
        let nonce = Nonce::parse("asks-shared").unwrap();
        let heard = store.heard(Address::parse("me@a.test").unwrap(), nonce).await.unwrap().unwrap();
        (heard.wanted, heard.recipients)
    };
    assert_eq!(trace(to).await, trace(from).await);
}

#[tokio::test]
async fn an_identity_that_is_packed_twice_or_not_only_packed_is_exported_once() {
    let store = empty();
    filled::fill(&store).await.unwrap();
    let at = store.moment(T0);
    while store.pack(at).await.unwrap() {}
    let lines = exported(&store, &[What::Remembered, What::Queue], None).await;
    let keys: Vec<String> = parsed(&lines)
        .iter()
        .filter_map(|line| match line {
            Line::Received(identity) => {
                Some(format!("{} {} {}", identity.from, identity.nonce, identity.recipient))
            }
            Line::Submission(sent) => Some(format!("{} {}", sent.from, sent.nonce)),
            _ => None,
        })
        .collect();
    let once: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!((once.len(), keys.len() > 20), (keys.len(), true), "{keys:#?}");
}

/// What would harm whoever reads it later, or has it checked.
#[tokio::test]
async fn lines_made_to_harm_are_refused() {
    let store = empty();
    let received = r#""received":{"at":1,"from_ip":null,"ats":"local","atk":"local","tls":null}"#;
    let agent = |hash: &str| format!(r#"{{"agent":{{"address":"x@a.test","password_hash":"{hash}"}}}}"#);
    let message = |cursor: u64, text: &str| {
        let text = serde_json::to_string(text).unwrap();
        format!(
            r#"{{"message":{{"agent":"y@a.test","cursor":{cursor},{received},"restore":false,"message":{text}}}}}"#
        )
    };
    let limits = |quota: &str| {
        format!(
            r#"{{"limits":{{"agent":"y@a.test","keep_acknowledged":"Default","keep_unread":"Default","quota":{quota}}}}}"#
        )
    };
    let token = |name: &str| {
        format!(
            r#"{{"token":{{"agent":"y@a.test","name":{name:?},"hash":"{}","scope":"both","created_at":1,"expires_at":null}}}}"#,
            "00".repeat(16)
        )
    };
    let good = agent("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA").replace("x@", "y@");
    for line in [good, limits(r#"{"At":5}"#), message(7, "{}"), token("t")] {
        assert_eq!(
            store.import(parsed(std::slice::from_ref(&line)), T0, true).await.unwrap(),
            [Ok(true)],
            "{line}"
        );
    }
    let large = format!(r#"{{"x":"{}"}}"#, "x".repeat(1024 * 1024));
    for (line, why) in [
        (agent("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"), "256 MiB"),
        (agent("$argon2id$v=19$m=8,t=4000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"), "64 passes"),
        (agent("$argon2id$nonsense"), "PHC"),
        (agent("$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"), "argon2id"),
        (message(8, "]}"), "JSON object"),
        (message(8, &large), "1 MiB"),
        (message(1 << 52, "{}"), "out of range"),
        (message(7, r#"{"other":1}"#), "another message"),
        (limits(r#"{"At":6}"#), "other limits"),
        (token("a\nb"), "on one line"),
        (token(&"x".repeat(65)), "64 bytes"),
        (r#"{"reserved":{"address":"y@a.test","until":99999999999999}}"#.into(), "registered"),
    ] {
        let taken = store.import(parsed(std::slice::from_ref(&line)), T0, true).await.unwrap();
        assert!(taken[0].as_ref().is_err_and(|told| told.contains(why)), "{line}: {taken:?}");
    }
    whole(&store).await;
}

#[tokio::test]
async fn lines_that_make_no_sense_are_refused_and_the_others_taken() {
    let store = empty();
    let domains = [Domain::parse("a.test").unwrap()];
    let why = |line: &str| Line::parse(line.as_bytes(), &domains).unwrap_err();
    assert!(why("").contains("EOF"));
    assert!(why("null").len() > 5);
    assert!(why(r#"{"agent":{"address":"x@b.test","password_hash":null}}"#).contains("not served here"));
    assert!(
        why(r#"{"agent":{"address":"x@a.test","password_hash":"$argon2id$x","more":1}}"#).contains("more")
    );
    assert!(why(r#"{"tokens":{}}"#).contains("tokens"));
    let lines: Vec<String> = [
        r#"{"agent":{"address":"x@a.test","password_hash":"plain"}}"#,
        r#"{"agent":{"address":"y@a.test","password_hash":"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"}}"#,
        r#"{"agent":{"address":"root@a.test","password_hash":"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"}}"#,
        r#"{"limits":{"agent":"z@a.test","keep_acknowledged":"Default","keep_unread":"Default","quota":{"At":5}}}"#,
        r#"{"export":{"version":9,"program":"9.0.0"}}"#,
    ]
    .map(str::to_owned)
    .to_vec();
    let taken = store.import(parsed(&lines), T0, false).await.unwrap();
    assert_eq!(taken[1], Ok(true));
    assert_eq!(taken.iter().filter(|taken| taken.is_err()).count(), 4, "{taken:?}");
    assert_eq!(store.import(parsed(&lines), T0, true).await.unwrap().len(), 1, "strict stops at the first");
    whole(&store).await;
}

#[tokio::test]
async fn ten_thousand_agents_are_taken_in_within_seconds() {
    let store = empty();
    let began = tokio::time::Instant::now();
    for batch in 0..20 {
        let lines: Vec<String> = (0..500)
            .map(|number| {
                format!(r#"{{"agent":{{"address":"a{}@a.test","password_hash":"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA"}}}}"#, batch * 500 + number)
            })
            .collect();
        assert!(
            store
                .import(parsed(&lines), UnixMillis(5), true)
                .await
                .unwrap()
                .iter()
                .all(|taken| *taken == Ok(true))
        );
    }
    println!("10,000 agents in {:?}", began.elapsed());
    assert_eq!(store.accounts(None, 20_000).await.unwrap().len(), 10_000);
}

#[test]
fn hexadecimal_reads_back() {
    assert_eq!(
        (to_hex(&[0, 255]), from_hex("00ff"), from_hex("0"), from_hex("0g")),
        ("00ff".into(), Some(vec![0, 255]), None, None)
    );
    assert!(
        serde_json::from_str::<Hex<2>>("\"00ff\"").is_ok()
            && serde_json::from_str::<Hex<2>>("\"00\"").is_err()
    );
}
