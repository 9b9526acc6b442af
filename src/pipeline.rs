//! The way of a message, from end to end. The only file that knows the order of the stages.
//!
//! - [`Pipeline::submit`]: an own agent hands a message over → spool (or straight into mailboxes here)
//! - [`Pipeline::outbound`]: spool → discover → sign → transfer → spool
//! - [`Pipeline::inbound`]: a peer's transfer → verify → deliver (and back goes a receipt, if one was asked for)

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use crate::counters::Counters;
use crate::deliver::{self, Delivered};
use crate::discover::Target;
use crate::env::Env;
use crate::env::clock::micros_since;
use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::message::Message;
use crate::proto::routing;
use crate::proto::status::{Contact, Reason};
use crate::proto::time::UnixMillis;
use crate::rates::messages::Messages;
use crate::rates::origin::Origin;
use crate::sign::{CanonicalForm, Signed, Signer};
use crate::spool::contract::{Settlement, Store};
use crate::spool::due::{Attempted, Handover};
use crate::spool::entry::{Row, Unanswered};
use crate::submit::admit::{Admission, Admitted};
use crate::submit::request::Submission;
use crate::transfer::client::Client;
use crate::transfer::plan::{self, Earlier, Plan, Situation};
use crate::transfer::reply::Meaning;
use crate::transfer::{Again, Failure, Outcome};
use crate::verify::{Received, Verified};

pub mod families;
mod limits;
pub mod operator;
mod overdue;
mod own;
mod receipt;
mod reference;
pub mod settings;
mod settle;

pub use settle::given_up;

use families::Families;
use settings::{Live, Settings};

/// A domain's signer; it changes when another key becomes the active one.
pub type SharedSigner = watch::Receiver<Arc<Signer>>;

/// What a message on its way needs.
pub struct Pipeline {
    /// Clock, names, dice.
    pub env: Env,
    /// Where everything accepted is.
    pub store: Arc<dyn Store>,
    /// What the operator may change: our domains, their keys and limits, stages 3, 4 and 6.
    pub settings: Live,
    /// Stage 5.
    pub client: Client,
    /// Which address families our own policies allow.
    pub families: Families,
    /// What has happened.
    pub counters: Arc<Counters>,
    /// How much is let through.
    pub rates: Messages,
    /// The way to the queue runner, once it runs.
    pub handover: OnceLock<Handover>,
}

/// What is told to whoever handed a message over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk.
    Now,
    /// It was accepted before; nothing has changed.
    Before,
}

impl Pipeline {
    /// Takes in a message of an own agent, whose credential has proved it to be `author`.
    /// On return it is on disk. Dropping the future does not take it back. `settings`: those under which the request
    /// is answered.
    ///
    /// # Errors
    /// [`Fault`] as `docs/protocol.md` §7 and §9 say; then nothing was stored.
    pub async fn submit(
        self: &Arc<Self>,
        settings: Arc<Settings>,
        message: Message,
        author: &Address,
    ) -> Result<Accepted, Fault> {
        if message.from() != author {
            return Err(Fault::new(
                Reason::Forbidden,
                "The credential belongs to another agent than the sender.",
            ));
        }
        let limits = settings.submission_limits(author.domain());
        let submission = Submission::new(message, &limits, self.env.clock.now())?;
        let pipeline = Arc::clone(self);
        // A task of its own: the author may hang up while the disk works, and what is accepted then must
        // still be handed to the queue.
        let accepting = async move { pipeline.accept(&settings, &submission).await };
        tokio::spawn(accepting.in_current_span()).await.map_err(Fault::internal)?
    }

    async fn accept(&self, settings: &Settings, submission: &Submission) -> Result<Accepted, Fault> {
        let message = submission.message();
        let caps = limits::submission(&self.rates, settings, message)?;
        let refused =
            |recipient: &Address, reason, text: &str| self.bounce_at_once(message, recipient, reason, text);
        let max_bytes = |domain: &Domain| Some(settings.of(domain)?.max_message_bytes);
        let admission = Admission {
            store: &self.store,
            env: &self.env,
            max_bytes: &max_bytes,
            max_message_age: settings.max_message_age(),
            first_wait: settings.schedule.wait_after(1),
            max_waiting: settings.max_waiting(message.from().domain()),
            caps,
        };
        let (nonce, from, to) = (message.nonce(), message.from(), message.to());
        tracing::debug!(%nonce, %from, %to, kind = message.kind(), "submitted");
        let started = Instant::now();
        let admitted = admission.admit(submission, &refused).await?;
        self.counters.submission.took(started.elapsed());
        match admitted {
            Admitted::Over(over) => Err(limits::over(&self.rates, from, over, self.env.clock.now())),
            Admitted::Before => {
                self.counters.repeated.add();
                Ok(Accepted::Before)
            }
            Admitted::Now { rows, delivered } => {
                self.counters.submitted(delivered, !rows.is_empty());
                let (queued, micros) = (rows.len(), micros_since(started));
                tracing::info!(%nonce, %from, %to, queued, micros, "accepted");
                if let Some(handover) = self.handover.get() {
                    handover.rows(rows);
                }
                Ok(Accepted::Now)
            }
        }
    }

    /// Takes in a transfer from a peer. On return it is in the recipient's mailbox, on disk. Dropping the future ends
    /// the checks; what has passed them is taken in all the same. `settings`: those under which the request is answered.
    ///
    /// # Errors
    /// [`Fault`] as `docs/protocol.md` §7 and §9 say; then nothing was stored.
    pub async fn inbound(
        self: &Arc<Self>,
        settings: Arc<Settings>,
        received: Received,
    ) -> Result<Accepted, Fault> {
        limits::arrival(&self.rates, &settings, &received)?;
        let started = Instant::now();
        let verified = settings.verifier.verify(received).await;
        self.counters.verify.took(started.elapsed());
        self.counters.verified(verified.as_ref().map_err(|fault| fault.reason));
        let verified = verified?;
        self.rates.transfer(verified.message().from().domain(), &settings.config.rates)?;
        let pipeline = Arc::clone(self);
        // A task of its own: the peer may hang up while the disk works, and the receipt that is stored then must still
        // be handed to the queue.
        let taking = async move { pipeline.take_in(&settings, &verified, started).await };
        tokio::spawn(taking.in_current_span()).await.map_err(Fault::internal)?
    }

    async fn take_in(
        &self,
        settings: &Settings,
        verified: &Verified,
        started: Instant,
    ) -> Result<Accepted, Fault> {
        let from = verified.message().from();
        if let Some(handover) = self.handover.get() {
            handover.contact(from.domain());
        }
        if let Some(news) = deliver::receipt::hear(&self.store, verified).await? {
            self.counters.receipts_heard.add_many(u64::from(news));
            return Ok(if news { Accepted::Now } else { Accepted::Before });
        }
        let age = settings.max_message_age();
        let caps = limits::transfer_caps(&self.rates, settings, &verified.restored().recipient);
        let wait = settings.schedule.wait_after(1);
        let delivered = deliver::deliver(&self.store, verified, age, wait, caps).await;
        if matches!(&delivered, Err(fault) if fault.reason == Reason::UnknownAgent) {
            let origin = Origin::of(verified.source());
            self.rates.unknown_recipient(from.domain(), origin, &settings.config.rates);
        }
        let delivered = delivered?;
        self.counters.transfer.took(started.elapsed());
        match delivered {
            Delivered::Now { receipt } => {
                self.counters.taken_over();
                self.hand_over(receipt);
                Ok(Accepted::Now)
            }
            Delivered::Over(over) => Err(limits::over(&self.rates, from, over, self.env.clock.now())),
            Delivered::Before => {
                self.counters.repeated.add();
                Ok(Accepted::Before)
            }
        }
    }

    /// Carries one leased row through its attempt, and writes down what came of it.
    pub async fn outbound(&self, row: Row) -> Attempted {
        self.counters.attempts_begun.add();
        let settings = self.settings.now();
        if settings.is_ours(row.recipient.domain()) {
            let attempted = self.attempt_own(&settings, &row).await;
            self.counters.attempts_ended.add();
            return attempted;
        }
        let started = Instant::now();
        let (outcome, message) = match self.read(&row).await {
            Ok(message) => (self.attempt(&settings, &row, &message).await, Some(message)),
            Err(failure) => (Outcome::Failed(failure), None),
        };
        let contact = outcome.contact();
        self.counters.attempt.took(started.elapsed());
        let settlement = self.settlement(&settings, &row, message.as_ref(), outcome, micros_since(started));
        let attempted = self.settle(&row, contact, settlement).await;
        self.counters.attempts_ended.add();
        attempted
    }

    /// Writes down what came of an attempt.
    async fn settle(&self, row: &Row, contact: Contact, settlement: Settlement) -> Attempted {
        let (due, trouble) = (settlement.due(), settlement.trouble());
        let settled = self.store.settle(row.id, self.env.clock.now(), settlement).await;
        // If the end could not be stored, the peer knows the message by its identity when it comes again.
        match settled {
            Ok(()) => Attempted { due, contact, trouble, settled: true },
            Err(error) => {
                tracing::error!(nonce = %row.nonce, %error, "queue: the end of an attempt could not be stored");
                Attempted { due: row.state.due(), contact, trouble, settled: false }
            }
        }
    }

    async fn read(&self, row: &Row) -> Result<Message, Failure> {
        let bytes = self.store.body(row.body.clone()).await.map_err(Fault::from)?;
        Ok(Message::parse(&bytes).map_err(Fault::internal)?)
    }

    /// One attempt: discover, then per target (while nothing of the message has been written) ask what it
    /// speaks, plan, sign, transfer.
    async fn attempt(&self, settings: &Settings, row: &Row, message: &Message) -> Outcome {
        // Before anybody is asked or dialled: without a key nothing can be sent.
        let signer = match signer(settings, row) {
            Ok(signer) => signer,
            Err(failure) => return Outcome::Failed(failure),
        };
        if let Err(fault) = signer.ready(self.env.clock.now()) {
            return Outcome::Failed(fault.into());
        }
        let targets = match self.targets(settings, row).await {
            Ok(targets) => targets,
            Err(failure) => return Outcome::Failed(failure),
        };
        let mut last =
            Failure::temporary(Reason::NoAnswer, "The recipient's server has no address we can use.");
        for target in &targets {
            match self.attempt_at(settings, target, row, message).await {
                Ok(outcome) => return outcome,
                Err(failure) => {
                    let over = failure.unanswered || failure.again == Again::Never;
                    last = failure;
                    if over {
                        break;
                    }
                }
            }
        }
        Outcome::Failed(last)
    }

    /// The targets to try, best first. After an attempt that went unanswered only its own target will do, while
    /// DNS lists it: another one might not know the message.
    async fn targets(&self, settings: &Settings, row: &Row) -> Result<Vec<Target>, Failure> {
        let avoid = self.families.to_avoid(row.sender.domain());
        let route = settings.discovery.route(row.recipient.domain(), avoid).await?;
        let mut targets = route.targets;
        let unanswered_at = row.unanswered.as_ref().and_then(|unanswered| unanswered.target.as_deref());
        let is_that = |target: &Target| Some(target.to_string().as_str()) == unanswered_at;
        if targets.iter().any(is_that) {
            targets.retain(is_that);
        }
        Ok(targets)
    }

    /// `Err`: nothing of the message was accepted here, and unless the failure says otherwise another target
    /// may be tried.
    async fn attempt_at(
        &self,
        settings: &Settings,
        target: &Target,
        row: &Row,
        message: &Message,
    ) -> Result<Outcome, Failure> {
        let profile = self.client.profile(target).await?;
        if receipt::is_one(row) && !profile.receipt {
            return Ok(Outcome::Unwanted(target.into()));
        }
        let at = |failure: Failure| failure.at(target);
        let further_copy = !profile.rcpt && self.is_further_copy(settings, row, message, target).await;
        let situation = situation(row, message, further_copy);
        let plan = plan::plan(&situation, &profile, self.env.clock.now().seconds()).map_err(at)?;
        let signed = self.sign(settings, row, message, &plan).map_err(at)?;
        let too_large = profile.max_payload_bytes.is_some_and(|max| signed.bytes().len() as u64 > max);
        if too_large {
            let text = "The message is larger than the recipient's server takes.";
            return Err(at(Failure::permanent(Reason::TooLarge.code(), text)));
        }
        if !profile.rcpt && row.written_unanswered().is_none() {
            // That peer may forget: whether an attempt reached it must be known even if we crash now.
            let note = unanswered(target.to_string(), &plan);
            self.store.note_unanswered(row.id, note).await.map_err(|error| at(Fault::from(error).into()))?;
        }
        match self.client.transfer(target, &signed).await {
            Ok(Meaning::Delivered) => Ok(Outcome::Delivered(target.into())),
            Ok(Meaning::Replay { clocks_agree }) => Ok(reference::replay(row, clocks_agree, target)),
            Ok(Meaning::Stumbled { failure, clocks_agree }) if profile.reference => {
                Ok(Outcome::Failed(reference::stumbled(row, failure, clocks_agree, plan.at)))
            }
            Ok(Meaning::Failed(failure) | Meaning::Stumbled { failure, .. }) => Ok(Outcome::Failed(failure)),
            Err(failure) if failure.unanswered => {
                Ok(Outcome::Failed(Failure { written: Some(Box::new(plan)), ..failure }))
            }
            Err(failure) => Err(failure),
        }
    }

    fn sign(
        &self,
        settings: &Settings,
        row: &Row,
        message: &Message,
        plan: &Plan,
    ) -> Result<Signed, Failure> {
        let form = if plan.shape.reference { CanonicalForm::Reference } else { CanonicalForm::Rfc8785 };
        let unsigned = routing::write(message, &row.recipient, plan.shape, plan.stamp);
        let signer = signer(settings, row)?;
        let started = Instant::now();
        let signed = signer.sign(unsigned, form, self.env.clock.now())?;
        let (bytes, micros) = (signed.bytes().len(), micros_since(started));
        self.counters.sign.took_micros(micros);
        tracing::debug!(nonce = %row.nonce, key = %signed.key_id(), form = form.as_str(), bytes, micros, "signed");
        Ok(signed)
    }
}

/// The signer of a row's sender, as it is now.
fn signer(settings: &Settings, row: &Row) -> Result<Arc<Signer>, Failure> {
    let signer = settings.signers.get(row.sender.domain()).ok_or_else(|| not_served(row))?;
    Ok(Arc::clone(&signer.borrow()))
}

/// The sender's domain has been taken out of the configuration: its mail waits until it is back, or is given up.
fn not_served(row: &Row) -> Failure {
    let text = format!("This server does not serve {} at present.", row.sender.domain());
    Failure { contact: Contact::Unknown, ..Failure::temporary(Reason::NoAnswer, text) }
}

fn situation<'a>(row: &'a Row, message: &'a Message, further_copy: bool) -> Situation<'a> {
    let earlier = |unanswered: &Unanswered| Earlier {
        written: unanswered.target.is_some(),
        native: unanswered.native,
        nonce: unanswered.nonce,
        at: unanswered.at.seconds(),
    };
    Situation {
        to: message.to(),
        recipient: &row.recipient,
        stamped_at: message.timestamp(),
        restamp: row.restamp,
        renamed: row.renamed,
        further_copy,
        unanswered: row.unanswered.as_ref().map(earlier),
    }
}

/// What is kept of an attempt as planned, in case nobody answers.
fn unanswered(target: String, plan: &Plan) -> Unanswered {
    Unanswered {
        target: Some(target),
        native: plan.native,
        nonce: plan.shape.nonce,
        at: UnixMillis::from_seconds(plan.at),
    }
}

#[cfg(test)]
mod tests;
