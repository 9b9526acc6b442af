//! A world from its beginning to its end: servers start, agents write and read, things go wrong; then all is mended, and
//! when every message has come to its end it is counted what has become of each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use atp::env::dns::Kind;
use atp::proto::address::Domain;
use atp::spool::keys;
use atp::testing::node::{Inline, Keys};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use crate::clients::forger::{self, Forger};
use crate::clients::http::Caller;
use crate::clients::reader::Reader;
use crate::clients::writer::{self, Fate};
use crate::clock::Time;
use crate::dice::{Dice, SeededRng};
use crate::invariants::{self, Ends};
use crate::log::Log;
use crate::names::Zones;
use crate::net::{Net, State};
use crate::plan::{Letter, Plan};
use crate::site::{PASSWORD, Site};

mod trouble;

/// When agents registered before the world began, in milliseconds: a month.
const LONG_AGO: i64 = 30 * 24 * 3600 * 1000;
/// How often it is looked whether every message has come to its end.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long after the last attempt is due it may take until a message has come to its end: refusals for a key or a policy
/// are met for an hour.
const GRACE: Duration = Duration::from_secs(2 * 3600);
/// Rows of each kind that a failure shows for each server.
const SHOWN_ROWS: usize = 4;
/// How long clients may go on sending the same again when all is well.
const LAST_ANSWER: Duration = Duration::from_secs(1800);
/// How long agents go on reading when all is well.
const READ_ON: Duration = Duration::from_secs(300);
/// For how long what became of a submission is told at least.
const TOLD_FOR: Duration = Duration::from_secs(72 * 3600);
/// When everything that is kept for a time is gone: what became of a submission is told for 72 h.
const THE_END: Duration = Duration::from_secs(90 * 3600);

/// What has come of a world.
pub struct Outcome {
    pub seed: u64,
    pub events: u64,
    pub hash: String,
    /// Which invariants did not hold, and what was seen instead.
    pub broken: Vec<(String, String)>,
    /// What happened last.
    pub tail: Vec<String>,
    pub counts: invariants::Counts,
}

pub struct World {
    plan: Arc<Plan>,
    time: Time,
    log: Log,
    net: Arc<Net>,
    zones: Arc<Zones>,
    sites: Vec<Arc<Site>>,
    readers: BTreeMap<String, Reader>,
    /// Letters that a server has accepted so far.
    accepted: Arc<Mutex<Vec<Arc<Letter>>>>,
}

/// Runs a world of its own on this thread.
pub fn run(plan: Plan, told: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _inline = Inline::here();
    runtime.block_on(async {
        let (cuts, cut) = mpsc::unbounded_channel();
        let world = World::begin(plan, told, cuts).await;
        tokio::spawn(darken(world.sites.clone(), cut));
        world.play().await
    })
}

/// Ends the servers whose power has gone in the middle of a step.
async fn darken(sites: Vec<Arc<Site>>, mut cut: mpsc::UnboundedReceiver<usize>) {
    while let Some(site) = cut.recv().await {
        sites[site].end(State::Dark);
        sites[site].say("the power goes in the middle of a step");
    }
}

impl World {
    async fn begin(plan: Plan, told: bool, cuts: mpsc::UnboundedSender<usize>) -> World {
        let plan = Arc::new(plan);
        let time = Time::begins();
        let log = Log::new(time, told);
        let net = Net::new(Dice::of(plan.seed, "net", 0));
        let zones: Arc<Zones> = Arc::default();
        let site = |number| Site::new(&plan, number, (&net, &zones), (time, &log), cuts.clone());
        let sites: Vec<_> = (0..plan.sites.len()).map(site).collect();
        let mut readers = BTreeMap::new();
        for site in &sites {
            site.start().await;
        }
        for (agent, home) in plan.agents() {
            let site = &sites[home];
            let node = site.node().unwrap();
            // Who had the name of an agent is told by wall time: so clocks that are set back are never behind that.
            site.clock.set_ahead(-LONG_AGO);
            node.register(&agent, PASSWORD).await.unwrap();
            let reader = Reader::new(Caller::agent(&net, site, &agent), &agent, &log);
            readers.insert(agent, reader);
            site.clock.set_ahead(0);
        }
        World { plan, time, log, net, zones, sites, readers, accepted: Arc::default() }
    }

    async fn play(self) -> Outcome {
        let seed = self.plan.seed;
        let mut others = JoinSet::new();
        others.spawn(self.forger().run(Dice::of(seed, "forger", 0)));
        for (number, reader) in self.readers.values().enumerate() {
            others.spawn(reader.clone().read_on(Dice::of(seed, "reader", number)));
        }
        let letters = self.write();
        self.trouble().await;
        self.mend().await;
        let fates = self.fates(letters).await;
        sleep(READ_ON).await;
        others.shutdown().await;
        self.settle().await;
        let ends = self.ends(fates).await;
        let counts = invariants::hold(&self.plan, &self.log, &ends);
        if self.plan.terms.to_the_end {
            sleep(THE_END).await;
            invariants::nothing_is_left(&self.sites, &self.log);
        }
        let (events, hash) = self.log.digest();
        Outcome { seed, events, hash, broken: self.log.all_broken(), tail: self.log.tail(), counts }
    }

    /// Has every letter written at its time.
    fn write(&self) -> JoinSet<(usize, Fate)> {
        let mut letters = JoinSet::new();
        for (number, letter) in self.plan.letters.iter().enumerate() {
            let Some(site) = self.plan.site_of(&letter.from) else { continue };
            let caller = Caller::agent(&self.net, &self.sites[site], &letter.from);
            let (letter, accepted) = (Arc::clone(letter), Arc::clone(&self.accepted));
            let (time, log, at) = (self.time, self.log.clone(), self.time.at(letter.at));
            let dice = Dice::of(self.plan.seed, "writer", number);
            letters.spawn(async move {
                sleep_until(at).await;
                let fate = writer::write(caller, Arc::clone(&letter), (time, log), dice).await;
                if fate == Fate::Accepted {
                    accepted.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
                }
                (number, fate)
            });
        }
        letters
    }

    /// Somebody whose machine, domain and keys are as they should be.
    fn forger(&self) -> Forger {
        let address = IpAddr::from([203, 0, 113, 66]);
        let rng = SeededRng::new(Dice::of(self.plan.seed, "forger's domain", 0));
        let keys = Keys::new(&Domain::parse(forger::DOMAIN).unwrap(), "k0", &rng).unwrap();
        let (name, record) = keys.record();
        self.zones.txt(&name, Some(record.to_string()));
        self.zones.txt(&format!("ats._atp.{}", forger::DOMAIN), Some(format!("v=atp1 allow=ip:{address}")));
        self.zones.set(&format!("_atp.{}", forger::DOMAIN), Kind::Svcb, Vec::new());
        let accepted = Arc::clone(&self.accepted);
        Forger {
            net: Arc::clone(&self.net),
            host: self.net.add(&[address], Vec::new(), false),
            plan: Arc::clone(&self.plan),
            sites: self.sites.clone(),
            time: self.time,
            log: self.log.clone(),
            keys,
            accepted: Arc::new(move || accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
    }

    /// From now on all is well.
    async fn mend(&self) {
        self.log.say("world", "all is mended");
        for site in &self.sites {
            site.clock.set_ahead(0);
            site.disk_trouble(None);
            site.start().await;
            site.listen(true);
        }
    }

    /// What the clients know in the end.
    async fn fates(&self, mut letters: JoinSet<(usize, Fate)>) -> Vec<Fate> {
        let mut fates = vec![Fate::Unknown; self.plan.letters.len()];
        let answered = async {
            while let Some(done) = letters.join_next().await {
                if let Ok((number, fate)) = done {
                    fates[number] = fate;
                }
            }
        };
        if tokio::time::timeout(LAST_ANSWER, answered).await.is_err() {
            let what = format!("{} clients still send the same again", letters.len());
            self.log.broken("a server that is well answers", &what);
        }
        fates
    }

    /// Waits until every message has come to its end.
    async fn settle(&self) {
        let deadline = self.time.passed() + self.plan.terms.give_up_after + self.plan.most_ahead() + GRACE;
        let under_way = || -> Vec<usize> {
            let rows = |site: &Arc<Site>| site.disk().count(keys::FRESH) + site.disk().count(keys::QUEUED);
            self.sites.iter().map(rows).collect()
        };
        while under_way().iter().any(|rows| *rows > 0) {
            if self.time.passed() > deadline {
                self.log.broken("every message comes to its end", &self.still_under_way().await);
                return;
            }
            sleep(LOOK_EVERY).await;
        }
        self.log.say("world", "every message has come to its end");
    }

    /// The rows that are left.
    async fn still_under_way(&self) -> String {
        let mut shown = String::new();
        for site in &self.sites {
            let Some(node) = site.node() else { continue };
            for row in node.store().put_back(None, SHOWN_ROWS).await.unwrap_or_default() {
                shown += &format!("s{}: put back: {row:?}\n", site.number);
            }
            for (id, head) in node.store().fresh(None, SHOWN_ROWS).await.unwrap_or_default() {
                shown += &format!("s{}: never put back: {id:?} {head:?}\n", site.number);
            }
        }
        shown
    }

    /// What there is to be seen when everything is over.
    async fn ends(&self, fates: Vec<Fate>) -> Ends {
        let mut there = BTreeMap::new();
        for (agent, reader) in &self.readers {
            match reader.read_all().await {
                Some(cursors) => _ = there.insert(agent.clone(), cursors),
                None => self.log.broken("a mailbox can be read", agent),
            }
        }
        let mut sent = BTreeMap::new();
        let is_told = self.time.passed() < TOLD_FOR;
        for (number, letter) in self.plan.letters.iter().enumerate() {
            if is_told
                && fates[number] == Fate::Accepted
                && let Some(reader) = self.readers.get(&letter.from)
                && let Some(reply) = reader.sent(&letter.nonce).await
            {
                sent.insert(number, reply.json);
            }
        }
        let seen = self.readers.iter().map(|(agent, reader)| (agent.clone(), reader.seen().messages.clone()));
        let sent = Some(sent).filter(|_| is_told);
        Ends { fates, there, sent, seen: seen.collect() }
    }
}
