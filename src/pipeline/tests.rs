//! Messages on their way to scripted peers: what is sent, when, and what becomes of it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::settings::{Live, Settings};
use super::{Accepted, Pipeline, families::Families};
use crate::config::{self, Overrides};
use crate::counters::Counters;
use crate::env::Env;
use crate::env::disk::{Disk, Write};
use crate::env::dns::DnsTrouble;
use crate::env::dns::Kind;
use crate::env::local::LocalDirectory;
use crate::env::peers::Peers;
use crate::env::rng::SystemRng;
use crate::mailbox::read::{Want, read};
use crate::proto::address::{Address, Domain};
use crate::proto::filter::Filter;
use crate::proto::message::Message;
use crate::proto::nonce::Nonce;
use crate::proto::signature::KeyId;
use crate::proto::svcb::Svcb;
use crate::proto::time::UnixMillis;
use crate::rates::messages::Messages;
use crate::sign::{Key, Signer};
use crate::spool::contract::{RowAction, RowFilter, Store, StoreError};
use crate::spool::entry::{Body, Step};
use crate::spool::state::Ending;
use crate::spool::{due, keys, store};
use crate::testing::clock::TokioClock;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::peer::{Deed, DialPeer, ScriptedPeer};
use crate::testing::resolver::ScriptedResolver;
use crate::transfer::client::Client;

mod acknowledged;
mod crashes;
mod domains;
mod late;
mod limits;
mod own;
mod pair;
mod receipts;
mod reference;
mod vanished;

/// 2026-11-20 12:00:00 UTC.
const NOON: UnixMillis = UnixMillis(1_795_176_000_000);

struct World {
    pipeline: Arc<Pipeline>,
    peer: Arc<ScriptedPeer>,
    dns: Arc<ScriptedResolver>,
    disk: Arc<MemoryDisk>,
    health: watch::Receiver<Option<StoreError>>,
    stop: watch::Sender<bool>,
}

impl World {
    /// A daemon for a.example with the agent me@a.example; b.example is `peer`.
    async fn new(peer: Arc<ScriptedPeer>) -> World {
        let world = World::idle(peer, Arc::default(), NOON).await;
        for name in ["me@a.example", "postmaster@a.example"] {
            let now = world.pipeline.env.clock.now();
            world.pipeline.store.register(address(name), None, now).await.unwrap();
        }
        world.run();
        world
    }

    /// The same on a disk that may have been used before, from `now` on. Nothing is attempted yet.
    async fn idle(peer: Arc<ScriptedPeer>, disk: Arc<MemoryDisk>, now: UnixMillis) -> World {
        let dns = Arc::new(ScriptedResolver::default());
        let clock = Arc::new(TokioClock::at(now));
        peer.goes_by(clock.clone(), 0);
        let env =
            Env { clock, dns: dns.clone(), dial: Arc::new(DialPeer(peer.clone())), rng: Arc::new(SystemRng) };
        let (spool, committer, health) = store::open(disk.clone(), Arc::new(MemoryFiles::default())).unwrap();
        tokio::spawn(committer.run());
        let pipeline = Arc::new(pipeline(env, Arc::new(spool)));
        let world = World { pipeline, peer, dns, disk, health, stop: watch::Sender::new(false) };
        world.route("b.example", "atp.b.example");
        world.dns.addresses("atp.b.example", &["192.0.2.1".parse().unwrap()]);
        world
    }

    /// Sends the mail of `domain` to `host`.
    fn route(&self, domain: &str, host: &str) {
        let record = Svcb { priority: 1, target: host.into(), ..Svcb::default() };
        self.dns.set(&format!("_atp.{domain}"), Kind::Svcb, vec![crate::env::dns::Record::Svcb(record)]);
    }

    /// Starts attempts.
    fn run(&self) {
        attempts(&self.pipeline, &self.health, &self.stop);
    }

    async fn submit(&self, nonce: &str, change: impl FnOnce(&mut Value)) {
        let mut message = json!({
            "from": "me@a.example", "to": "you@b.example", "timestamp": self.pipeline.env.clock.now().seconds(),
            "nonce": nonce, "type": "message", "payload": { "subject": "hi", "body": "hello" },
        });
        change(&mut message);
        let message = Message::parse(message.to_string().as_bytes()).unwrap();
        let accepted = self
            .pipeline
            .submit(self.pipeline.settings.now(), message, &address("me@a.example"))
            .await
            .unwrap();
        assert_eq!(accepted, Accepted::Now);
    }

    async fn ending(&self, nonce: &str) -> Option<Ending> {
        self.endings(nonce).await[0]
    }

    /// How it ended for each recipient.
    async fn endings(&self, nonce: &str) -> Vec<Option<Ending>> {
        let trace = self.pipeline.store.trace(Nonce::parse(nonce).unwrap()).await.unwrap();
        trace.sent[0].0.recipients.iter().map(|recipient| recipient.ending).collect()
    }

    /// The messages in the sender's mailbox: bounces.
    async fn bounces(&self) -> Vec<Value> {
        let me = address("me@a.example");
        let want = Arc::new(Want { limit: 1000, max_bytes: 1 << 20, filter: Filter::default() });
        let found = read(&*self.pipeline.store, &me, 0, &want).await.unwrap();
        found.shown.into_iter().map(|shown| Value::Object(shown.message)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Starts attempts.
fn attempts(
    pipeline: &Arc<Pipeline>,
    health: &watch::Receiver<Option<StoreError>>,
    stop: &watch::Sender<bool>,
) {
    let attempt = {
        let pipeline = pipeline.clone();
        move |row| -> crate::env::BoxFuture<'static, due::Attempted> {
            let pipeline = pipeline.clone();
            Box::pin(async move { pipeline.outbound(row).await })
        }
    };
    let Pipeline { store, env, settings, .. } = &**pipeline;
    let live = settings.clone();
    let (runner, handover) = due::runner(due::Parts {
        store: store.clone(),
        health: health.clone(),
        env: env.clone(),
        terms: Arc::new(move || due::Terms {
            schedule: live.now().schedule.clone(),
            bounds: due::Bounds::default(),
        }),
        attempt: Arc::new(attempt),
    });
    assert!(pipeline.handover.set(handover).is_ok());
    tokio::spawn(runner.run(stop.subscribe()));
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn pipeline(env: Env, store: Arc<dyn Store>) -> Pipeline {
    let ours = Domain::parse("a.example").unwrap();
    let key = Key::generate(KeyId::new("default", ours.clone()).unwrap(), &SystemRng);
    pipeline_of(&ours, key, env, store)
}

/// A daemon for one domain, which signs with `key`.
fn pipeline_of(ours: &Domain, key: Key, env: Env, store: Arc<dyn Store>) -> Pipeline {
    let ours = ours.clone();
    let signer = watch::Sender::new(Arc::new(Signer::new(Arc::new(key)))).subscribe();
    let given = Overrides { domains: vec![ours.to_string()], ..Overrides::default() };
    let config = Arc::new(config::load(None, given).unwrap());
    let nowhere = LocalDirectory::new(std::path::Path::new("/nonexistent"));
    Pipeline {
        store,
        settings: Live::new(Settings::new(
            config,
            env.clone(),
            Peers::default(),
            nowhere,
            HashMap::from([(ours, signer)]),
            "atpo_x".into(),
        )),
        client: Client::new(env.dial.clone(), env.clock.clone()),
        families: Families::default(),
        rates: Messages::new(Arc::default()),
        counters: Arc::new(Counters::default()),
        handover: OnceLock::new(),
        env,
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn delivered_at_the_first_attempt() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.submit("n1", |_| {}).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
    let sent = world.peer.transfers();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].nonce().as_str(), "n1");
    assert!(sent[0].signature().is_some() && sent[0].routing().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_sent_though_its_author_hung_up() {
    let world = World::new(ScriptedPeer::like_us()).await;
    // Past the runner's first look at the disk, which would find the row by itself.
    sleep(Duration::from_secs(1)).await;
    let hung_up = tokio::time::timeout(Duration::ZERO, world.submit("n1", |_| {})).await;
    assert!(hung_up.is_err(), "accepted before the author could hang up");
    sleep(HOUR).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_away_gets_it_when_it_is_back() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([Deed::Refuse, Deed::Refuse, Deed::Refuse]);
    world.submit("n1", |_| {}).await;
    sleep(HOUR).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
    assert_eq!(world.peer.transfers().len(), 1);
    assert!(world.bounces().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_followed_by_the_very_same_copy() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([Deed::TakeAndCut]);
    world.submit("n1", |message| message["cc"] = json!(["me@a.example"])).await;
    sleep(HOUR).await;
    let sent = world.peer.transfers();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].nonce(), sent[1].nonce());
    assert_eq!(
        (sent[0].to(), sent[0].cc(), sent[0].timestamp()),
        (sent[1].to(), sent[1].cc(), sent[1].timestamp())
    );
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_bounces_at_once() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([Deed::Say(404, r#"{"error":"No such agent.","error_code":"550 5.1.1"}"#.into())]);
    world.submit("n1", |_| {}).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    let bounces = world.bounces().await;
    assert_eq!(bounces.len(), 1);
    let (bounce, status) = (&bounces[0], &bounces[0]["payload"]["status"]);
    assert_eq!(bounce["from"], "postmaster@a.example");
    assert_eq!(bounce["payload"]["original_nonce"], "n1");
    assert_eq!(status["recipient"], "you@b.example");
    assert_eq!((&status["error_code"], &status["reason"]), (&json!("550 5.1.1"), &json!("No such agent.")));
    assert_eq!((&status["attempts"], &status["remote"]), (&json!(1), &json!("atp.b.example:7443")));
    assert_eq!((&status["first_attempt"], &status["subject"]), (&json!(NOON.seconds()), &json!("hi")));
}

#[tokio::test(start_paused = true)]
async fn what_a_peer_speaks_is_asked_again_only_if_another_program_may_be_there() {
    for (refusal, asked) in [
        (r#"{"error":"No such agent.","error_code":"550 5.1.1"}"#, 1),
        (r#"{"error":"No such path.","error_code":"550 5.5.1"}"#, 2),
        ("<html>", 2),
    ] {
        let world = World::new(ScriptedPeer::like_us()).await;
        world.peer.will([Deed::Say(404, refusal.into())]);
        for nonce in ["n1", "n2"] {
            world.submit(nonce, |_| {}).await;
            sleep(HOUR / 2).await;
        }
        assert_eq!(
            (world.peer.asked(), world.ending("n2").await),
            (asked, Some(Ending::Delivered)),
            "{refusal}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn given_up_after_two_days_and_not_before() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will(std::iter::repeat_n(Deed::Refuse, 1000));
    world.submit("n1", |_| {}).await;
    sleep(HOUR * 47).await;
    assert_eq!(world.ending("n1").await, None);
    sleep(HOUR * 2).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    let status = &world.bounces().await[0]["payload"]["status"];
    assert_eq!(status["error_code"], "550 5.4.7");
    assert!(status["attempts"].as_u64().unwrap() > 50, "{status}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_any_more_is_given_up_like_any_other() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([Deed::Refuse]);
    world.submit("n1", |message| message["payload"]["body"] = json!("x".repeat(20_000))).await;
    sleep(Duration::from_secs(1)).await;
    let trace = world.pipeline.store.trace(Nonce::parse("n1").unwrap()).await.unwrap();
    let Body::Chunks { number, .. } = trace.sent[0].1[0].body else { panic!("a short body") };
    world.disk.apply(vec![Write::Delete(keys::chunk(number, 0))]).unwrap();
    sleep(HOUR * 47).await;
    assert_eq!(world.ending("n1").await, None);
    sleep(HOUR * 2).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    let bounce = &world.bounces().await[0]["payload"];
    assert_eq!(
        (&bounce["original_nonce"], &bounce["status"]["error_code"]),
        (&json!("n1"), &json!("550 5.4.7"))
    );
    assert!(world.peer.transfers().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_gets_an_hour_to_spread() {
    let world = World::new(ScriptedPeer::like_us()).await;
    let refusal = Deed::Say(403, r#"{"error":"No key.","error_code":"550 5.7.29"}"#.into());
    world.peer.will(std::iter::repeat_n(refusal, 100));
    world.submit("n1", |_| {}).await;
    sleep(Duration::from_secs(50 * 60)).await;
    assert_eq!(world.ending("n1").await, None);
    sleep(HOUR * 2).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    assert_eq!(world.bounces().await[0]["payload"]["status"]["error_code"], "550 5.7.29");
}

#[tokio::test(start_paused = true)]
async fn a_domain_without_server_bounces_and_dns_trouble_waits() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.submit("n1", |message| message["to"] = json!("you@nowhere.example")).await;
    for name in ["_atp.trouble.example", "_agent.trouble.example", "_atp._tcp.trouble.example"] {
        for kind in [Kind::Svcb, Kind::Srv] {
            world.dns.fail(name, kind, DnsTrouble::ServFail);
        }
    }
    world.submit("n2", |message| message["to"] = json!("you@trouble.example")).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Bounced));
    assert_eq!(world.bounces().await[0]["payload"]["status"]["error_code"], "550 5.4.4");
    assert_eq!(world.ending("n2").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stale_stamp_is_renewed() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([Deed::Say(400, r#"{"error":"Stale.","error_code":"450 4.6.0"}"#.into())]);
    world.submit("n1", |_| {}).await;
    sleep(HOUR).await;
    let sent = world.peer.transfers();
    assert!(sent[1].timestamp() > sent[0].timestamp());
    assert_eq!(sent[1].routing().unwrap()["atp"]["submitted_at"], NOON.seconds());
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    let world = World::new(ScriptedPeer::like_us()).await;
    world.peer.will([Deed::Say(503, "<html>".into()), Deed::Say(302, String::new())]);
    world.submit("n1", |_| {}).await;
    sleep(HOUR).await;
    assert_eq!(world.ending("n1").await, Some(Ending::Delivered), "a proxy's page is no refusal");
}

#[tokio::test(start_paused = true)]
async fn what_the_peer_does_not_take_is_not_sent() {
    let world = World::new(ScriptedPeer::speaking(
        r#"{"capabilities":["message"],"max_message_age":9999,"max_payload_size":600}"#,
    ))
    .await;
    world.submit("n1", |message| message["payload"]["body"] = json!("x".repeat(500))).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.bounces().await[0]["payload"]["status"]["error_code"], "552 5.3.4");
    assert!(world.peer.transfers().is_empty());
}
