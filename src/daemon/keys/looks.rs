//! Asking DNS, beside everything else, who can see a domain's keys: the one that waits until it may sign, the others
//! so that the operator learns when one goes missing.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::env::Env;
use crate::proto::time::UnixMillis;
use crate::sign::publication::{Showing, Sight, Standing, Witness};
use crate::sign::seen::Seen;
use crate::sign::{Key, KeyError, KeyState, Keyring};

/// How often a key that waits is asked for.
const PENDING_EVERY: Duration = Duration::from_secs(10);
/// How often any other that must be published is.
const OTHERS_EVERY: Duration = Duration::from_secs(600);
/// How often what was seen is written down, if nothing but time has passed.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// How long a server may say nothing while a key waits for it before the log says so, and how often it does.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

/// What was seen of a domain's keys.
pub(super) struct Looks {
    witness: Witness,
    /// By selector.
    standings: BTreeMap<String, Known>,
    /// The one question under way: which key, and what was seen.
    asking: JoinSet<(Arc<Key>, Sight)>,
    /// What was written down, and when.
    written: Option<(BTreeMap<String, Seen>, Instant)>,
    /// Since when servers say nothing, while a key waits for them.
    silent: HashMap<(String, Option<IpAddr>), Instant>,
    silence_told: Option<Instant>,
}

struct Known {
    public_key: String,
    standing: Standing,
    asked: Option<Instant>,
}

impl Looks {
    /// Asks through this one from now on; what is under way is finished with the one before.
    pub(super) fn ask(&mut self, witness: Witness) {
        self.witness = witness;
    }

    pub(super) fn new(witness: Witness, keyring: &Keyring) -> Looks {
        let known =
            |seen: Seen| Known { standing: Standing::resumed(&seen), public_key: seen.key, asked: None };
        Looks {
            witness,
            standings: keyring.seen().into_iter().map(|(selector, seen)| (selector, known(seen))).collect(),
            asking: JoinSet::new(),
            written: None,
            silent: HashMap::new(),
            silence_told: None,
        }
    }

    /// What was seen of each key, by selector.
    pub(super) fn seen(&self) -> BTreeMap<String, Seen> {
        let seen = |known: &Known| known.standing.seen(known.public_key.clone());
        self.standings.iter().filter_map(|(selector, known)| Some((selector.clone(), seen(known)?))).collect()
    }

    /// Takes in what has been seen, lets the key that waits sign if everybody can see it, and asks on.
    pub(super) async fn look(&mut self, keyring: &mut Keyring, env: &Env) -> Result<(), KeyError> {
        let now = env.clock.now();
        self.keep_to(keyring);
        while let Some(looked) = self.asking.try_join_next() {
            if let Ok((key, sight)) = looked {
                self.saw(keyring, &key, &sight, now)?;
            }
        }
        if let Some(key) = keyring.pending().filter(|key| self.witness.is_nearby(key)).cloned() {
            // No question goes out.
            let sight = self.witness.ask(&key, now).await;
            self.saw(keyring, &key, &sight, now)?;
        } else if self.asking.is_empty()
            && let Some(key) = self.next(keyring, now)
        {
            if let Some(known) = self.standings.get_mut(key.id().selector()) {
                known.asked = Some(Instant::now());
            }
            let witness = self.witness.clone();
            let ask = async move {
                let sight = witness.ask(&key, now).await;
                (key, sight)
            };
            self.asking.spawn(ask.in_current_span());
        }
        self.write_down(keyring);
        Ok(())
    }

    /// Forgets keys that are gone, and those that have another key's name.
    fn keep_to(&mut self, keyring: &Keyring) {
        let mut before = std::mem::take(&mut self.standings);
        for key in keyring.keys() {
            let (selector, public_key) =
                (key.id().selector().to_owned(), BASE64_STANDARD.encode(key.public_key()));
            let known = before.remove(&selector).filter(|known| known.public_key == public_key);
            let new = || Known { public_key, standing: Standing::default(), asked: None };
            self.standings.insert(selector, known.unwrap_or_else(new));
        }
        if keyring.pending().is_none() {
            self.silent.clear();
        }
    }

    /// The key to ask for now. `None`: all have been asked for lately.
    fn next(&self, keyring: &Keyring, now: UnixMillis) -> Option<Arc<Key>> {
        let is_due = |key: &&Arc<Key>, every: Duration| {
            let asked = self.standings.get(key.id().selector()).and_then(|known| known.asked);
            asked.is_none_or(|at| at.elapsed() >= every)
        };
        let pending = keyring.pending().filter(|key| is_due(key, PENDING_EVERY));
        let is_other = |key: &&Arc<Key>| {
            matches!(keyring.state(key, now), KeyState::Active | KeyState::Retiring)
                && !self.witness.is_nearby(key)
                && is_due(key, OTHERS_EVERY)
        };
        let mut others = keyring.keys().filter(is_other);
        pending.filter(|key| key.usable(now.seconds()).is_ok()).or_else(|| others.next()).cloned()
    }

    fn saw(
        &mut self,
        keyring: &mut Keyring,
        key: &Key,
        sight: &Sight,
        now: UnixMillis,
    ) -> Result<(), KeyError> {
        let Some(known) = self.standings.get_mut(key.id().selector()) else { return Ok(()) };
        if known.public_key != BASE64_STANDARD.encode(key.public_key()) {
            return Ok(());
        }
        let before = known.standing.counts();
        let everybody = known.standing.observe(sight, now);
        let (after, left) = (known.standing.counts(), known.standing.left());
        let state = keyring.state(key, now);
        if before != after {
            tell(key, state, sight, left);
        }
        if state != KeyState::Pending {
            return Ok(());
        }
        self.listen_for_silence(key, sight);
        if !everybody {
            return Ok(());
        }
        match keyring.activate_pending(key.id(), now) {
            // Somebody is changing the ring: the next look decides.
            Ok(_) | Err(KeyError::Busy(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Says so when a server has said nothing for a day: the key would wait for it for ever.
    fn listen_for_silence(&mut self, key: &Key, sight: &Sight) {
        let silent: Vec<(String, Option<IpAddr>)> = match sight {
            Sight::Nearby(_) => Vec::new(),
            Sight::Unknown(_) => vec![("the servers of its zone".into(), None)],
            Sight::Servers(places, _) => places
                .iter()
                .filter(|place| matches!(place.showing, Showing::Silent(_)))
                .map(|place| (place.server.clone(), Some(place.address)))
                .collect(),
        };
        self.silent.retain(|server, _| silent.contains(server));
        for server in silent {
            self.silent.entry(server).or_insert_with(Instant::now);
        }
        let mut long: Vec<String> = self
            .silent
            .iter()
            .filter(|(_, since)| since.elapsed() >= SILENCE)
            .map(|((server, address), _)| address.map_or(server.clone(), |ip| format!("{server} ({ip})")))
            .collect();
        if long.is_empty() || self.silence_told.is_some_and(|at| at.elapsed() < SILENCE) {
            return;
        }
        long.sort();
        self.silence_told = Some(Instant::now());
        tracing::warn!(
            name = %key.id(), servers = long.join(", "),
            "no answer for a day, so this key still waits: mend or remove these servers, or sign with it all the same with \
             `atp keys rotate --force --selector {}`", key.id().selector()
        );
    }

    /// So that `atp keys list` can show it, and a restart goes on from it.
    fn write_down(&mut self, keyring: &Keyring) {
        let seen = self.seen();
        let counts = |seen: &BTreeMap<String, Seen>| -> Vec<(String, usize, usize, bool)> {
            let count = |(selector, seen): (&String, &Seen)| {
                (selector.clone(), seen.showing, seen.servers, seen.all_at.is_some())
            };
            seen.iter().map(count).collect()
        };
        let is_time = match &self.written {
            None => !seen.is_empty(),
            Some((written, at)) => {
                counts(written) != counts(&seen) || (*written != seen && at.elapsed() >= WRITE_EVERY)
            }
        };
        if !is_time {
            return;
        }
        if let Err(error) = keyring.note_seen(seen.clone()) {
            tracing::warn!(domain = %keyring.domain(), %error, "what DNS shows of the keys cannot be written down");
        }
        self.written = Some((seen, Instant::now()));
    }
}

fn tell(key: &Key, state: KeyState, sight: &Sight, left: Duration) {
    let Sight::Servers(places, _) = sight else { return };
    let lacking: Vec<String> = places
        .iter()
        .filter_map(|place| {
            let how = match &place.showing {
                Showing::Shows => return None,
                Showing::Absent => "no record".to_owned(),
                Showing::Otherwise(how) => how.clone(),
                Showing::Silent(trouble) => trouble.to_string(),
            };
            Some(format!("{} ({}): {how}", place.server, place.address))
        })
        .collect();
    let (name, servers) = (key.id(), places.len());
    if state == KeyState::Pending {
        let lacking = lacking.join("; ");
        tracing::info!(%name, servers, lacking, wait = ?left, "the next signing key, as authoritative servers show it");
    } else if !lacking.is_empty() {
        let lacking = lacking.join("; ");
        tracing::warn!(%name, servers, lacking, "not every authoritative server shows this signing key: peers may refuse messages; see `atp dns check`");
    }
}
