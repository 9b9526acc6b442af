//! One server: real code of the daemon on a machine of the simulation, and the machine's disk, clock and resolver, which
//! outlive it.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use atp::env::Env;
use atp::env::dns::cache::CachedResolver;
use atp::env::dns::{Kind, Record};
use atp::proto::address::Domain;
use atp::proto::svcb::Svcb;
use atp::testing::files::MemoryFiles;
use atp::testing::node::{self, Keys, Node, Parts};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::clock::{SimClock, Time};
use crate::dice::{Dice, SeededRng};
use crate::disk::{SimDisk, Trouble};
use crate::log::Log;
use crate::names::{SimResolver, Zones};
use crate::net::{Door, HostId, Life, Net, PORT, SimDial, State};
use crate::plan::{Plan, Policy, Terms};

/// The password of every agent.
pub const PASSWORD: &str = "pw";
/// How long a sync takes on a slow disk.
const SYNCS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(2));
/// How long a supervisor waits before it starts again what would not start.
const START_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How long a key must have been in DNS before it signs: as long as anybody may believe that it is not there.
const PUBLISHED_FIRST: Duration = Duration::from_secs(120);
/// How long the record of a key that no longer signs is kept.
const PUBLISHED_LONGER: Duration = Duration::from_secs(2 * 3600);

pub struct Site {
    pub number: usize,
    pub host: HostId,
    /// The machine on which its agents are.
    pub agents: HostId,
    pub names: Arc<SimResolver>,
    pub clock: Arc<SimClock>,
    pub log: Log,
    net: Arc<Net>,
    zones: Arc<Zones>,
    seed: u64,
    config: String,
    /// Whether its disk takes its time.
    is_slow: bool,
    keys: BTreeMap<String, Keys>,
    /// Where power cuts are told that a step of the store's caused.
    cuts: mpsc::UnboundedSender<usize>,
    /// Held while it is being started.
    starting: tokio::sync::Mutex<()>,
    inner: Mutex<Inner>,
}

struct Inner {
    disk: Arc<SimDisk>,
    files: MemoryFiles,
    trouble: Option<Trouble>,
    running: Option<(Arc<Node>, Life)>,
    /// How many times it has been started.
    starts: usize,
    /// How many keys its domains have had.
    selectors: usize,
}

impl Site {
    /// The machine, its zones and its keys. Nothing runs yet.
    pub fn new(
        plan: &Plan,
        number: usize,
        (net, zones): (&Arc<Net>, &Arc<Zones>),
        (time, log): (Time, &Log),
        cuts: mpsc::UnboundedSender<usize>,
    ) -> Arc<Site> {
        let seed = plan.seed;
        let mut dice = Dice::of(seed, "site", number);
        let low = number as u8;
        let mut addresses: Vec<IpAddr> = vec![IpAddr::from([192, 0, 2, low])];
        if dice.one_in(2) {
            addresses.push(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(low) + 1]));
        }
        let domains: Vec<_> = plan.sites[number].iter().map(|domain| &plan.domains[*domain]).collect();
        let name = format!("atp.{}", domains[0].name);
        let host = net.add(&addresses, vec![name.clone()], !dice.one_in(4));
        zones.addresses(&name, &addresses);
        let rng = SeededRng::new(Dice::of(seed, "keys", number));
        let mut keys = BTreeMap::new();
        for domain in &domains {
            let route = Svcb { priority: 1, target: name.clone(), ..Svcb::default() };
            zones.set(&format!("_atp.{}", domain.name), Kind::Svcb, vec![Record::Svcb(route)]);
            let allowed: String = addresses.iter().map(|address| format!(" allow=ip:{address}")).collect();
            let policy = match domain.policy {
                Policy::Strict => Some(format!("v=atp1{allowed} deny=all")),
                Policy::Neutral => Some(format!("v=atp1{allowed}")),
                Policy::Absent => None,
            };
            zones.txt(&format!("ats._atp.{}", domain.name), policy);
            let parsed = Domain::parse(&domain.name).unwrap();
            let of_domain = Keys::new(&parsed, "k0", &rng).unwrap();
            publish(zones, &of_domain);
            keys.insert(domain.name.clone(), of_domain);
        }
        let names: Vec<_> = domains.iter().map(|domain| domain.name.as_str()).collect();
        let disk = SimDisk::new(BTreeMap::new(), Dice::of(seed, "disk", number), Box::new(|| {}));
        Arc::new(Site {
            number,
            host,
            agents: net.add(&[IpAddr::from([192, 0, 2, 100 + low])], Vec::new(), false),
            names: Arc::new(SimResolver::new(Arc::clone(zones), Dice::of(seed, "names", number))),
            clock: Arc::new(SimClock::new(time)),
            log: log.clone(),
            net: Arc::clone(net),
            zones: Arc::clone(zones),
            seed,
            is_slow: dice.one_in(2),
            config: configuration(&names, &plan.terms),
            keys,
            cuts,
            starting: tokio::sync::Mutex::default(),
            inner: Mutex::new(Inner {
                disk,
                files: MemoryFiles::default(),
                trouble: None,
                running: None,
                starts: 0,
                selectors: 1,
            }),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its agents find it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.net.address(self.host), PORT)
    }

    pub fn disk(&self) -> Arc<SimDisk> {
        Arc::clone(&self.lock().disk)
    }

    /// The server, if it runs.
    pub fn node(&self) -> Option<Arc<Node>> {
        self.lock().running.as_ref().map(|(node, _)| Arc::clone(node))
    }

    pub fn say(&self, what: impl std::fmt::Display) {
        self.log.say(format_args!("s{}", self.number), what);
    }

    /// Starts the server on what the last one has left, again and again until it starts.
    pub async fn start(self: &Arc<Site>) {
        let _one = self.starting.lock().await;
        while let Err(error) = self.try_start().await {
            self.say(format_args!("does not start: {error}"));
            sleep(START_AGAIN_AFTER).await;
        }
    }

    async fn try_start(self: &Arc<Site>) -> Result<(), String> {
        let life = Life::begins();
        let (disk, files, start) = {
            let mut inner = self.lock();
            if inner.running.is_some() {
                return Ok(());
            }
            inner.starts += 1;
            let (cuts, number, dies) = (self.cuts.clone(), self.number, life.clone());
            let cut = move || {
                dies.end(State::Dark);
                let _ = cuts.send(number);
            };
            let dice = Dice::of(self.seed, "disk", self.number + 1000 * inner.starts);
            inner.disk = SimDisk::new(inner.disk.cut(), dice, Box::new(cut));
            inner.disk.trouble(inner.trouble);
            inner.files = inner.files.crash();
            inner.files.fail_after(if inner.trouble.is_some() { 0 } else { u64::MAX });
            (Arc::clone(&inner.disk), inner.files.clone(), inner.starts)
        };
        let dice = |purpose| Dice::of(self.seed, purpose, self.number + 1000 * start);
        let dial = SimDial { net: Arc::clone(&self.net), host: self.host, life: life.clone() };
        let env = Env {
            clock: self.clock.clone(),
            dns: Arc::new(CachedResolver::new(Arc::clone(&self.names))),
            dial: Arc::new(dial),
            rng: Arc::new(SeededRng::new(dice("rng"))),
        };
        let signers = self.keys.iter().map(|(name, keys)| (Domain::parse(name).unwrap(), keys.signer()));
        let config = node::config(&self.config).map_err(|error| error.to_string())?;
        let signers: HashMap<_, _> = signers.collect();
        let parts = Parts { config, env, signers, disk, files: Arc::new(files) };
        let started = if self.is_slow {
            let dice = Mutex::new(dice("syncs"));
            let takes = move || dice.lock().unwrap_or_else(PoisonError::into_inner).time(SYNCS.0, SYNCS.1);
            Node::start_on_slow_disk(parts, Arc::new(takes)).await
        } else {
            Node::start(parts).await
        };
        let node = Arc::new(started.map_err(|error| error.to_string())?);
        self.say(format_args!("start {start}"));
        self.lock().running = Some((node, life));
        self.listen(true);
        Ok(())
    }

    /// Somebody listens, if the server runs, or nobody although it runs.
    pub fn listen(self: &Arc<Site>, listens: bool) {
        let server = {
            let inner = self.lock();
            inner.running.as_ref().filter(|_| listens).map(|(node, life)| (door(node), life.clone()))
        };
        self.net.listen(self.host, server);
    }

    /// The server ends without warning.
    pub fn end(&self, how: State) {
        let ended = {
            let mut inner = self.lock();
            let ended = inner.running.take();
            if let Some((_, life)) = &ended {
                life.end(how);
                // What is on the disk now is what the next one finds.
                inner.disk.cut();
                inner.files = inner.files.crash();
            }
            ended
        };
        if ended.is_some() && how == State::Killed {
            self.net.listen(self.host, None);
        }
        drop(ended);
    }

    /// The disk gets into trouble, or out of it.
    pub fn disk_trouble(&self, trouble: Option<Trouble>) {
        let mut inner = self.lock();
        inner.trouble = trouble;
        inner.disk.trouble(trouble);
        inner.files.fail_after(if trouble.is_some() { 0 } else { u64::MAX });
    }

    /// Changes a domain's key over: publishes the new one, waits, signs with it, and takes the old one back later, or at
    /// once.
    pub async fn rotate(self: Arc<Site>, domain: String, revokes: bool) {
        let selector = {
            let mut inner = self.lock();
            inner.selectors += 1;
            format!("k{}", inner.selectors - 1)
        };
        let keys = &self.keys[&domain];
        let parsed = Domain::parse(&domain).unwrap();
        // The next key is made, and shown by DNS, before it signs.
        let dice = || SeededRng::new(Dice::of(self.seed, &selector, self.number));
        publish(&self.zones, &Keys::new(&parsed, &selector, &dice()).unwrap());
        sleep(PUBLISHED_FIRST).await;
        let (old, mut record) = keys.record();
        keys.rotate(&selector, &dice()).unwrap();
        self.say(format_args!("{domain} signs with {selector}"));
        if revokes {
            record.revoked = true;
            self.zones.txt(&old, Some(record.to_string()));
        } else {
            sleep(PUBLISHED_LONGER).await;
            self.zones.txt(&old, None);
        }
    }

    /// Signs in the name of a domain, as its server would.
    pub fn signer(&self, domain: &str) -> Arc<atp::sign::Signer> {
        Arc::clone(&self.keys[domain].signer().borrow())
    }
}

fn publish(zones: &Zones, keys: &Keys) {
    let (name, record) = keys.record();
    zones.txt(&name, Some(record.to_string()));
}

/// Lets connections in for as long as the server lives, which it does not keep alive.
fn door(node: &Arc<Node>) -> Door {
    let node: Weak<Node> = Arc::downgrade(node);
    Arc::new(move |stream, ends| {
        if let Some(node) = node.upgrade() {
            tokio::spawn(node.serve(stream, ends));
        }
    })
}

fn configuration(domains: &[&str], terms: &Terms) -> String {
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    format!(
        "domains = {domains:?}\n[server]\nhost = \"::\"\n[verify]\nmax_message_age = {:?}\n\
         [queue]\nschedule = {:?}\ngive_up_after = {:?}\ndelay_notice_after = {:?}\n\
         [mailbox]\nkeep_acknowledged = {:?}\nkeep_unread = {:?}\n",
        seconds(terms.max_message_age),
        terms.schedule,
        seconds(terms.give_up_after),
        seconds(terms.delay_notice_after),
        seconds(terms.keep),
        seconds(terms.keep),
    )
}
