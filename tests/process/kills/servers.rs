//! The two servers, killed and started again.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::dice::Dice;
use super::messages::DOMAINS;
use crate::place::Place;
use crate::server::Server;
use crate::waiting::pause;

/// The longest time a killed server stays down.
const LONGEST_ABSENCE: Duration = Duration::from_millis(400);
/// The most kills in a row during recovery.
const MAX_RECOVERY_KILLS: usize = 3;

/// Where a server listens. `None`: it is down.
pub type Whereabouts = watch::Receiver<Option<SocketAddr>>;

/// One server for each domain.
pub struct Servers<'a> {
    place: &'a Place,
    config: String,
    running: [Option<Server>; 2],
    addresses: [watch::Sender<Option<SocketAddr>>; 2],
    /// How long the last start took until the server listened.
    start_time: Duration,
    pub kills: Kills,
}

/// SIGKILLs so far, each of one process.
#[derive(Debug, Default)]
pub struct Kills {
    pub alice: usize,
    pub bob: usize,
    /// Of those: while the other one was killed as well.
    pub both: usize,
    /// Of those: in a process that did not listen yet.
    pub in_recovery: usize,
}

impl Kills {
    pub fn all(&self) -> usize {
        self.alice + self.bob
    }
}

impl<'a> Servers<'a> {
    /// No servers yet. `addresses`: one for each domain, where it will be told where the server is.
    pub fn new(place: &'a Place, config: String, addresses: [watch::Sender<Option<SocketAddr>>; 2]) -> Self {
        let (running, start_time) = (Default::default(), Duration::default());
        Servers { place, config, running, addresses, start_time, kills: Kills::default() }
    }

    /// A running server.
    pub fn server(&self, domain: usize) -> &Server {
        self.running[domain].as_ref().expect("a running server")
    }

    /// Starts the servers of some domains, and waits until they listen.
    pub fn start(&mut self, domains: &[usize]) {
        let begun = Instant::now();
        self.spawn(domains);
        for &domain in domains {
            let server = self.running[domain].as_mut().expect("a server that starts");
            server.await_listening();
            self.addresses[domain].send_replace(Some(server.address()));
        }
        self.start_time = begun.elapsed();
    }

    /// Kills the servers of some domains and starts them again, perhaps after a while. `again`: they are also
    /// killed while they start.
    pub fn kill(&mut self, domains: &[usize], again: bool, dice: &mut Dice) {
        self.strike(domains);
        if dice.one_in(2) {
            pause(dice.time(LONGEST_ABSENCE));
        }
        let more = if again { 1 + dice.below(MAX_RECOVERY_KILLS) } else { 0 };
        for _ in 0..more {
            self.spawn(domains);
            pause(dice.time(self.start_time));
            self.strike(domains);
        }
        self.start(domains);
    }

    fn spawn(&mut self, domains: &[usize]) {
        for &domain in domains {
            let command = self.place.server_command(DOMAINS[domain], &["--config", &self.config]);
            self.running[domain] = Some(Server::spawn(command, self.place.log()));
        }
    }

    fn strike(&mut self, domains: &[usize]) {
        for &domain in domains {
            self.addresses[domain].send_replace(None);
            let server = self.running[domain].take().expect("a running server");
            self.kills.in_recovery += usize::from(!server.is_listening());
            server.kill();
            *[&mut self.kills.alice, &mut self.kills.bob][domain] += 1;
        }
        if domains.len() > 1 {
            self.kills.both += domains.len();
        }
    }
}
