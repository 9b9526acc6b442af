//! Many workers share one mailbox, and whatever becomes of them and of the server, each message is acknowledged once,
//! none is lost, and no two workers have one in hand at the same time.
//!
//! Eight workers claim, acknowledge, give back, oversleep, ask for more time, crash with messages in hand and while
//! they acknowledge; meanwhile the server is killed and started again. To play longer, and the same game again:
//!
//!     ATP_TEST_MESSAGES=10000 ATP_TEST_KILLS=20 ATP_TEST_SEED=1 \
//!         cargo test --test process workers -- --nocapture

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use atp::env::clock::{Clock as _, SystemClock};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::ledger::Ledger;
use self::worker::Worker;
use crate::kills::client::Client;
use crate::kills::dice::Dice;
use crate::place::Place;
use crate::server::Server;
use crate::waiting::pause;

mod ledger;
mod worker;

const DOMAIN: &str = "work.local";
const AGENT: &str = "crew@work.local";
const WORKERS: usize = 8;
/// Submissions under way while the mailbox is filled.
const IN_FLIGHT: usize = 32;
/// How exact the moment of a kill is.
const MOMENT: Duration = Duration::from_millis(30);
/// The longest time a killed server stays down.
const LONGEST_ABSENCE: Duration = Duration::from_millis(400);
const POLL_PAUSE: Duration = Duration::from_millis(2);
/// How often dead letters are looked for.
const RESTORE_PAUSE: Duration = Duration::from_millis(500);
/// Longest time in which nothing at all may be acknowledged.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn each_message_is_acknowledged_once_whatever_becomes_of_workers_and_server() {
    let number = |name: &str, otherwise: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => otherwise,
    };
    let seed = number("ATP_TEST_SEED", SystemClock.now().seconds().unsigned_abs());
    let messages = number("ATP_TEST_MESSAGES", 1000) as usize;
    let kills = number("ATP_TEST_KILLS", 4) as usize;
    let name = format!("ATP_TEST_SEED={seed} ATP_TEST_MESSAGES={messages} ATP_TEST_KILLS={kills}");
    eprintln!("{name}");
    let place = Place::new().kept_after_a_failure(&name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut field = Field::prepare(&place);
    runtime.block_on(fill(&field.client(), messages));

    let begun = Instant::now();
    let ledger = Arc::new(Ledger::default());
    let worker = |number| {
        let dice = Dice::numbered(seed, number);
        let whereabouts = field.whereabouts.subscribe();
        runtime.spawn(Worker::new(dice, whereabouts, Arc::clone(&ledger)).work())
    };
    let mut crew: Vec<_> = (0..WORKERS).map(worker).collect();
    crew.push(runtime.spawn(restore_meanwhile(field.client(), Arc::clone(&ledger))));
    field.kill_meanwhile(&ledger, messages, kills, seed);
    await_progress(&ledger, messages);
    ledger.stop();
    for worker in crew {
        runtime.block_on(worker).expect("no worker finds anything wrong");
    }
    runtime.block_on(settle(&field.client(), &ledger));
    let totals = ledger.close(messages);
    eprintln!("{messages} acknowledged, {kills} kills, {totals:?}, {} s", begun.elapsed().as_secs());
    assert!(totals.returned > 0 && totals.too_late > 0, "it was no game: {totals:?}");
    assert!(kills == 0 || totals.unanswered > 0, "no kill was noticed: {totals:?}");
    let all = runtime.block_on(read_all(&field.client()));
    assert_eq!(all, messages, "what is done with stays readable");
}

/// The server, and where it is.
struct Field<'a> {
    place: &'a Place,
    server: Option<Server>,
    whereabouts: watch::Sender<Option<SocketAddr>>,
}

impl Field<'_> {
    fn prepare(place: &Place) -> Field<'_> {
        let mut field = Field { place, server: None, whereabouts: watch::Sender::default() };
        field.start();
        place.register(field.server.as_ref().expect("a server"), AGENT);
        field
    }

    fn start(&mut self) {
        let server = self.place.server(DOMAIN, &[]);
        self.whereabouts.send_replace(Some(server.address()));
        self.server = Some(server);
    }

    fn client(&self) -> Arc<Client> {
        Arc::new(Client::new(AGENT, self.whereabouts.subscribe()))
    }

    /// Spreads the kills evenly over the work.
    fn kill_meanwhile(&mut self, ledger: &Ledger, messages: usize, kills: usize, seed: u64) {
        let mut dice = Dice::new(seed);
        for kill in 0..kills {
            await_progress(ledger, messages * (2 * kill + 1) / (2 * kills + 1));
            pause(dice.time(MOMENT));
            self.whereabouts.send_replace(None);
            self.server.take().expect("a running server").kill();
            if dice.one_in(2) {
                pause(dice.time(LONGEST_ABSENCE));
            }
            self.start();
        }
    }
}

/// Waits until so many messages may be done with.
fn await_progress(ledger: &Ledger, enough: usize) {
    let (mut before, mut since) = (0, Instant::now());
    loop {
        let now = ledger.perhaps_done();
        if now >= enough {
            return;
        }
        if now > before {
            (before, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < PATIENCE, "nothing has been done for a long time: {now} of {enough}");
        pause(POLL_PAUSE);
    }
}

/// Puts so many messages into the mailbox.
async fn fill(client: &Arc<Client>, messages: usize) {
    let mut under_way = tokio::task::JoinSet::new();
    let now = SystemClock.now().seconds();
    let one = |number: usize| {
        let message = json!({ "from": AGENT, "to": AGENT, "timestamp": now, "nonce": format!("work-{number}"),
                              "type": "request", "payload": { "number": number } });
        Bytes::from(message.to_string())
    };
    for number in 0..messages {
        if under_way.len() >= IN_FLIGHT {
            under_way.join_next().await.expect("a task").expect("its end");
        }
        let (client, message) = (Arc::clone(client), one(number));
        under_way
            .spawn(async move { while !matches!(client.submit(message.clone()).await, Some((202, _))) {} });
    }
    while let Some(ended) = under_way.join_next().await {
        ended.expect("its end");
    }
}

/// Finds out what became of the acknowledgements whose answer nobody waited for, and that nothing is left.
async fn settle(client: &Client, ledger: &Ledger) {
    let begun = Instant::now();
    loop {
        restore_all(client).await;
        let ask = json!({ "limit": 100, "lease_seconds": 600, "wait": 2 });
        let claims = worker::post(client, "me/claims", &ask).await;
        let Some((200, answer)) = claims else { continue };
        let claims = answer["claims"].as_array().expect("a list").clone();
        for claim in &claims {
            let id = claim["id"].as_str().expect("a name");
            let done = worker::post(client, &format!("me/claims/{id}/ack"), &json!({})).await;
            assert_eq!(done.map(|(status, _)| status), Some(200), "{id}");
            ledger.done(claim["cursor"].as_u64().expect("a cursor"), id);
        }
        let out = client.call(Method::GET, "me/claims", Bytes::new()).await;
        let is_out = out.is_none_or(|(_, out)| out["claims"].as_array().is_none_or(|out| !out.is_empty()));
        if claims.is_empty() && !is_out {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "there is always something left");
    }
    // Nothing is claimable, out or dead: what nobody has heard of must be done with.
    for cursor in ledger.unheard_of() {
        let path = format!("me/messages/{cursor}/ack");
        let again = worker::post(client, &path, &json!({ "outcome": "completed" })).await;
        assert_eq!(again.map(|(status, _)| status), Some(200), "message {cursor} was not acknowledged");
        ledger.done(cursor, "unheard of");
    }
}

/// Puts dead letters back: bad luck can make some.
async fn restore_all(client: &Client) {
    let dead = client.call(Method::GET, "me/dead-letters?limit=500", Bytes::new()).await;
    let Some((200, Value::Object(mut page))) = dead else { return };
    let Some(Value::Array(letters)) = page.remove("dead_letters") else { return };
    for letter in letters {
        let path = format!("me/dead-letters/{}/restore", letter["cursor"]);
        worker::post(client, &path, &json!({})).await;
    }
}

async fn restore_meanwhile(client: Arc<Client>, ledger: Arc<Ledger>) {
    while !ledger.is_stopped() {
        restore_all(&client).await;
        sleep(RESTORE_PAUSE).await;
    }
}

async fn read_all(client: &Client) -> usize {
    let (mut all, mut after) = (0, Value::from(0));
    loop {
        let page = client.page(&after).await;
        all += page["messages"].as_array().expect("a list").len();
        after = page["last_id"].clone();
        if page["more"] == false {
            return all;
        }
    }
}
