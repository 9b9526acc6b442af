//! Pushing from mailbox to receiver, in virtual time.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::env::BoxFuture;
use crate::env::clock::Clock as _;
use crate::env::dial::{Connection, Dial, DialError, Endpoint};
use crate::env::rng::SystemRng;
use crate::proto::nonce::Nonce;
use crate::spool::contract::{Fate, NewRecipient, NewSubmission};
use crate::spool::entry::webhooks::{Disabling, WebhookState};
use crate::spool::store;
use crate::testing::clock::TokioClock;
use crate::testing::disk::MemoryDisk;
use crate::testing::files::MemoryFiles;
use crate::testing::receiver::{Arrived, Deed, DialReceiver, ScriptedReceiver};
use crate::testing::resolver::ScriptedResolver;

mod crashes;
mod removal;
mod trouble;

/// 2026-11-20 12:00:00 UTC.
const NOON: UnixMillis = UnixMillis(1_795_176_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const URL: &str = "https://hook.example/in?token=t";

/// Several receivers, by host name.
#[derive(Default)]
struct Switch(std::sync::Mutex<HashMap<String, Arc<DialReceiver>>>);

impl Dial for Switch {
    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        let receiver = self.0.lock().unwrap().get(&endpoint.name).cloned();
        Box::pin(async move {
            match receiver {
                Some(receiver) => receiver.dial(endpoint).await,
                None => Err(DialError::Connect("nobody".into())),
            }
        })
    }
}

struct World {
    store: Arc<dyn Store>,
    disk: Arc<MemoryDisk>,
    clock: Arc<TokioClock>,
    dns: Arc<ScriptedResolver>,
    switch: Arc<Switch>,
    webhooks: Webhooks,
    receiver: Arc<ScriptedReceiver>,
    stop: watch::Sender<bool>,
    runner: JoinHandle<()>,
}

impl World {
    /// A daemon with the agents me@a.example and you@a.example, and the receiver hook.example.
    async fn new() -> World {
        let world = World::on(Arc::default(), NOON).await;
        for name in ["me@a.example", "you@a.example"] {
            world.store.register(address(name), Some("x".into()), world.clock.now()).await.unwrap();
        }
        world
    }

    /// The same on a disk that has been used before, from `now` on.
    async fn on(disk: Arc<MemoryDisk>, now: UnixMillis) -> World {
        let (store, committer, _health) =
            store::open(disk.clone(), Arc::new(MemoryFiles::default())).unwrap();
        tokio::spawn(committer.run());
        let clock = Arc::new(TokioClock::at(now));
        let (dns, switch) = (Arc::new(ScriptedResolver::default()), Arc::new(Switch::default()));
        let env =
            Env { clock: clock.clone(), dns: dns.clone(), dial: switch.clone(), rng: Arc::new(SystemRng) };
        let store: Arc<dyn Store> = Arc::new(store);
        let (webhooks, runner) = Webhooks::new(store.clone(), env, Guard::default(), Arc::default());
        let (stop, stopping) = watch::channel(false);
        let runner = tokio::spawn(runner.run(stopping));
        let receiver = ScriptedReceiver::new(clock.clone());
        let world = World { store, disk, clock, dns, switch, webhooks, receiver, stop, runner };
        world.at("hook.example", &world.receiver);
        world
    }

    /// Has a receiver at a host.
    fn at(&self, name: &str, receiver: &Arc<ScriptedReceiver>) {
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        self.dns.addresses(name, &[public]);
        self.switch.0.lock().unwrap().insert(name.into(), Arc::new(DialReceiver(receiver.clone())));
    }

    async fn mailbox(&self, agent: &str) -> u64 {
        self.store.account(address(agent)).await.unwrap().unwrap().mailbox
    }

    /// Sets the webhook of me@a.example; its secret, as shown.
    async fn set(&self) -> Secret {
        let mailbox = self.mailbox("me@a.example").await;
        self.webhooks.set(address("me@a.example"), mailbox, URL).await.unwrap().1
    }

    async fn record(&self) -> WebhookRecord {
        self.store.webhook(self.mailbox("me@a.example").await).await.unwrap().unwrap()
    }

    async fn waiting(&self) -> u64 {
        self.store.pushes(self.mailbox("me@a.example").await, 0, 100_000).await.unwrap().count
    }

    /// Puts a message into a mailbox.
    async fn mail(&self, to: &str, number: usize) {
        let (from, to) = (address("you@a.example"), address(to));
        let message = json!({
            "from": from.to_string(), "to": to.to_string(), "timestamp": 1, "nonce": format!("n{number}"),
            "type": "message", "payload": { "number": number },
        });
        let at = self.store.moment(self.clock.now());
        let submission = NewSubmission {
            from,
            nonce: Nonce::parse(&format!("n{number}")).unwrap(),
            digest: [0; 32],
            message: Bytes::from(message.to_string()),
            at,
            expires: at.plus(HOUR),
            max_waiting: u64::MAX,
            receipts: Default::default(),
            first_lease: at.wall,
            recipients: vec![NewRecipient { address: to, fate: Fate::Own }],
        };
        self.store.accept(submission).await.unwrap();
    }

    async fn mail_me(&self, number: usize) {
        self.mail("me@a.example", number).await;
    }

    /// What lies in the mailbox of me@a.example.
    async fn in_mailbox(&self) -> Vec<Value> {
        let page =
            self.store.mailbox(address("me@a.example"), 0, 100_000, usize::MAX).await.unwrap().unwrap();
        page.mail.iter().map(|mail| serde_json::from_slice(&mail.message).unwrap()).collect()
    }

    /// Seconds after noon at which pushes have arrived.
    fn seconds(&self) -> Vec<u64> {
        self.receiver.arrived().iter().map(|push| push.at.since(NOON).as_secs()).collect()
    }
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn body(push: &Arrived) -> Value {
    serde_json::from_slice(&push.body).unwrap()
}

/// The numbers of the messages that were pushed.
fn numbers(pushes: &[Arrived]) -> Vec<u64> {
    let number = |push| body(push)["data"]["message"]["payload"]["number"].as_u64().unwrap_or(u64::MAX);
    pushes.iter().map(number).collect()
}

/// Which of the signatures of a push were made with a secret.
fn signed_with(push: &Arrived, secret: &Secret) -> Vec<bool> {
    let key = BASE64_STANDARD.decode(secret.expose().strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let (id, at) = (push.header("webhook-id").unwrap(), push.header("webhook-timestamp").unwrap());
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(&push.body);
    let wanted = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
    push.header("webhook-signature").unwrap().split(' ').map(|signature| signature == wanted).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_pushed_as_it_arrives_signed_and_as_readers_see_it() {
    let world = World::new().await;
    world.mail_me(1).await;
    let secret = world.set().await;
    sleep(MINUTE).await;
    assert_eq!(world.receiver.arrived().len(), 0, "what was there before is not pushed");
    world.mail_me(2).await;
    world.mail("you@a.example", 3).await;
    sleep(Duration::from_millis(100)).await;
    let [push] = world.receiver.arrived().try_into().unwrap();
    assert_eq!(push.at.since(NOON).as_secs(), 60, "at once");
    assert_eq!(signed_with(&push, &secret), [true]);
    assert_eq!(push.header("webhook-timestamp"), Some("1795176060"));
    let body = body(&push);
    assert_eq!(
        (&body["type"], &body["timestamp"]),
        (&json!("message.received"), &json!("2026-11-20T12:01:00.000Z"))
    );
    assert_eq!(body["data"]["message"]["payload"], json!({ "number": 2 }));
    assert_eq!(
        (&body["data"]["agent"], &body["data"]["received"]["ats"]),
        (&json!("me@a.example"), &json!("local"))
    );
    assert!(body["data"]["received"]["cursor"].is_u64());
    sleep(HOUR).await;
    assert_eq!(world.receiver.arrived().len(), 1, "and only once");
    assert_eq!((world.waiting().await, world.in_mailbox().await.len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn many_messages_arrive_once_each_a_few_at_a_time() {
    let world = World::new().await;
    world.set().await;
    world.receiver.otherwise(Deed::SayAfter(Duration::from_millis(50), 200));
    for number in 0..200 {
        world.mail_me(number).await;
    }
    sleep(MINUTE).await;
    let mut numbers = numbers(&world.receiver.arrived());
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert_eq!(world.receiver.most_at_once(), 4);
}

#[tokio::test(start_paused = true)]
async fn both_secrets_sign_for_a_day_after_a_rotation() {
    let world = World::new().await;
    let old = world.set().await;
    let mailbox = world.mailbox("me@a.example").await;
    let (new, until) = world.webhooks.rotate(mailbox, DEFAULT_OVERLAP).await.unwrap();
    assert_eq!(until, world.clock.now().plus(24 * HOUR));
    world.mail_me(1).await;
    sleep(24 * HOUR - Duration::from_secs(1)).await;
    world.mail_me(2).await;
    sleep(Duration::from_secs(1)).await;
    world.mail_me(3).await;
    sleep(MINUTE).await;
    let pushes = world.receiver.arrived();
    for push in &pushes[..2] {
        assert_eq!(
            (signed_with(push, &new), signed_with(push, &old)),
            (vec![true, false], vec![false, true])
        );
    }
    assert_eq!((signed_with(&pushes[2], &new), signed_with(&pushes[2], &old)), (vec![true], vec![false]));
    assert!(world.record().await.previous.is_none(), "an old secret is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_trial_push_says_what_came_of_it_and_may_not_be_repeated_at_will() {
    let world = World::new().await;
    let secret = world.set().await;
    let mailbox = world.mailbox("me@a.example").await;
    let (mut outcomes, mut refusal) = (Vec::new(), None);
    world.receiver.will([Deed::Say(200), Deed::Say(500), Deed::Refuse, Deed::BadCertificate, Deed::Close]);
    for _ in 0..20 {
        match world.webhooks.test(mailbox).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(fault) => refusal = Some(fault),
        }
    }
    let refusal = refusal.unwrap();
    assert_eq!((refusal.reason, refusal.retry_after.is_some()), (Reason::RateLimited, true));
    use PushOutcome::{Answered, NoAnswer, Tls, Unreachable};
    assert_eq!(outcomes[..5], [Answered(200), Answered(500), Unreachable, Tls, NoAnswer]);
    assert_eq!(outcomes.len(), 9, "ten calls a minute, of which one has set it");
    let trial = world.receiver.arrived().remove(0);
    assert_eq!(signed_with(&trial, &secret), [true]);
    assert_eq!(body(&trial)["type"], "webhook.test");
    assert_eq!(world.webhooks.test(0).await.unwrap_err().reason, Reason::NoSuchPath);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_pushed_to_cannot_be_set() {
    let world = World::new().await;
    let (me, mailbox) = (address("me@a.example"), world.mailbox("me@a.example").await);
    for (url, reason) in [
        ("http://hook.example/", Reason::Malformed),
        ("https://2130706433/", Reason::Malformed),
        ("https://me:pw@hook.example/", Reason::Malformed),
        ("https://127.0.0.1/", Reason::Forbidden),
        ("https://[::ffff:127.0.0.1]/", Reason::Forbidden),
    ] {
        assert_eq!(world.webhooks.set(me.clone(), mailbox, url).await.unwrap_err().reason, reason, "{url}");
    }
    // The mailbox of somebody else, or of one who had the name before.
    let other = world.webhooks.set(me.clone(), mailbox + 1000, URL).await.unwrap_err();
    assert_eq!(other.reason, Reason::UnknownAgent);
    assert!(world.store.webhook(mailbox).await.unwrap().is_none());
}
