//! What every call may use.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::http::{HeaderMap, HeaderValue, header};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ready::Readiness;
use super::reload::Reloads;
use super::sample::Sample;
use super::tls::Certificates;
use crate::acme;
use crate::agents::{Accounts, Authenticated, Credential, Need, credential, tokens};
use crate::config::effective;
use crate::config::state_files::StateFiles;
use crate::counters::{Counters, Gauges, Limited};
use crate::env::clock::micros_since;
use crate::env::machine::Machine;
use crate::error::Fault;
use crate::mailbox::seats::Seats;
use crate::mailbox::webhook::Webhooks;
use crate::pipeline::Pipeline;
use crate::pipeline::settings::Settings;
use crate::proto::address::Domain;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::rates::origin::Origin;
use crate::secret::Secret;

/// All state shared by the calls. It lives as long as the daemon.
pub struct App {
    /// The way of a message.
    pub pipeline: Arc<Pipeline>,
    /// The agents of this daemon.
    pub accounts: Accounts,
    /// Where their messages are pushed to.
    pub webhooks: Webhooks,
    /// What has happened.
    pub counters: Arc<Counters>,
    /// What others know, for whoever watches.
    pub gauges: Arc<Gauges>,
    /// The machine's figures.
    pub machine: Arc<dyn Machine>,
    /// How things stood when somebody last looked.
    pub sampled: ArcSwapOption<Sample>,
    /// When the daemon started.
    pub started: Instant,
    /// The same by the wall clock.
    pub started_at: UnixMillis,
    /// Whether messages are taken in.
    pub readiness: Readiness,
    /// Who waits for messages.
    pub seats: Seats,
    /// What the public listener shows. `None`: TLS is not its business.
    pub certificates: Option<Arc<Certificates>>,
    /// Who asks an authority for them. Empty: nobody does.
    pub acme: OnceLock<acme::Handle>,
    /// What is kept beside the store, for backups. Set once at the start.
    pub state_files: OnceLock<StateFiles>,
    /// The configuration as it was read, but for what takes a restart.
    pub in_force: ArcSwap<effective::Settings>,
    /// The way to whoever reads the configuration again, once that is there.
    pub reloads: OnceLock<Reloads>,
}

/// Both ends of the connection a request came by. `None` in its place: the control socket.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    /// The caller.
    pub peer: SocketAddr,
    /// Where it arrived.
    pub local: SocketAddr,
}

impl Ends {
    /// Where a request counts that came by these.
    pub fn origin(ends: Option<&Ends>) -> Origin {
        ends.map_or(Origin::Here, |ends| Origin::of(ends.peer.ip()))
    }
}

/// What a token of the operator's is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorToken {
    /// Everything that tokens are good for.
    Everything,
    /// To look.
    Looking,
}

/// Goes with requests that came over a connection which can be closed at once, whatever else goes over it.
#[derive(Debug, Clone, Default)]
pub struct Cut(Arc<Notify>);

impl Cut {
    /// Has the connection closed.
    pub fn now(&self) {
        self.0.notify_one();
    }

    /// Returns once it is to be closed.
    pub async fn wanted(&self) {
        self.0.notified().await;
    }
}

/// Goes with requests whose caller has proved to be the operator, or one of them: on the control socket by the kernel's
/// word, on the admin listener by a token.
#[derive(Debug, Clone)]
pub enum Operator {
    /// A user of this machine.
    User {
        /// The user's id.
        uid: u32,
        /// The user's name. `None`: the machine knows none.
        name: Option<Arc<str>>,
    },
    /// Whoever has a token.
    Token {
        /// Where the call came from.
        peer: IpAddr,
        /// Whether the token is good for looking only.
        is_read_only: bool,
    },
}

/// As rows' stories say it: `uid 0, root`, or `token, from 192.0.2.1`.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operator::User { uid, name: Some(name) } => write!(f, "uid {uid}, {name}"),
            Operator::User { uid, name: None } => write!(f, "uid {uid}"),
            Operator::Token { peer, .. } => write!(f, "token, from {peer}"),
        }
    }
}

/// Which domain a request means.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by App::domain")]
pub struct DomainMeant {
    /// The domain meant. Without it: the one in Host, or the server's first.
    domain: Option<String>,
}

/// Query parameters.
pub type Parameters = HashMap<String, String>;

impl App {
    /// The domain a request means: `?domain=` or Host if it is one of ours, else the first
    /// (`docs/protocol.md` §7).
    pub fn domain(&self, headers: &HeaderMap, parameters: &Parameters) -> Domain {
        let settings = self.settings();
        let named = App::domain_named(&settings, headers, parameters);
        named.unwrap_or_else(|| settings.config.first_domain().clone())
    }

    /// What the operator has decided, as of now. A call takes this once and stays with it.
    pub fn settings(&self) -> Arc<Settings> {
        self.pipeline.settings.now()
    }

    /// The domain a request names, if it is one of ours.
    pub fn domain_named(settings: &Settings, headers: &HeaderMap, parameters: &Parameters) -> Option<Domain> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.map(|host| host.rsplit_once(':').map_or(host, |(name, _)| name));
        let named = parameters.get("domain").map(String::as_str).into_iter().chain(host);
        named.filter_map(|name| Domain::parse(name).ok()).find(|name| settings.is_ours(name))
    }

    /// Which agent of ours a request from `origin` comes from, if its credential allows what is needed.
    ///
    /// # Errors
    /// [`Reason::BadCredential`] without a valid credential, [`Reason::Forbidden`] if it is a token that is not good
    /// for this, [`Reason::RateLimited`] after too many wrong ones.
    pub async fn agent(
        &self,
        headers: &HeaderMap,
        origin: Origin,
        short_names_in: &Domain,
        need: Need,
    ) -> Result<Authenticated, Fault> {
        let started = Instant::now();
        let settings = self.settings();
        let result = match only_credential(headers) {
            Err(fault) => Err(fault),
            Ok(None) => Err(Fault::new(Reason::BadCredential, "This call needs an agent's credential.")),
            Ok(Some(value)) => match Credential::parse(value.as_bytes(), short_names_in) {
                Ok(credential) => self.accounts.authenticate(&credential, origin).await,
                Err(fault) => Err(fault),
            }
            // The accounts of a domain that is not served any more are kept, for it may come back. Nobody learns that
            // he has guessed one of their passwords.
            .and_then(|known| match settings.is_ours(known.agent.domain()) {
                true => Ok(known),
                false => Err(credential::wrong()),
            }),
        };
        match &result {
            Ok(Authenticated { agent, token, .. }) => {
                let token = token.as_ref().map(|token| token.name.as_str());
                tracing::debug!(%agent, token, micros = micros_since(started), "authenticated");
                self.counters.credentials_accepted.add();
            }
            Err(fault) => {
                self.counters.credentials_refused.add();
                if fault.reason == Reason::RateLimited {
                    self.pipeline.rates.held_up(Limited::Credentials, &origin);
                }
            }
        }
        let authenticated = result?;
        authenticated.may(need)?;
        Ok(authenticated)
    }

    /// Which of the operator's tokens a request from `origin` carries. `None`: none of them.
    ///
    /// # Errors
    /// [`Reason::RateLimited`] after too many wrong ones: then nobody learns whether this one is right.
    pub fn operator_token(
        &self,
        headers: &HeaderMap,
        origin: Origin,
    ) -> Result<Option<OperatorToken>, Fault> {
        let settings = self.settings();
        let shown = self.shown_token(headers).filter(|shown| !shown.expose().starts_with(tokens::PREFIX));
        let Some(shown) = shown else { return Ok(None) };
        let is_own = shown.matches(&settings.admin_token);
        let is_read = settings.config.admin.read_token.as_ref().is_some_and(|token| shown.matches(token));
        let is_right = self.accounts.operator(origin, is_own || is_read);
        let is_right =
            is_right.inspect_err(|_| self.pipeline.rates.held_up(Limited::Credentials, &origin))?;
        let token = if is_own { OperatorToken::Everything } else { OperatorToken::Looking };
        Ok(is_right.then_some(token))
    }

    fn shown_token(&self, headers: &HeaderMap) -> Option<Secret> {
        let value = only_credential(headers).ok()??.as_bytes();
        match Credential::parse(value, self.settings().config.first_domain()) {
            Ok(Credential::Token { token, agent: None }) => Some(token),
            _ => None,
        }
    }

    /// Lets only the operator through, to look at something.
    ///
    /// # Errors
    /// [`Reason::BadCredential`] for everybody else; [`Reason::NoSuchPath`] for everybody on the public port if
    /// the operator is not served there; as [`App::operator_token`].
    pub fn operator(
        &self,
        operator: Option<Operator>,
        headers: &HeaderMap,
        ends: Option<Ends>,
    ) -> Result<(), Fault> {
        if operator.is_some() {
            Ok(())
        } else if !self.settings().config.admin.remote {
            Err(Fault::new(Reason::NoSuchPath, "There is no such path here."))
        } else if self.operator_token(headers, Ends::origin(ends.as_ref()))?.is_some() {
            Ok(())
        } else {
            self.counters.operator_refused.add();
            Err(Fault::new(Reason::BadCredential, "This call needs the operator's token."))
        }
    }
}

/// The credential of a request. Of two, somebody on the way may have looked at the other one (RFC 9110 §5.3).
fn only_credential(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Fault> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Fault::new(Reason::BadCredential, "A request has one Authorization header.")),
    }
}
