//! What is exported and taken in again is the same, and a line counts once.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::export::{Wanted, export};
use super::line::{Hex, from_hex, to_hex};
use super::{Line, What};
use crate::proto::address::{Address, Domain};
use crate::proto::time::UnixMillis;
use crate::spool::check::check;
use crate::spool::contract::Store as _;
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
    for kind in ["agent", "token", "limits", "webhook", "message", "submission"] {
        assert!(lines.iter().any(|line| line.starts_with(&format!("{{\"{kind}\""))), "{kind}: {lines:#?}");
    }
    let taken = to.import(parsed(&lines), T0, false).await.unwrap();
    let wrong: Vec<_> = taken.iter().filter_map(|taken| taken.as_ref().err()).collect();
    assert_eq!(wrong, [""; 0]);
    assert_eq!(exported(&to, &What::ALL, None).await, lines);
    whole(&to).await;
    // Once more: nothing changes.
    let again = to.import(parsed(&lines), T0, true).await.unwrap();
    assert!(again.iter().all(|taken| *taken == Ok(false)), "{again:?}");
    assert_eq!(exported(&to, &What::ALL, None).await, lines);
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
    assert_eq!(exported(&to, &What::ALL, None).await, lines);
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
    assert_eq!(exported(&store, &[What::Queue], Some("me@a.test")).await.len(), 1);
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
        r#"{"agent":{"address":"y@a.test","password_hash":"$argon2id$v=19$m=8,t=1,p=1$YWFh$YmJi"}}"#,
        r#"{"agent":{"address":"root@a.test","password_hash":"$argon2id$v=19$m=8,t=1,p=1$YWFh$YmJi"}}"#,
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
                format!(r#"{{"agent":{{"address":"a{}@a.test","password_hash":"$argon2id$v=19$m=8,t=1,p=1$YWFh$YmJi"}}}}"#, batch * 500 + number)
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
