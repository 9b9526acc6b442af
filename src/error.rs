//! What went wrong, in one type that every stage's error converts into.
//!
//! A [`Fault`] knows its [`Reason`] (which fixes the wire code, whose fault it is and whether trying
//! again can help), one sentence for the peer without internals, and one for our log with everything.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::proto::status::{Party, Reason};

/// A refusal or failure on its way to a peer, an agent, a bounce or a log line.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The named reason; code, HTTP status, party and retry follow from it.
    pub reason: Reason,
    /// One sentence for whoever asked. Never holds paths, addresses of ours or a library's error text.
    pub public: Cow<'static, str>,
    /// Everything we know, for the log. `None`: the public sentence says it all.
    pub private: Option<String>,
    /// When the asker may come back. `None`: the reason's own default, if it has one.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault with its public sentence.
    pub fn new(reason: Reason, public: impl Into<Cow<'static, str>>) -> Fault {
        Fault { reason, public: public.into(), private: None, retry_after: None }
    }

    /// A fault of ours: the public sentence says only that, the log gets the detail.
    pub fn internal(detail: impl fmt::Display) -> Fault {
        Fault::new(Reason::Internal, "The server failed to handle this; please try again.").because(detail)
    }

    /// Adds what only our log should see.
    #[must_use]
    pub fn because(mut self, detail: impl fmt::Display) -> Fault {
        self.private = Some(detail.to_string());
        self
    }

    /// Says when to come back.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Fault {
        self.retry_after = Some(wait);
        self
    }

    /// Whose fault it is.
    pub fn whose(&self) -> Party {
        self.reason.whose()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.reason.code(), self.public)?;
        match &self.private {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
