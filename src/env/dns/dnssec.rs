//! Whether the signatures of a zone are right, as a validating resolver sees them.

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::RecordType;

use super::DnsTrouble;
use super::direct::Question;
use super::hickory::queryable;
use super::zone_servers::ZoneServers;
use crate::env::BoxFuture;

/// What is known of a name's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dnssec {
    /// There are none.
    Unsigned,
    /// The resolver has checked them, up to the root or to whatever it trusts.
    Secure,
    /// There are some, and the resolver does not check any.
    Unvalidated,
    /// They are wrong: the resolver gives the answer only to who wants it unchecked (RFC 4035 §3.2.2).
    Bogus,
}

/// Asks about signatures.
pub trait Validation: Send + Sync {
    /// How the answer to a question for the TXT records of `name` is signed.
    ///
    /// # Errors
    /// [`DnsTrouble`] if the resolvers do not say.
    fn dnssec<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Dnssec, DnsTrouble>>;
}

impl ZoneServers {
    async fn signatures(&self, name: &str) -> Result<Dnssec, DnsTrouble> {
        let name = queryable(name).ok_or(DnsTrouble::Unusable)?;
        let ask = |unchecked| Question {
            name: name.clone(),
            kind: RecordType::TXT,
            recursion: true,
            unchecked,
            signed: true,
        };
        let mut trouble = DnsTrouble::Unusable;
        for resolver in &self.resolvers {
            let checked = match self.asker.ask(*resolver, &ask(false)).await {
                Ok(checked) => checked,
                Err(why) => {
                    trouble = why.into();
                    continue;
                }
            };
            match checked.metadata.response_code {
                _ if answers(&checked) => return Ok(state(&checked)),
                ResponseCode::ServFail => {
                    let unchecked = self.asker.ask(*resolver, &ask(true)).await?;
                    if !answers(&unchecked) {
                        return Err(DnsTrouble::ServFail);
                    }
                    // What was a moment's trouble is over by now.
                    let again = self.asker.ask(*resolver, &ask(false)).await?;
                    return match again.metadata.response_code {
                        ResponseCode::ServFail => Ok(Dnssec::Bogus),
                        _ if answers(&again) => Ok(state(&again)),
                        _ => Err(DnsTrouble::ServFail),
                    };
                }
                ResponseCode::Refused => trouble = DnsTrouble::Refused,
                _ => trouble = DnsTrouble::Unusable,
            }
        }
        Err(trouble)
    }
}

impl Validation for ZoneServers {
    fn dnssec<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Dnssec, DnsTrouble>> {
        Box::pin(self.signatures(name))
    }
}

fn answers(said: &Message) -> bool {
    matches!(said.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

fn state(said: &Message) -> Dnssec {
    let mut records = said.answers.iter().chain(&said.authorities);
    if said.metadata.authentic_data {
        Dnssec::Secure
    } else if records.any(|record| record.record_type() == RecordType::RRSIG) {
        Dnssec::Unvalidated
    } else {
        Dnssec::Unsigned
    }
}
