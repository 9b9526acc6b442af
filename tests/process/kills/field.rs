//! Where the game is played: two servers, the proxies between them, and four agents.

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::client::Client;
use super::messages::{AGENTS, DOMAINS, domain_of};
use super::proxy::Proxy;
use super::servers::Servers;
use crate::place::Place;

pub struct Field<'a> {
    pub place: &'a Place,
    pub runtime: &'a Runtime,
    /// In front of each domain's server.
    pub proxies: [Proxy; 2],
    pub servers: Servers<'a>,
    /// One for each agent.
    pub clients: Vec<Arc<Client>>,
}

impl Field<'_> {
    /// Starts the servers and registers the agents.
    pub fn prepare<'a>(place: &'a Place, runtime: &'a Runtime) -> Field<'a> {
        let addresses = [watch::Sender::default(), watch::Sender::default()];
        let whereabouts = addresses.each_ref().map(watch::Sender::subscribe);
        let proxies = whereabouts.each_ref().map(|server| Proxy::start(runtime.handle(), server.clone()));
        let mut servers = Servers::new(place, configuration(place, &proxies), addresses);
        servers.start(&[0, 1]);
        let client = |(agent, address)| {
            place.register(servers.server(domain_of(agent)), address);
            Arc::new(Client::new(address, whereabouts[domain_of(agent)].clone()))
        };
        let clients = AGENTS.into_iter().enumerate().map(client).collect();
        Field { place, runtime, proxies, servers, clients }
    }
}

/// Servers that try again soon, and reach each other through the proxies only.
fn configuration(place: &Place, proxies: &[Proxy; 2]) -> String {
    let peers = DOMAINS.iter().zip(proxies).map(|(domain, proxy)| {
        let port = proxy.address().port();
        format!("[\"{domain}\"]\nhost = \"127.0.0.1\"\nport = {port}\nverify = false\n")
    });
    place.file("peers.toml", &peers.collect::<String>());
    place.file("atp.toml", "[queue]\nschedule = [\"1s\"]\n[dns]\npeers = \"peers.toml\"\n")
}
