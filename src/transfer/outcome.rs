//! How an attempt can end.

use std::time::Duration;

use super::plan::Plan;
use crate::discover::Target;
use crate::env::dial::{DialError, Trust};
use crate::error::Fault;
use crate::proto::status::{Contact, Party, Reason};

/// Where an attempt went, and for whom the certificate there vouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// `host:port` of the target.
    pub remote: String,
    /// For whom its certificate vouched (`docs/protocol.md` §6): `domain` for the recipient's domain itself,
    /// `target` for the host that DNS named; `pinned` for the one certificate expected, `unverified` where the operator
    /// wants none checked. `None`: no certificate was accepted.
    pub tls: Option<&'static str>,
}

impl From<&Target> for Via {
    fn from(target: &Target) -> Via {
        let tls = match (&target.trust, target.verified_domain) {
            (Trust::Unverified, _) => "unverified",
            (Trust::Pin(_), _) => "pinned",
            (_, true) => "domain",
            (_, false) => "target",
        };
        Via { remote: target.to_string(), tls: Some(tls) }
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has it.
    Delivered(Via),
    /// The peer says it has seen it, which can only mean an earlier attempt whose answer was lost.
    Inferred(Via),
    /// It is a receipt, and the peer wants none.
    Unwanted(Via),
    /// It has not, or we do not know.
    Failed(Failure),
}

impl Outcome {
    /// What it showed of the destination.
    pub fn contact(&self) -> Contact {
        match self {
            Outcome::Delivered(_) | Outcome::Inferred(_) | Outcome::Unwanted(_) => Contact::Answered,
            Outcome::Failed(failure) => failure.contact,
        }
    }
}

/// What an own finding says of the destination.
fn contact(reason: Reason) -> Contact {
    match reason.whose() {
        Party::Peer => Contact::Failed,
        Party::Us | Party::Sender => Contact::Unknown,
    }
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Yes, on the schedule, not before the peer's own `Retry-After` if it named one.
    Later(Option<Duration>),
    /// Yes, but only for an hour: keys and policies take that long to spread, not longer.
    ForAnHour,
    /// No.
    Never,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Wire code: the peer's, or our own finding's.
    pub code: String,
    /// One sentence, safe to show to the sender.
    pub text: String,
    /// Everything else we know, for the log.
    pub detail: Option<String>,
    /// Where it went. `None`: no target was chosen yet.
    pub via: Option<Box<Via>>,
    /// Whether to try again.
    pub again: Again,
    /// What it showed of the destination.
    pub contact: Contact,
    /// Whether the request was written and no answer came: the peer may have the message.
    pub unanswered: bool,
    /// What was written, where no answer came to it.
    pub written: Option<Box<Plan>>,
    /// Whether the peer found the stamp too old, so that the next attempt should carry a new one.
    pub stale: bool,
    /// Whether a reference peer remembers the nonce although it does not have the message, so that the next
    /// attempt should carry another one.
    pub rename: bool,
}

impl Failure {
    /// An own finding that is worth another try.
    pub fn temporary(reason: Reason, text: impl Into<String>) -> Failure {
        Failure {
            code: reason.code().into(),
            text: text.into(),
            detail: None,
            via: None,
            again: Again::Later(None),
            contact: contact(reason),
            unanswered: false,
            written: None,
            stale: false,
            rename: false,
        }
    }

    /// An own finding that no other try will change.
    pub fn permanent(code: &str, text: impl Into<String>) -> Failure {
        let text = text.into();
        Failure { code: code.into(), again: Again::Never, ..Failure::temporary(Reason::NoAnswer, text) }
    }

    /// Adds what only the log should see.
    #[must_use]
    pub fn because(self, detail: impl ToString) -> Failure {
        Failure { detail: Some(detail.to_string()), ..self }
    }

    /// Says at which target it happened, over a connection that was accepted.
    #[must_use]
    pub fn at(self, target: &Target) -> Failure {
        Failure { via: Some(Box::new(target.into())), ..self }
    }

    /// Says at which target it happened, to which there is no connection.
    #[must_use]
    pub fn before(self, target: &Target) -> Failure {
        Failure { via: Some(Box::new(Via { tls: None, ..target.into() })), ..self }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Failure {
        let again = if fault.reason.is_temporary() { Again::Later(fault.retry_after) } else { Again::Never };
        Failure {
            again,
            code: fault.reason.code().into(),
            detail: fault.private,
            ..Failure::temporary(fault.reason, fault.public)
        }
    }
}

/// What the operator can do, if that server is the right one.
const CERTIFICATE_REMEDY: &str = "an authority of one's own is named with --ca or tls.extra_roots, and what is \
                                  demanded of one destination in its section of [tls.destination]";

impl From<DialError> for Failure {
    fn from(error: DialError) -> Failure {
        let (reason, text) = match &error {
            DialError::Connect(_) => {
                (Reason::NoAnswer, "The recipient's server cannot be reached.".to_owned())
            }
            DialError::TimedOut(_) => {
                (Reason::NoAnswer, "The recipient's server does not answer.".to_owned())
            }
            DialError::Tls(_) => {
                (Reason::TlsTrouble, "The recipient's server offers no TLS connection we can use.".to_owned())
            }
            DialError::Certificate(why) => {
                (Reason::TlsTrouble, format!("The recipient's server does not prove who it is: {why}."))
            }
        };
        let failure = Failure::temporary(reason, text);
        match error {
            // The sentence says already what was wrong with it.
            DialError::Certificate(_) => failure.because(CERTIFICATE_REMEDY),
            _ => failure.because(error),
        }
    }
}
