use std::time::Duration;

use tokio::time::sleep;

use super::*;
use crate::env::dns::overrides::Overrides;
use crate::env::dns::{DnsTrouble, Kind, Record};
use crate::env::rng::SystemRng;
use crate::sign::Rotation;
use crate::testing::Unreachable;
use crate::testing::authorities::ScriptedAuthorities;
use crate::testing::clock::TokioClock;
use crate::testing::resolver::ScriptedResolver;

const NOON: UnixMillis = UnixMillis(1_795_176_000_000);
const MINUTE: Duration = Duration::from_secs(60);
/// The zone's negative TTL.
const TTL: Duration = Duration::from_secs(5 * 60);
/// Two rounds of looking: nothing happens at the very moment.
const ROUNDS: Duration = Duration::from_secs(30);

/// A daemon's view of one domain's keys, with two name servers.
struct World {
    home: Home,
    _directory: tempfile::TempDir,
    domain: Domain,
    env: Env,
    names: Arc<ScriptedResolver>,
    authorities: Arc<ScriptedAuthorities>,
    witness: Witness,
    ring: Ring,
}

impl World {
    fn new(domain: &str) -> World {
        World::with(domain, TTL, Overrides::default())
    }

    fn with(domain: &str, negative_ttl: Duration, overrides: Overrides) -> World {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(directory.path().to_owned())).unwrap();
        let (names, authorities) =
            (Arc::new(ScriptedResolver::new()), Arc::new(ScriptedAuthorities::new(domain, 2)));
        authorities.negative_ttl(negative_ttl);
        let env = Env {
            clock: Arc::new(TokioClock::at(NOON)),
            dns: names.clone(),
            dial: Arc::new(Unreachable),
            rng: Arc::new(SystemRng),
        };
        let witness =
            Witness { names: names.clone(), authorities: authorities.clone(), overrides, explicit: false };
        let domain = Domain::parse(domain).unwrap();
        let ring = Ring::open(&domain, &home, &env, &witness).unwrap();
        World { home, _directory: directory, domain, env, names, authorities, witness, ring }
    }

    /// As a command does it.
    fn commanded(&self) -> Keyring {
        Keyring::open(self.domain.clone(), &self.home.domain(&self.domain).keys()).unwrap()
    }

    /// Wants the key `next`; its record.
    fn rotate(&self) -> String {
        let wanted = Rotation { selector: Some("next"), ..Rotation::default() };
        let key = self.commanded().rotate(wanted, &SystemRng, self.env.clock.now()).unwrap();
        key.record().to_string()
    }

    /// From now on a name server has the record of `next`.
    fn shows(&self, server: usize, record: &str) {
        self.authorities.down(server, None);
        self.says(server, vec![Record::Txt(record.as_bytes().to_vec())]);
    }

    fn says(&self, server: usize, records: Vec<Record>) {
        let name = format!("next.atk._atp.{}", self.domain);
        self.authorities.set_at(server, &name, Kind::Txt, Ok(records));
    }

    async fn run(&mut self, time: Duration) {
        for _ in 0..time.as_secs() / 5 {
            sleep(Duration::from_secs(5)).await;
            self.ring.refresh(&self.env).await;
        }
    }

    async fn restart_after(&mut self, time: Duration) {
        sleep(time).await;
        self.ring = Ring::open(&self.domain, &self.home, &self.env, &self.witness).unwrap();
    }

    fn signs_with(&self) -> String {
        self.ring.signer().borrow().key().id().selector().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_key_signs_once_every_server_has_shown_it_for_one_negative_ttl() {
    let mut world = World::new("a.example");
    let record = world.rotate();
    world.run(MINUTE).await;
    world.shows(0, &record);
    world.run(60 * MINUTE).await;
    assert_eq!(world.signs_with(), "default", "one server does not show it");
    world.shows(1, &record);
    world.run(TTL - ROUNDS).await;
    assert_eq!(world.signs_with(), "default", "others may remember that there was none");
    world.run(2 * ROUNDS).await;
    assert_eq!(world.signs_with(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_forgets_the_record_in_between_restarts_the_wait() {
    let mut world = World::new("a.example");
    let record = world.rotate();
    for server in 0..2 {
        world.shows(server, &record);
    }
    world.run(TTL - ROUNDS).await;
    world.says(1, Vec::new());
    world.run(ROUNDS).await;
    world.shows(1, &record);
    world.run(TTL - ROUNDS).await;
    assert_eq!(world.signs_with(), "default");
    world.run(2 * ROUNDS).await;
    assert_eq!(world.signs_with(), "next");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_stops_the_wait_and_if_it_is_long_restarts_it() {
    let mut world = World::new("a.example");
    let record = world.rotate();
    world.shows(0, &record);
    world.authorities.down(1, Some(DnsTrouble::TimedOut));
    world.run(180 * MINUTE).await;
    assert_eq!(world.signs_with(), "default", "what does not answer does not show it");
    for (away, left) in [(10 * MINUTE, ROUNDS), (20 * MINUTE, TTL - ROUNDS)] {
        let mut world = World::new("a.example");
        let record = world.rotate();
        for server in 0..2 {
            world.shows(server, &record);
        }
        world.run(TTL - 2 * ROUNDS).await;
        world.authorities.down(1, Some(DnsTrouble::TimedOut));
        world.run(away).await;
        assert_eq!(world.signs_with(), "default", "{away:?}");
        world.shows(1, &record);
        world.run(left).await;
        assert_eq!(world.signs_with(), "default", "{away:?}");
        world.run(3 * ROUNDS).await;
        assert_eq!(world.signs_with(), "next", "{away:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_the_wait_and_a_long_one_begins_anew() {
    for (away, left) in [(MINUTE, ROUNDS), (60 * MINUTE, TTL - ROUNDS)] {
        let mut world = World::new("a.example");
        let record = world.rotate();
        for server in 0..2 {
            world.shows(server, &record);
        }
        // What has passed is written down every minute.
        world.run(TTL - ROUNDS).await;
        world.restart_after(away).await;
        world.run(left).await;
        assert_eq!(world.signs_with(), "default", "{away:?}");
        world.run(MINUTE + 2 * ROUNDS).await;
        assert_eq!(world.signs_with(), "next", "{away:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_negative_ttl_of_a_week_is_waited_for_no_longer_than_resolvers_heed_it() {
    let mut world = World::with("a.example", Duration::from_secs(7 * 24 * 3600), Overrides::default());
    let record = world.rotate();
    for server in 0..2 {
        world.shows(server, &record);
    }
    world.run(179 * MINUTE).await;
    assert_eq!(world.signs_with(), "default");
    world.run(2 * MINUTE).await;
    assert_eq!(world.signs_with(), "next");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_on_this_machine_counts_at_once() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[\"next.atk._atp.a.example\"]\nrecord = \"v=atp1\"\n").unwrap();
    let overridden = World::with("a.example", TTL, Overrides::load(file.path()).unwrap());
    for mut world in [World::new("a.local"), overridden] {
        world.authorities.zone(Err(DnsTrouble::ServFail));
        let record = world.rotate();
        world.run(MINUTE).await;
        assert_eq!(world.signs_with(), "default", "nobody has said it yet");
        world.names.txt(&format!("next.atk._atp.{}", world.domain), &[&record]);
        world.run(Duration::from_secs(5)).await;
        assert_eq!(world.signs_with(), "next");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_command_changes_is_followed() {
    let mut world = World::new("a.example");
    let now = world.env.clock.now();
    let wanted = Rotation { selector: Some("next"), force: true, ..Rotation::default() };
    world.commanded().rotate(wanted, &SystemRng, now).unwrap();
    world.run(Duration::from_secs(5)).await;
    assert_eq!(world.signs_with(), "next");
    world.commanded().revoke("next", true, now).unwrap();
    assert!(world.ring.refresh(&world.env).await, "neighbours have to learn of it");
    assert!(world.ring.signer().borrow().ready(world.env.clock.now()).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_is_in_the_summary() {
    let mut world = World::new("a.example");
    let record = world.rotate();
    world.shows(1, &record);
    world.run(MINUTE).await;
    let summaries = world.ring.summaries(world.env.clock.now());
    let published = |at: usize| summaries[at].published.as_ref().map(|seen| (seen.showing, seen.servers));
    assert_eq!((summaries[0].selector.as_str(), published(0)), ("default", Some((0, 2))));
    assert_eq!((summaries[1].selector.as_str(), published(1)), ("next", Some((1, 2))));
    // A command reads the same.
    assert_eq!(world.commanded().seen()["next"].showing, 1);
}
