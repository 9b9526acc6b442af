//! The runner: waits until a certificate is due, and has one issued.

use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::account::on_disk;
use super::install::{self, Issued};
use super::issue::{Authority, Failure, Issue};
use super::publish::Publisher;
use super::respond::Responder;
use super::schedule::{FIRST_WAIT, Held, Record};
use super::solve::Solver;
use super::{Certificate, Command, Handle, MAX_COMMANDS, State};
use crate::config::checked;
use crate::config::private;
use crate::env::Env;
use crate::env::dns::authorities::Authorities;
use crate::proto::address::Domain;
use crate::proto::time::UnixMillis;

/// How often the wall clock is looked at, which may jump.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// When the authority is asked again for its suggestion after it gave none.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(6 * 3600);
const RECORD_FILE: &str = "state.json";

/// What a runner is made of.
pub struct Parts {
    /// What the operator wants.
    pub config: checked::Acme,
    /// The daemon's directory for it; made if there is none.
    pub directory: PathBuf,
    /// Time, names, connections, dice.
    pub env: Env,
    /// Asks the zone's own servers whether they show a challenge's record. `None`: only the one that took it is asked.
    pub authorities: Option<Arc<dyn Authorities>>,
    /// For `http-01`, from the service manager. `None`: `acme.http_listen` is bound.
    pub socket: Option<TcpListener>,
}

/// Sees to one certificate.
pub struct Runner {
    config: checked::Acme,
    directory: PathBuf,
    env: Env,
    issuer: Box<dyn Issue>,
    record: Record,
    certificate: Option<Certificate>,
    /// When the authority is asked what it suggests.
    ask_at: UnixMillis,
    /// What has to be noted could not be: no attempt before.
    disk_until: Option<UnixMillis>,
    state: watch::Sender<State>,
    commands: mpsc::Receiver<Command>,
    /// The names as the configuration in force has them.
    names: watch::Receiver<Vec<Domain>>,
}

impl Runner {
    /// A runner, and what others see of it. Does not wait for the network; reads what earlier runs have left.
    pub fn new(parts: Parts) -> (Runner, Handle) {
        let Parts { config, directory, env, authorities, socket } = parts;
        let solver = match &config.challenge {
            checked::Challenge::Dns(how) => {
                Solver::Dns(Publisher::new(how.clone(), &directory, authorities, Arc::clone(&env.clock)))
            }
            checked::Challenge::Http(address) => Solver::Http(Responder { socket, address: *address }),
        };
        let issuer =
            Authority { config: config.clone(), directory: directory.clone(), env: env.clone(), solver };
        Runner::with(config, directory, env, Box::new(issuer))
    }

    /// A runner with this issuer.
    pub(super) fn with(
        config: checked::Acme,
        directory: PathBuf,
        env: Env,
        issuer: Box<dyn Issue>,
    ) -> (Runner, Handle) {
        let record = Record::resume(stored(&directory), &config.directory, &config.names);
        let certificate = install::current(&directory);
        let (state, seen) = watch::channel(State::default());
        let (sender, commands) = mpsc::channel(MAX_COMMANDS);
        let (wanted, names) = watch::channel(config.names.clone());
        let files = Arc::new(install::files(&directory));
        let ask_at = env.clock.now();
        let runner = Runner {
            config,
            directory,
            env,
            issuer,
            record,
            certificate,
            ask_at,
            disk_until: None,
            state,
            commands,
            names,
        };
        runner.show(false);
        (runner, Handle { state: seen, commands: sender, names: Arc::new(wanted), files })
    }

    /// Goes on until it is dropped, which may be at any moment, or nobody has a [`Handle`] any more.
    pub async fn run(mut self) {
        if let Some(why) = self.issuer.hindrance() {
            tracing::error!(names = self.names(), "no certificate is asked for: {why}");
        }
        loop {
            self.follow();
            let now = self.env.clock.now();
            let at = self.next_attempt(now);
            self.show(false);
            let is_hindered = self.issuer.hindrance().is_some();
            if at <= now && !is_hindered {
                self.attempt().await;
                continue;
            }
            let wait = if is_hindered { LOOK_EVERY } else { at.since(now).min(LOOK_EVERY) };
            tokio::select! {
                () = sleep(wait) => self.heed_suggestion().await,
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                changed = self.names.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Takes up the names of the configuration in force. What was found out about others does not hold back.
    fn follow(&mut self) {
        let names = self.names.borrow_and_update().clone();
        if names == self.config.names {
            return;
        }
        self.config.names = names;
        self.record = Record::resume(Some(self.record.clone()), &self.config.directory, &self.config.names);
        tracing::info!(names = self.names(), "the names that are to be in the certificate have changed");
    }

    async fn obey(&mut self, Command { answer }: Command) {
        self.follow();
        let now = self.env.clock.now();
        let held = self.record.held(now).or(self.disk_until.filter(|until| *until > now).map(Held::ByDisk));
        if let Some(held) = held {
            let _ = answer.send(Err(held));
            return;
        }
        self.show(true);
        let _ = answer.send(Ok(()));
        self.attempt().await;
    }

    /// One attempt; whatever comes of it is noted, and when the next one may be.
    async fn attempt(&mut self) {
        let now = self.env.clock.now();
        self.record.begin(now, &*self.env.rng);
        if let Err(failure) = self.store().await {
            tracing::error!(error = failure.text, "no certificate is asked for: that cannot be noted");
            self.disk_until = Some(now.plus(FIRST_WAIT));
            return;
        }
        self.disk_until = None;
        self.show(true);
        let names = self.names();
        tracing::info!(names, directory = self.config.directory, "asking the authority for a certificate");
        let outcome = match self.issuer.issue(&self.config.names, self.certificate.as_ref()).await {
            Ok(issued) => self.put(issued).await,
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(certificate) => {
                let until = certificate.not_after.seconds();
                self.record.succeeded(&*self.env.rng);
                self.ask_at = self.env.clock.now();
                tracing::info!(names, until, sha256 = certificate.sha256, "a certificate was issued");
                self.certificate = Some(certificate);
            }
            Err(failure) => self.failed(failure),
        }
        if let Err(failure) = self.store().await {
            tracing::error!(error = failure.text, "what came of a certificate's order cannot be noted");
        }
        // Whoever asked for one meanwhile has had it.
        while let Ok(Command { answer }) = self.commands.try_recv() {
            let _ = answer.send(Ok(()));
        }
    }

    fn failed(&mut self, failure: Failure) {
        let now = self.env.clock.now();
        self.record.failed(failure.text.clone(), failure.told, failure.limited, now);
        let again_in = self.next_attempt(now).since(now).as_secs();
        let left = self.certificate.as_ref().map(|old| old.not_after.since(now).as_secs() / 86_400);
        tracing::error!(
            names = self.names(),
            error = failure.text,
            failures = self.record.failures,
            again_in_seconds = again_in,
            days_left = left,
            "no certificate was issued; the old one stays"
        );
    }

    async fn put(&self, issued: Issued) -> Result<Certificate, Failure> {
        let (directory, names) = (self.directory.clone(), self.config.names.clone());
        let now = self.env.clock.now();
        let put = on_disk(move || install::put(&directory, &issued, &names, now)).await?;
        put.map_err(|error| Failure::own(error.to_string()))
    }

    /// Asks the authority now and then when it would have the certificate renewed (RFC 9773).
    async fn heed_suggestion(&mut self) {
        let now = self.env.clock.now();
        if now < self.ask_at || self.record.failures > 0 {
            return;
        }
        let Some(certificate) = &self.certificate else { return };
        match self.issuer.suggestion(certificate).await {
            Ok(suggestion) => {
                self.ask_at = now.plus(suggestion.for_now);
                if self.record.suggest(suggestion.window)
                    && let Err(failure) = self.store().await
                {
                    tracing::warn!(error = failure.text, "the authority's suggestion cannot be noted");
                }
            }
            Err(failure) => {
                self.ask_at = now.plus(ASK_AGAIN_AFTER);
                tracing::debug!(error = failure.text, "the authority does not say when to renew");
            }
        }
    }

    fn renew_at(&self) -> Option<UnixMillis> {
        let fit = self.certificate.as_ref().filter(|certificate| certificate.covers(&self.config.names));
        fit.map(|certificate| self.record.renew_at(certificate, self.config.renew_before))
    }

    fn next_attempt(&self, now: UnixMillis) -> UnixMillis {
        let at = self.record.next_attempt(self.renew_at(), now);
        self.disk_until.map_or(at, |until| at.max(until))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.config.names.iter().map(|name| name.as_str()).collect();
        names.join(",")
    }

    fn show(&self, under_way: bool) {
        let now = self.env.clock.now();
        let failed = self.record.last_error.clone().filter(|_| !under_way);
        self.state.send_replace(State {
            directory: self.config.directory.clone(),
            names: self.config.names.iter().map(|name| name.as_str().to_owned()).collect(),
            challenge: self.config.challenge.name(),
            certificate: self.certificate.clone(),
            renew_at: self.renew_at(),
            next_attempt: self.next_attempt(now),
            under_way,
            failures: self.record.failures.saturating_sub(u32::from(under_way)),
            last_attempt: self.record.last_attempt,
            last_error: failed,
            limited_until: self.record.limited_until.filter(|until| *until > now),
            hindered: self.issuer.hindrance(),
        });
    }

    fn store(&self) -> impl Future<Output = Result<(), Failure>> + use<> {
        let (record, directory) = (self.record.clone(), self.directory.clone());
        async move {
            let failed = |error: &dyn std::fmt::Display| Failure::own(error.to_string());
            let bytes = serde_json::to_vec(&record).map_err(|error| failed(&error))?;
            let written = on_disk(move || {
                private::create_dir(&directory)?;
                private::write(&directory.join(RECORD_FILE), &bytes)
            });
            written.await?.map_err(|error| failed(&error))
        }
    }
}

/// What an earlier run noted. `None`: nothing that can be read.
fn stored(directory: &Path) -> Option<Record> {
    match private::read(&directory.join(RECORD_FILE)) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(%error, "what was noted of the last certificate's order cannot be read");
                None
            }
        },
        Err(error) if error.is_absent() => None,
        Err(error) => {
            tracing::warn!(%error, "what was noted of the last certificate's order cannot be read");
            None
        }
    }
}
