//! The configuration is read again while the daemon runs, at SIGHUP or `atp reload`: all of it is put in force, or
//! nothing is and the old one stays.
//!
//! A reload goes in three steps. *Read*: the file is read anew, the command line the daemon was started with is laid
//! over it, and the whole is checked, with every file it names. *Prepare*: everything that can fail is done beside
//! what runs (keys are opened, files read, mailboxes made). *Commit*: the new [`Settings`] replace the old ones in one
//! swap, and each part puts in force what it has prepared, which cannot fail.
//!
//! How a part of the daemon follows the configuration:
//! - What it reads from [`Settings`] (`pipeline.settings.now()`, once for each piece of work) needs nothing else.
//! - What has to be prepared is a [`Part`], and is handed to [`Reloader::new`] in `build.rs`: the certificates, as
//!   `certificates::Followed` shows, listeners that come and go, and [`Part::begins`] and [`Part::ends`] for whoever
//!   tells a service manager.
//! - What cannot change without a restart stands in [`restart`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::chores::Moved;
use super::keys::Keys;
use super::local::Neighbours;
use super::outside::{Kept, Outside};
use super::{files, secrets, told, watching};
use crate::config::effective::Change;
use crate::config::home::{Home, NodeDir};
use crate::config::{Config, ConfigError, Loaded, Source};
use crate::discover::Policies;
use crate::env::BoxFuture;
use crate::env::local::LocalDirectory;
use crate::env::whole::{self, MAX_LIST_BYTES};
use crate::observe;
use crate::pipeline::settings::Settings;
use crate::proto::address::Domain;
use crate::server::reload::{Answered, MAX_WAITING, Refused, Reloaded};
use crate::server::state::App;
use crate::sign::publication::Witness;

pub(super) mod news;
mod restart;

/// Puts in force what has been prepared. It must not fail.
pub(super) type Commit = Box<dyn FnOnce() + Send>;

/// A part of the daemon that has something to prepare before another configuration can be in force.
pub(super) trait Part: Send + Sync {
    /// Does everything that can fail, and changes nothing: that is left to what is returned, which is called once every
    /// part has prepared, or dropped because one has failed. `Err`: one sentence that names key or file.
    fn prepare<'a>(&'a mut self, next: &'a Arc<Config>) -> BoxFuture<'a, Result<Commit, String>>;

    /// A reload begins.
    fn begins(&mut self) {}

    /// It has ended, well or not.
    fn ends(&mut self, outcome: &Result<Reloaded, Refused>) {
        let _ = outcome;
    }
}

/// What domains that come and go are entered in.
pub(super) struct Served {
    pub(super) home: Home,
    pub(super) node: NodeDir,
    pub(super) local: LocalDirectory,
    pub(super) neighbours: Neighbours,
    pub(super) moves: mpsc::Sender<Moved>,
    pub(super) app: Arc<App>,
}

/// What stands in the files that the configuration names, by key. Those of `[acme]` are read when they are needed.
type Contents = BTreeMap<String, (PathBuf, Option<[u8; 32]>)>;

/// Reads the configuration again when it is asked to, never twice at once.
pub(super) struct Reloader {
    source: Option<Source>,
    /// What was read last and is in force, but for what takes a restart.
    loaded: Loaded,
    contents: Contents,
    served: Served,
    kept: Kept,
    parts: Vec<Box<dyn Part>>,
}

/// Everything prepared.
struct Prepared {
    settings: Settings,
    witness: Witness,
    kept: Kept,
    added: Keys,
    commits: Vec<Commit>,
}

impl Reloader {
    /// `parts` commit in their order, after the settings have been replaced.
    pub(super) fn new(
        source: Option<Source>,
        loaded: Loaded,
        served: Served,
        kept: Kept,
        parts: Vec<Box<dyn Part>>,
    ) -> Reloader {
        let contents = contents(&loaded.config);
        served.app.in_force.store(Arc::new(loaded.settings.clone()));
        Reloader { source, loaded, contents, served, kept, parts }
    }

    pub(super) async fn run(mut self, mut wishes: mpsc::Receiver<Answered>) {
        let mut waiting = Vec::with_capacity(MAX_WAITING);
        // Whoever has asked before the file is read is answered by what is in it then.
        while wishes.recv_many(&mut waiting, MAX_WAITING).await > 0 {
            self.parts.iter_mut().for_each(|part| part.begins());
            let outcome = self.reload().await;
            tell(&outcome);
            self.parts.iter_mut().for_each(|part| part.ends(&outcome));
            for answered in waiting.drain(..) {
                // Whoever asked may have gone.
                let _ = answered.send(outcome.clone());
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, Refused> {
        let (loaded, contents) = self.read().await?;
        let mut changes = loaded.settings.changes_since(&self.loaded.settings);
        changes.extend(other_contents(&self.contents, &contents));
        let running = Arc::clone(&self.served.app.settings().config);
        if loaded.config.first_domain() != running.first_domain() {
            let remedy = format!(
                "the first domain names the server's directory and stays {} while it runs; restart for another",
                running.first_domain()
            );
            return Err(refused(&loaded, &[("domains".into(), remedy)]));
        }
        let (restart, changed) = restart::split(changes, &loaded.config, &running);
        if !changed.is_empty() {
            let config = Arc::new(loaded.config.clone().as_started(&running));
            let prepared = self.prepare(&config, &running).await?;
            self.commit(prepared, &running).await;
        }
        if restart.is_empty() {
            (self.loaded, self.contents) = (loaded, contents);
        } else {
            // What takes a restart is told again with the next reload.
            self.loaded.settings = loaded.settings.without(&restart, &self.loaded.settings);
            self.contents = contents;
        }
        self.served.app.in_force.store(Arc::new(self.loaded.settings.clone()));
        Ok(Reloaded { changed, restart })
    }

    /// The file, read and checked with every file it names.
    async fn read(&self) -> Result<(Loaded, Contents), Refused> {
        let Some(source) = self.source.clone() else {
            return Err(failed("this server was not started from a configuration that could be read again"));
        };
        let reading = tokio::task::spawn_blocking(move || {
            let loaded = source.read().map_err(|error| wrong(&error))?;
            match loaded.wrong(&files::check(&loaded.config)) {
                Some(error) => Err(wrong(&error)),
                None => {
                    let contents = contents(&loaded.config);
                    Ok((loaded, contents))
                }
            }
        });
        reading.await.map_err(|error| failed(&error.to_string()))?
    }

    /// Everything that can fail. Mailboxes of the operator and keys of new domains are made; they harm nobody if the
    /// reload fails after all.
    async fn prepare(&mut self, config: &Arc<Config>, running: &Config) -> Result<Prepared, Refused> {
        let Served { home, node, local, app, .. } = &self.served;
        let before = app.settings();
        let broken = |error: &dyn std::fmt::Display| failed(&error.to_string());
        let outside =
            Outside::new(config, local, &app.counters, Some(&self.kept)).map_err(|error| broken(&error))?;
        let admin_token =
            secrets::admin_token(config, node, &*outside.env.rng).map_err(|error| broken(&error))?;
        let policies = Policies::prepare(&config.destinations).map_err(|error| broken(&error))?;
        let new: Vec<Domain> =
            config.domains().iter().filter(|domain| running.settings_of(domain).is_none()).cloned().collect();
        let added =
            Keys::open(&new, home, &app.pipeline.env, &outside.witness).map_err(|error| broken(&error))?;
        for domain in &new {
            app.accounts.ensure_operator_mailboxes(domain).await.map_err(|fault| broken(&fault))?;
        }
        let mut signers = before.signers.clone();
        signers.extend(added.signers());
        signers.retain(|domain, _| config.settings_of(domain).is_some());
        let mut commits = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            commits.push(part.prepare(config).await.map_err(|reason| failed(&reason))?);
        }
        // Last, for it is on disk at once; nothing after it can fail.
        node.announce(config.domains()).map_err(|error| broken(&error))?;
        let (config, local) = (Arc::clone(config), local.clone());
        let settings = Settings::new(config, outside.env, outside.peers, local, signers, admin_token);
        settings.discovery.policies().commit(policies);
        Ok(Prepared { settings, witness: outside.witness, kept: outside.kept, added, commits })
    }

    /// Nothing in here can fail.
    async fn commit(&mut self, prepared: Prepared, running: &Config) {
        let Prepared { settings, witness, kept, added, commits } = prepared;
        let Served { home, neighbours, moves, app, .. } = &self.served;
        let config = Arc::clone(&settings.config);
        self.kept = kept;
        app.pipeline.settings.replace(settings);
        app.readiness.has_resolver.store(Arc::new(watching::has_resolver(&config, self.kept.has_resolver())));
        if running.domains().iter().any(|domain| config.settings_of(domain).is_none()) {
            // Agents of a domain that has gone wait no longer.
            app.pipeline.store.arrivals().wake_everybody();
        }
        commits.into_iter().for_each(|commit| commit());
        observe::change(config.log);
        let is_added = |domain: &Domain| running.settings_of(domain).is_none();
        if let Some(certificates) = &app.certificates {
            neighbours.follow(config.domains(), (&added, is_added), certificates);
        }
        config
            .domains()
            .iter()
            .filter(|domain| is_added(domain))
            .for_each(|domain| told::served(domain, home));
        let moved = Moved { domains: config.domains().to_vec(), added, witness };
        if moves.send(moved).await.is_err() {
            tracing::warn!("nobody follows the signing keys any more");
        }
    }
}

fn tell(outcome: &Result<Reloaded, Refused>) {
    match outcome {
        Ok(Reloaded { changed, restart }) => {
            let keys = |changes: &[Change]| {
                changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>().join(", ")
            };
            tracing::info!(changed = keys(changed), "the configuration was read again");
            if !restart.is_empty() {
                tracing::warn!(keys = keys(restart), "a restart is needed before these are in force");
            }
        }
        Err(Refused { reason, .. }) => {
            tracing::error!(reason, "the configuration was read again and cannot be used; the old one stays");
        }
    }
}

fn failed(reason: &str) -> Refused {
    Refused { reason: reason.to_owned(), findings: Vec::new() }
}

fn wrong(error: &ConfigError) -> Refused {
    Refused { reason: error.to_string(), findings: error.findings().cloned().collect() }
}

fn refused(loaded: &Loaded, findings: &[(String, String)]) -> Refused {
    loaded.wrong(findings).map_or_else(|| failed("the configuration cannot be used"), |error| wrong(&error))
}

fn contents(config: &Config) -> Contents {
    let digest =
        |path: &PathBuf| whole::read(path, MAX_LIST_BYTES).ok().map(|bytes| Sha256::digest(bytes).into());
    let followed = config.files().into_iter().filter(|file| !file.key.starts_with("acme."));
    followed.map(|file| (file.key, (file.path.clone(), digest(&file.path)))).collect()
}

/// Files that are the same and say something else.
fn other_contents(before: &Contents, after: &Contents) -> Vec<Change> {
    let is_other = |(key, (path, digest)): &(&String, &(PathBuf, Option<[u8; 32]>))| {
        before.get(*key).is_some_and(|(old_path, old)| old_path == path && old != digest)
    };
    let change = |(key, (path, _)): (&String, &(PathBuf, Option<[u8; 32]>))| Change {
        key: key.clone(),
        before: None,
        after: Some(format!("what now stands in {}", path.display())),
    };
    after.iter().filter(is_other).map(change).collect()
}
