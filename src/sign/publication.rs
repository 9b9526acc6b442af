//! Whether others can see a key: what each authoritative server of its zone shows, and for how long all of them have.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::key::Key;
use super::seen::Seen;
use crate::env::dns::authorities::Authorities;
use crate::env::dns::overrides::Overrides;
use crate::env::dns::{Answer, DnsTrouble, Kind, Record, Resolver};
use crate::proto::atk::KeyRecord;
use crate::proto::ats;
use crate::proto::time::UnixMillis;

/// Longest negative TTL that is waited for: resolvers remember an absence no longer, whatever the zone says (RFC 2308 §5).
pub const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(3 * 3600);
/// For how long what all servers show may go unseen, because one does not answer or because we were not running: the
/// wait stands still meanwhile, and goes on after it. After a longer time it begins anew.
pub const MAX_UNSEEN: Duration = Duration::from_secs(15 * 60);
/// Longest time for asking all servers once.
const SURVEY_LIMIT: Duration = Duration::from_secs(60);
/// Most addresses of servers that are reported.
pub const MAX_SERVERS: usize = 64;

/// Whom to ask whether a key can be seen.
#[derive(Clone)]
pub struct Witness {
    /// Overrides, the local directory, DNS: as messages are verified with.
    pub names: Arc<dyn Resolver>,
    /// The authoritative servers of zones.
    pub authorities: Arc<dyn Authorities>,
    /// What goes before DNS.
    pub overrides: Overrides,
    /// Whether the operator named the resolvers, so that special-use names are asked of DNS too.
    pub explicit: bool,
}

/// What a server says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Showing {
    /// Its record, as it should be.
    Shows,
    /// No record of it.
    Absent,
    /// A record that is of no use to it; in words.
    Otherwise(String),
    /// Nothing, so it counts as not showing it.
    Silent(DnsTrouble),
}

/// One address of an authoritative server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The server's host name.
    pub server: String,
    /// The address that was asked.
    pub address: IpAddr,
    /// What it said.
    pub showing: Showing,
}

/// What was seen of a key at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// The override or the local directory decides, for every server there is.
    Nearby(Showing),
    /// Each authoritative server for itself, and for how long they must all show it.
    Servers(Vec<Place>, Duration),
    /// The zone's servers could not be found.
    Unknown(DnsTrouble),
}

impl Witness {
    /// Whether there is nobody to wait for: what is said on this machine goes before DNS (`docs/protocol.md` §12).
    pub fn is_nearby(&self, key: &Key) -> bool {
        is_nearby(key, &self.overrides, self.explicit)
    }

    /// Asks everybody. Takes up to a minute.
    pub async fn ask(&self, key: &Key, now: UnixMillis) -> Sight {
        let name = key.id().to_string();
        if self.is_nearby(key) {
            let answer = self.names.lookup(&name, Kind::Txt).await;
            return Sight::Nearby(judge(key, &answer, now));
        }
        let survey = timeout(SURVEY_LIMIT, self.authorities.survey(&name, Kind::Txt)).await;
        let survey = match survey.unwrap_or(Err(DnsTrouble::TimedOut)) {
            Ok(survey) if survey.servers.is_empty() => return Sight::Unknown(DnsTrouble::Unusable),
            Ok(survey) => survey,
            Err(trouble) => return Sight::Unknown(trouble),
        };
        let mut wanted = survey.negative_ttl;
        let mut places = Vec::with_capacity(survey.servers.len().min(MAX_SERVERS));
        for told in survey.servers.into_iter().take(MAX_SERVERS) {
            let showing = judge(key, &told.answer, now);
            if let (Showing::Otherwise(_), Ok(answer)) = (&showing, &told.answer) {
                // Resolvers may remember the other record for that long.
                wanted = wanted.max(answer.ttl);
            }
            places.push(Place { server: told.server, address: told.address, showing });
        }
        Sight::Servers(places, wanted.min(MAX_NEGATIVE_TTL))
    }
}

/// As [`Witness::is_nearby`], for whoever asks nobody.
pub fn is_nearby(key: &Key, overrides: &Overrides, explicit: bool) -> bool {
    let special = key.id().domain().is_special_use() && !explicit;
    special || overrides.get(&key.id().to_string()).is_some()
}

/// What an answer says of a key.
fn judge(key: &Key, answer: &Result<Answer, DnsTrouble>, now: UnixMillis) -> Showing {
    let records = match answer {
        Ok(answer) => &answer.records,
        Err(trouble) => return Showing::Silent(*trouble),
    };
    let text = |record: &Record| if let Record::Txt(text) = record { Some(text.clone()) } else { None };
    let texts: Vec<Vec<u8>> = records.iter().filter_map(text).collect();
    let otherwise = |text: &str| Showing::Otherwise(text.to_owned());
    let record = match ats::select(&texts) {
        Err(_) => return otherwise("two v=atp1 records"),
        Ok(None) => return Showing::Absent,
        Ok(Some(text)) => match KeyRecord::parse(&text) {
            Err(error) => return Showing::Otherwise(error.to_string()),
            Ok(record) => record,
        },
    };
    let sooner = record.expires.is_some_and(|there| key.expires().is_none_or(|here| there < here));
    if record.key != key.public_key() {
        otherwise("another key")
    } else if record.revoked {
        otherwise("it is revoked there (t=s)")
    } else if record.expires.is_some_and(|expires| expires <= now.seconds()) {
        otherwise("it has expired there (x=)")
    } else if sooner {
        otherwise("it ends earlier there (x=)")
    } else {
        Showing::Shows
    }
}

/// For how long all servers have been seen showing a key.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    shown_for: Duration,
    /// When all showed it, if that was the last that was seen.
    all_last: Option<Instant>,
    /// When all last showed it, whatever was seen since.
    all_at: Option<UnixMillis>,
    /// The longest that was ever asked for: another record's TTL counts also when it is gone.
    wanted_for: Duration,
    /// How many showed it when last asked, and how many there were.
    counts: Option<(usize, usize, UnixMillis)>,
}

impl Standing {
    /// What is left of what was seen before a restart.
    pub fn resumed(seen: &Seen) -> Standing {
        Standing {
            shown_for: Duration::from_secs(seen.shown_for).min(MAX_NEGATIVE_TTL),
            all_last: None,
            all_at: seen.all_at.map(UnixMillis::from_seconds),
            wanted_for: Duration::from_secs(seen.wanted_for).min(MAX_NEGATIVE_TTL),
            counts: Some((seen.showing, seen.servers, UnixMillis::from_seconds(seen.at))),
        }
    }

    /// Takes in what was seen at `now`; `true`: everybody can see the key by now.
    pub fn observe(&mut self, sight: &Sight, now: UnixMillis) -> bool {
        match sight {
            Sight::Nearby(showing) => {
                let shows = *showing == Showing::Shows;
                self.counts = Some((usize::from(shows), 1, now));
                shows
            }
            Sight::Unknown(_) => {
                self.all_last = None;
                false
            }
            Sight::Servers(places, wanted) => {
                let showing = places.iter().filter(|place| place.showing == Showing::Shows).count();
                let silent =
                    places.iter().filter(|place| matches!(place.showing, Showing::Silent(_))).count();
                self.counts = Some((showing, places.len(), now));
                if showing == places.len() {
                    self.all_show(*wanted, now)
                } else {
                    self.not_all_show(*wanted, showing + silent == places.len());
                    false
                }
            }
        }
    }

    fn all_show(&mut self, wanted: Duration, now: UnixMillis) -> bool {
        let at = Instant::now();
        // A clock that was set back makes the time unseen unknown.
        let unseen = self.all_at.filter(|last| *last <= now).map(|last| now.since(last));
        match self.all_last {
            Some(last) => self.shown_for += at - last,
            None if unseen.is_some_and(|unseen| unseen <= MAX_UNSEEN) => {}
            None => self.shown_for = Duration::ZERO,
        }
        (self.all_last, self.all_at) = (Some(at), Some(now));
        self.wanted_for = self.wanted_for.max(wanted);
        self.shown_for >= self.wanted_for
    }

    fn not_all_show(&mut self, wanted: Duration, only_silent: bool) {
        self.all_last = None;
        if !only_silent {
            (self.all_at, self.shown_for) = (None, Duration::ZERO);
            self.wanted_for = self.wanted_for.max(wanted);
        }
    }

    /// How many showed it when last asked, and how many there were. `None`: nobody was asked yet.
    pub fn counts(&self) -> Option<(usize, usize)> {
        self.counts.map(|(showing, servers, _)| (showing, servers))
    }

    /// For how long all have to be seen showing it still.
    pub fn left(&self) -> Duration {
        self.wanted_for.saturating_sub(self.shown_for)
    }

    /// What is to be kept of it. `None`: nothing was seen yet.
    pub fn seen(&self, public_key: String) -> Option<Seen> {
        let (showing, servers, at) = self.counts?;
        Some(Seen {
            key: public_key,
            at: at.seconds(),
            showing,
            servers,
            all_at: self.all_at.map(UnixMillis::seconds),
            shown_for: self.shown_for.as_secs(),
            wanted_for: self.wanted_for.as_secs(),
        })
    }
}

#[cfg(test)]
mod tests;
