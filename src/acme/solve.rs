//! Showing an authority that names are ours, in the way that is configured.

use super::issue::Failure;
use super::publish::Publisher;
use super::respond::{Listening, Responder};

/// What shows that one name is ours.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    /// The host name.
    pub name: String,
    /// Part of the path that is asked for over HTTP.
    pub token: String,
    /// Text of the TXT record.
    pub dns_value: String,
    /// Answer over HTTP.
    pub answer: String,
}

/// One way.
pub(super) enum Solver {
    /// `dns-01`
    Dns(Publisher),
    /// `http-01`
    Http(Responder),
}

/// What is shown; answers over HTTP end with this value, records stay until [`Solver::clean`].
#[must_use]
pub(super) struct Shown(#[allow(dead_code, reason = "listens for as long as it is there")] Option<Listening>);

impl Solver {
    /// Why no order can come to anything before the server is started anew. `None`: nothing is known to be in the way.
    pub fn hindrance(&self) -> Option<&'static str> {
        match self {
            Solver::Dns(_) => None,
            Solver::Http(responder) => responder.hindrance(),
        }
    }

    /// Shows the proofs; when this returns, the authority may look.
    pub async fn show(&self, proofs: &[Proof]) -> Result<Shown, Failure> {
        match self {
            _ if proofs.is_empty() => Ok(Shown(None)),
            Solver::Dns(publisher) => publisher.publish(proofs).await.map(|()| Shown(None)),
            Solver::Http(responder) => responder.listen(proofs).map(|listening| Shown(Some(listening))),
        }
    }

    /// Takes back what has been published. What cannot be taken back is logged and tried again before the next order.
    pub async fn clean(&self, proofs: &[Proof]) {
        match self {
            Solver::Dns(publisher) => publisher.clean(proofs).await,
            Solver::Http(_) => {}
        }
    }
}
