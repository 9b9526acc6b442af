//! The TXT records of `dns-01` (RFC 8555 §8.4): published, waited for, and taken back.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::account::on_disk;
use super::issue::Failure;
use super::solve::Proof;
use super::{told, tsig};
use crate::config::checked;
use crate::config::private;
use crate::env::clock::Clock;
use crate::env::dns::authorities::{Authorities, Survey};
use crate::env::dns::update::Updater;
use crate::env::dns::{DnsTrouble, Kind, Record};
use crate::env::program;

/// How long resolvers may keep these records.
const TTL_SECONDS: u32 = 60;
/// Longest time a hook may take.
const HOOK_TIMEOUT: Duration = Duration::from_secs(300);
/// How long all name servers together get to show the records.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(300);
/// How often they are asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long is waited after a hook where the zone's servers cannot be asked.
const BLIND_WAIT: Duration = Duration::from_secs(10);
/// How often in a row the zone's servers may not be found before that counts as such a place.
const MAX_UNFOUND: u32 = 3;
/// Records that may wait to be taken back.
const MAX_LEFT: usize = 200;

/// A record that is published, or may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Published {
    name: String,
    value: String,
}

/// Publishes with the operator's hook or by dynamic update.
pub(super) struct Publisher {
    how: checked::Publisher,
    /// What has been published and not been taken back: `acme/published.json`.
    journal: PathBuf,
    authorities: Option<Arc<dyn Authorities>>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy)]
enum Verb {
    Present,
    Cleanup,
}

impl Publisher {
    pub fn new(
        how: checked::Publisher,
        directory: &Path,
        authorities: Option<Arc<dyn Authorities>>,
        clock: Arc<dyn Clock>,
    ) -> Publisher {
        Publisher { how, journal: directory.join("published.json"), authorities, clock }
    }

    /// Publishes a record for each proof, and returns when the authority may look.
    pub async fn publish(&self, proofs: &[Proof]) -> Result<(), Failure> {
        self.take_back(&self.left().await).await;
        let records: Vec<Published> = proofs.iter().map(record).collect();
        // Noted first: what is published when we are killed is taken back before the next order.
        let left = self.left().await;
        self.note(left.into_iter().chain(records.clone()).collect()).await?;
        for Published { name, value } in &records {
            self.act(Verb::Present, name, value).await?;
        }
        self.wait_until_visible(&records).await;
        Ok(())
    }

    /// Takes the records back.
    pub async fn clean(&self, proofs: &[Proof]) {
        let records: Vec<Published> = proofs.iter().map(record).collect();
        self.take_back(&records).await;
    }

    async fn take_back(&self, records: &[Published]) {
        let mut left = self.left().await;
        for record in records {
            match self.act(Verb::Cleanup, &record.name, &record.value).await {
                Ok(()) => left.retain(|kept| kept != record),
                Err(failure) => {
                    let (name, error) = (&record.name, failure.text);
                    tracing::warn!(name, error, "the record of a challenge could not be removed");
                }
            }
        }
        if let Err(failure) = self.note(left).await {
            tracing::warn!(error = failure.text, "published records could not be noted");
        }
    }

    async fn act(&self, verb: Verb, name: &str, value: &str) -> Result<(), Failure> {
        match &self.how {
            checked::Publisher::Hook(hook) => run_hook(hook, verb, name, value).await,
            checked::Publisher::Update { .. } => {
                let updater = self.updater().await?;
                let done = match verb {
                    Verb::Present => updater.add(name, value, TTL_SECONDS).await,
                    Verb::Cleanup => updater.remove(name, value).await,
                };
                done.map_err(|error| Failure::own(error.to_string()))
            }
        }
    }

    async fn updater(&self) -> Result<Updater, Failure> {
        let checked::Publisher::Update { server, key } = &self.how else {
            return Err(Failure::own("there is no name server for updates".into()));
        };
        let path = key.clone();
        let key =
            on_disk(move || path.as_deref().map(tsig::read).transpose()).await?.map_err(Failure::own)?;
        let key = key.as_ref().map(|key| (key.name.as_str(), key.secret.as_slice()));
        let updater = Updater::new(*server, key, Arc::clone(&self.clock));
        updater.map_err(|error| Failure::own(error.to_string()))
    }

    /// Returns when every name server shows every record, as far as that can be found out, or time is up: then the
    /// authority is let look all the same, because it may see what we do not.
    async fn wait_until_visible(&self, records: &[Published]) {
        let deadline = Instant::now() + VISIBLE_TIMEOUT;
        let mut blind = self.authorities.is_none();
        for Published { name, value } in records {
            let mut unfound = 0;
            while !blind {
                match self.survey(name, value).await {
                    Ok(missing) if missing.is_empty() => break,
                    Ok(missing) if Instant::now() >= deadline => {
                        let servers = missing.join(", ");
                        tracing::warn!(
                            name,
                            servers,
                            "not every name server shows the record of the challenge"
                        );
                        return;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        unfound += 1;
                        blind = unfound >= MAX_UNFOUND;
                        tracing::debug!(name, %error, "the zone's name servers are not found");
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        }
        if blind {
            self.wait_blindly(records, deadline).await;
        }
    }

    /// The servers that answer and do not show the record. Those that do not answer do not count, unless none does.
    async fn survey(&self, name: &str, value: &str) -> Result<Vec<String>, DnsTrouble> {
        let Some(authorities) = &self.authorities else { return Err(DnsTrouble::Unusable) };
        let Survey { servers, .. } = authorities.survey(name, Kind::Txt).await?;
        let wanted = Record::Txt(value.as_bytes().to_vec());
        let answers =
            servers.iter().filter_map(|told| told.answer.as_ref().ok().map(|answer| (told, answer)));
        let answers: Vec<_> = answers.collect();
        if answers.is_empty() {
            return Err(DnsTrouble::TimedOut);
        }
        let missing = answers.into_iter().filter(|(_, answer)| !answer.records.contains(&wanted));
        Ok(missing.map(|(told, _)| format!("{} ({})", told.server, told.address)).collect())
    }

    /// Without a way to ask the zone's servers: the one that took the update has to show it; a hook's word counts.
    async fn wait_blindly(&self, records: &[Published], deadline: Instant) {
        let Ok(updater) = self.updater().await else { return sleep(BLIND_WAIT).await };
        for Published { name, value } in records {
            while !updater.shows(name, value).await.unwrap_or_default() && Instant::now() < deadline {
                sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn left(&self) -> Vec<Published> {
        let path = self.journal.clone();
        let read = on_disk(move || private::read(&path)).await;
        let bytes = read.ok().and_then(Result::ok).unwrap_or_default();
        let mut left: Vec<Published> = serde_json::from_slice(&bytes).unwrap_or_default();
        left.truncate(MAX_LEFT);
        left
    }

    async fn note(&self, mut left: Vec<Published>) -> Result<(), Failure> {
        left.truncate(MAX_LEFT);
        let bytes = serde_json::to_vec(&left).map_err(|error| Failure::own(error.to_string()))?;
        let path = self.journal.clone();
        let written = on_disk(move || private::write(&path, &bytes)).await?;
        written.map_err(|error| Failure::own(error.to_string()))
    }
}

/// RFC 8555 §8.4
fn record(proof: &Proof) -> Published {
    Published { name: format!("_acme-challenge.{}", proof.name), value: proof.dns_value.clone() }
}

/// Exit status 0 is success; the hook returns when the record is published.
async fn run_hook(hook: &Path, verb: Verb, name: &str, value: &str) -> Result<(), Failure> {
    let word = match verb {
        Verb::Present => "present",
        Verb::Cleanup => "cleanup",
    };
    let failed = |why: String| Failure::own(format!("the hook {} {word} {name}: {why}", hook.display()));
    let ran = program::run(hook, &[word, name, value], HOOK_TIMEOUT).await;
    let ran = ran.map_err(|error| failed(error.to_string()))?;
    let output = told(&String::from_utf8_lossy(&ran.output));
    tracing::info!(hook = %hook.display(), verb = word, name, status = %ran.status, output, "ran the hook");
    if ran.status.success() { Ok(()) } else { Err(failed(format!("{}; it says: {output}", ran.status))) }
}
