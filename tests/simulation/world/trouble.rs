//! Where each kind of trouble begins and ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::World;
use crate::net::{Bad, Net, State};
use crate::plan::Plan;
use crate::plan::faults::{Fault, What};
use crate::site::Site;

/// What trouble is made with.
#[derive(Clone)]
struct Hands {
    plan: Arc<Plan>,
    net: Arc<Net>,
    sites: Vec<Arc<Site>>,
}

impl World {
    /// Lets everything go wrong that the plan says, until all of it is over.
    pub(super) async fn trouble(&self) {
        let hands =
            Hands { plan: Arc::clone(&self.plan), net: Arc::clone(&self.net), sites: self.sites.clone() };
        let mut faults = JoinSet::new();
        for fault in self.plan.faults.clone() {
            let (hands, log, time) = (hands.clone(), self.log.clone(), self.time);
            faults.spawn(async move {
                sleep_until(time.at(fault.from)).await;
                let Fault { lasts, what, .. } = fault;
                log.say("trouble", format_args!("{what:?} for {}", lasts.as_secs()));
                hands.begin(&what);
                sleep(lasts).await;
                hands.end(&what).await;
                log.say("trouble", format_args!("{what:?} is over"));
            });
        }
        while faults.join_next().await.is_some() {}
        sleep_until(self.time.at(self.plan.troubled)).await;
    }
}

impl Hands {
    fn begin(&self, what: &What) {
        match what {
            What::Killed(site) => self.sites[*site].end(State::Killed),
            What::Dark(site) => self.sites[*site].end(State::Dark),
            What::DarkAt(site, steps) => self.sites[*site].disk().cut_in(*steps),
            What::Disk(site, trouble) => self.sites[*site].disk_trouble(Some(*trouble)),
            What::Clock(site, ahead) => self.sites[*site].clock.set_ahead(*ahead),
            What::Deaf(site) => self.sites[*site].listen(false),
            What::Rotation(domain, revokes) => {
                let domain = &self.plan.domains[*domain];
                let site = Arc::clone(&self.sites[domain.site]);
                tokio::spawn(site.rotate(domain.name.clone(), *revokes));
            }
            _ => self.turn(what, true),
        }
    }

    async fn end(&self, what: &What) {
        match what {
            What::Killed(site) | What::Dark(site) => self.sites[*site].start().await,
            What::DarkAt(site, _) => {
                self.sites[*site].disk().stay_on();
                self.sites[*site].start().await;
            }
            What::Disk(site, _) => {
                self.sites[*site].disk_trouble(None);
                // It is opened again before long.
                sleep(Duration::from_secs(1)).await;
            }
            What::Clock(site, _) => self.sites[*site].clock.set_ahead(0),
            What::Deaf(site) => self.sites[*site].listen(true),
            What::Rotation(..) => {}
            _ => self.turn(what, false),
        }
    }

    /// The weather, or what is told of names.
    fn turn(&self, what: &What, begins: bool) {
        match what {
            What::Apart(some) => {
                let others = || (0..self.sites.len()).filter(|site| !some.contains(site));
                for (one, other) in some.iter().flat_map(|one| others().map(move |other| (*one, other))) {
                    self.way(one, other, Bad::Held, begins);
                    self.way(other, one, Bad::Held, begins);
                }
            }
            What::Way(from, to, bad) => self.way(*from, *to, *bad, begins),
            What::Agents(site, bad, to_it) => {
                let site = &self.sites[*site];
                let (from, to) = if *to_it { (site.agents, site.host) } else { (site.host, site.agents) };
                self.net.turn(from, to, *bad, begins);
            }
            What::Names(site, domain, wrong) => {
                let zone = domain.map_or("", |domain| self.plan.domains[domain].name.as_str());
                self.sites[*site].names.turn(zone, *wrong, begins);
            }
            What::Zone(domain, wrong) => {
                let zone = &self.plan.domains[*domain].name;
                self.sites.iter().for_each(|site| site.names.turn(zone, *wrong, begins));
            }
            _ => {}
        }
    }

    fn way(&self, from: usize, to: usize, bad: Bad, begins: bool) {
        self.net.turn(self.sites[from].host, self.sites[to].host, bad, begins);
    }
}
