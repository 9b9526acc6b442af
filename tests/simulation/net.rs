//! The network between servers, and between them and their agents: links with their weather, connections that break in
//! every way, and machines that vanish.
//!
//! A connection is two pipes and a task that carries bytes from one to the other, as the weather of the link allows.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use atp::env::BoxFuture;
use atp::env::dial::{Connection, Dial, DialError, Endpoint, Family};
use atp::server::state::Ends;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::dice::Dice;

/// The port of every server.
pub const PORT: u16 = 7443;
/// Bytes that one end of a connection may be ahead of the other.
const PIPE_BYTES: usize = 64 * 1024;
/// Bytes that travel together.
const CHUNK_BYTES: usize = 16 * 1024;
/// How long whoever dials waits for an answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection over which nothing gets for so long is reset by the machine.
const LONGEST_HOLD: Duration = Duration::from_secs(900);
/// How long the other end of a connection believes in a machine that has gone without a word.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);
/// In bad weather one chunk in so many breaks its connection, and one connection in so many does not come about.
const BREAKS: (usize, usize) = (5, 4);

/// A machine.
pub type HostId = usize;
/// Takes a connection in, at a server.
pub type Door = Arc<dyn Fn(DuplexStream, Ends) + Send + Sync>;

/// How things are on the way from one machine to another. Troubles add up.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    /// Nothing gets through for the time being.
    held: u32,
    /// Connections break.
    breaks: u32,
    /// Every chunk takes seconds.
    slow: u32,
}

/// What can be wrong with a link in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// Nothing gets through.
    Held,
    /// Connections are reset at any point.
    Breaks,
    /// Everything takes seconds.
    Slow,
}

/// How a machine, or the server on it, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Alive,
    /// The process is gone: its connections are reset.
    Killed,
    /// The power is gone: its connections fall silent.
    Dark,
}

/// One life of a server, from its start to its end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Life(Arc<Lived>);

#[derive(Debug)]
struct Lived {
    state: Mutex<State>,
    /// Wakes in the order in which they came; a watch would leave that to dice of its own.
    over: Notify,
}

impl Life {
    pub fn begins() -> Life {
        Life(Arc::new(Lived { state: Mutex::new(State::Alive), over: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It ends; only the first end counts.
    pub fn end(&self, how: State) {
        let mut state = self.state();
        if *state == State::Alive {
            *state = how;
            self.0.over.notify_waiters();
        }
    }

    fn is_over(&self) -> bool {
        *self.state() != State::Alive
    }

    /// Returns when the other end of a connection must have noticed that it is over.
    async fn noticed(&self) {
        let over = self.0.over.notified();
        if !self.is_over() {
            over.await;
        }
        if *self.state() != State::Killed {
            sleep(LONGEST_SILENCE).await;
        }
    }
}

struct Host {
    addresses: Vec<IpAddr>,
    /// What its certificate is for.
    names: Vec<String>,
    /// Whether it agrees to HTTP/2.
    http2: bool,
    /// `None`: nobody listens.
    server: Option<(Door, Life)>,
}

/// All machines and the links between them.
pub struct Net {
    inner: Mutex<Inner>,
}

struct Inner {
    hosts: Vec<Host>,
    by_address: HashMap<IpAddr, HostId>,
    weather: HashMap<(HostId, HostId), Weather>,
    /// How long a chunk takes on each link.
    latency: HashMap<(HostId, HostId), Duration>,
    dice: Dice,
}

/// Why there is no connection.
enum Unreached {
    TimedOut,
    Reset,
    Refused,
}

impl Net {
    pub fn new(dice: Dice) -> Arc<Net> {
        let (hosts, by_address) = (Vec::new(), HashMap::new());
        let (weather, latency) = (HashMap::new(), HashMap::new());
        Arc::new(Net { inner: Mutex::new(Inner { hosts, by_address, weather, latency, dice }) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a machine on which nobody listens yet. `names`: what its certificate is for.
    pub fn add(&self, addresses: &[IpAddr], names: Vec<String>, http2: bool) -> HostId {
        let mut inner = self.lock();
        let id = inner.hosts.len();
        inner.by_address.extend(addresses.iter().map(|address| (*address, id)));
        inner.hosts.push(Host { addresses: addresses.to_vec(), names, http2, server: None });
        id
    }

    /// From now on somebody listens, or nobody.
    pub fn listen(&self, host: HostId, server: Option<(Door, Life)>) {
        self.lock().hosts[host].server = server;
    }

    /// The weather from one machine to another turns bad in this way, or is no longer.
    pub fn turn(&self, from: HostId, to: HostId, bad: Bad, begins: bool) {
        let mut inner = self.lock();
        let weather = inner.weather.entry((from, to)).or_default();
        let count = match bad {
            Bad::Held => &mut weather.held,
            Bad::Breaks => &mut weather.breaks,
            Bad::Slow => &mut weather.slow,
        };
        *count = if begins { *count + 1 } else { count.saturating_sub(1) };
    }

    /// The first address of a machine.
    pub fn address(&self, host: HostId) -> IpAddr {
        self.lock().hosts[host].addresses[0]
    }

    fn weather(&self, from: HostId, to: HostId) -> Weather {
        self.lock().weather.get(&(from, to)).copied().unwrap_or_default()
    }

    fn one_in(&self, times: usize) -> bool {
        self.lock().dice.one_in(times)
    }

    /// How long the next chunk takes.
    fn latency(&self, from: HostId, to: HostId) -> Duration {
        let mut inner = self.lock();
        let Inner { latency, dice, weather, .. } = &mut *inner;
        let usual = *latency
            .entry((from, to))
            .or_insert_with(|| dice.time(Duration::from_millis(1), Duration::from_millis(500)));
        match weather.get(&(from, to)) {
            Some(weather) if weather.slow > 0 => {
                dice.time(Duration::from_millis(200), Duration::from_secs(15))
            }
            _ => usual,
        }
    }

    /// Connects a machine to a server. `life`: of the server that connects.
    async fn connect(
        self: &Arc<Net>,
        (from, life): (HostId, Life),
        to: SocketAddr,
    ) -> Result<(HostId, DuplexStream), Unreached> {
        let Some(host) = self.lock().by_address.get(&to.ip()).copied() else {
            sleep(CONNECT_TIMEOUT).await;
            return Err(Unreached::TimedOut);
        };
        sleep(self.latency(from, host) + self.latency(host, from)).await;
        let (there, back) = (self.weather(from, host), self.weather(host, from));
        if there.held + back.held > 0 {
            sleep(CONNECT_TIMEOUT).await;
            return Err(Unreached::TimedOut);
        }
        if there.breaks + back.breaks > 0 && self.one_in(BREAKS.1) {
            return Err(Unreached::Reset);
        }
        let (server, local) = {
            let inner = self.lock();
            let server = inner.hosts[host].server.clone().filter(|_| to.port() == PORT);
            let ours = inner.hosts[from].addresses.iter();
            let local = ours.copied().find(|address| address.is_ipv4() == to.is_ipv4());
            (server, local.ok_or(Unreached::Refused)?)
        };
        let (door, theirs) = match server {
            None => return Err(Unreached::Refused),
            Some((_, theirs)) if theirs.is_over() => {
                sleep(CONNECT_TIMEOUT).await;
                return Err(Unreached::TimedOut);
            }
            Some(server) => server,
        };
        let (client, near) = tokio::io::duplex(PIPE_BYTES);
        let (far, end) = tokio::io::duplex(PIPE_BYTES);
        door(end, Ends { peer: SocketAddr::new(local, 49152), local: to });
        let (near, far) = (End { host: from, life, io: near }, End { host, life: theirs, io: far });
        tokio::spawn(carry(Arc::clone(self), near, far));
        Ok((host, client))
    }

    /// Connects an agent, or whoever else is no server.
    pub async fn call(self: &Arc<Net>, from: HostId, to: SocketAddr) -> Option<DuplexStream> {
        self.connect((from, Life::begins()), to).await.ok().map(|(_, stream)| stream)
    }
}

/// One end of a connection.
struct End {
    host: HostId,
    life: Life,
    io: DuplexStream,
}

/// Carries the bytes of a connection in both directions until it is closed or breaks, which both ends then see.
async fn carry(net: Arc<Net>, near: End, far: End) {
    let (near_reads, near_writes) = tokio::io::split(near.io);
    let (far_reads, far_writes) = tokio::io::split(far.io);
    let (near, far) = ((near.host, near.life), (far.host, far.life));
    let there = pump(&net, (&near, near_reads), (&far, far_writes));
    let back = pump(&net, (&far, far_reads), (&near, near_writes));
    tokio::select! {
        biased;
        () = near.1.noticed() => {}
        () = far.1.noticed() => {}
        _ = async { tokio::try_join!(there, back) } => {}
    }
}

/// The connection is reset.
struct Reset;

/// Carries bytes in one direction. A server that is no longer neither sends nor receives, and does not close either.
async fn pump(
    net: &Net,
    ((from, sender), mut reads): (&(HostId, Life), ReadHalf<DuplexStream>),
    ((to, receiver), mut writes): (&(HostId, Life), WriteHalf<DuplexStream>),
) -> Result<(), Reset> {
    let (from, to) = (*from, *to);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let length = reads.read(&mut buffer).await.map_err(|_| Reset)?;
        if sender.is_over() {
            std::future::pending::<()>().await;
        }
        let mut held = Duration::from_millis(100);
        while net.weather(from, to).held > 0 {
            if held > LONGEST_HOLD {
                return Err(Reset);
            }
            sleep(held).await;
            held *= 2;
        }
        sleep(net.latency(from, to)).await;
        if receiver.is_over() {
            continue;
        }
        if length == 0 {
            return writes.shutdown().await.map_err(|_| Reset);
        }
        let breaks = net.weather(from, to).breaks > 0 && net.one_in(BREAKS.0);
        // Nothing of it arrives, or the first half.
        let arrives = if breaks { length / 2 * usize::from(net.one_in(2)) } else { length };
        writes.write_all(&buffer[..arrives]).await.map_err(|_| Reset)?;
        if breaks {
            return Err(Reset);
        }
    }
}

/// Connects a server to others.
pub struct SimDial {
    pub net: Arc<Net>,
    pub host: HostId,
    pub life: Life,
}

impl Dial for SimDial {
    fn source(&self, family: Family) -> Option<IpAddr> {
        let inner = self.net.lock();
        let mut ours = inner.hosts[self.host].addresses.iter();
        ours.find(|address| address.is_ipv4() == (family == Family::V4)).copied()
    }

    fn dial<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, Result<Connection, DialError>> {
        Box::pin(async move {
            let connected = self.net.connect((self.host, self.life.clone()), endpoint.address).await;
            let (host, stream) = connected.map_err(|refused| match refused {
                Unreached::TimedOut => DialError::TimedOut("connecting"),
                Unreached::Reset => DialError::Connect("connection reset by peer".into()),
                Unreached::Refused => DialError::Connect("connection refused".into()),
            })?;
            let inner = self.net.lock();
            let there = &inner.hosts[host];
            if !there.names.contains(&endpoint.name) {
                let text = format!("its certificate is not for {}", endpoint.name);
                return Err(DialError::Certificate(text.into()));
            }
            let alpn = if there.http2 { &b"h2"[..] } else { b"http/1.1" };
            Ok(Connection {
                io: Box::new(stream),
                alpn: Some(alpn.to_vec()),
                certificate_sha256: None,
                certificate_ends: None,
            })
        })
    }
}
