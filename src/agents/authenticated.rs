//! Who has proved to be an agent, and what that allows (`docs/protocol.md` §7, "Credentials").

use crate::error::Fault;
use crate::proto::address::Address;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::spool::contract::tokens::{Holder, Proof};
use crate::spool::entry::tokens::{Scope, TokenRecord};

/// What a call demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Any credential of the agent.
    Any,
    /// To send, or to ask what became of what was sent.
    Send,
    /// To read the mailbox or work on it.
    Receive,
    /// To decide who may do so: tokens, password, and where messages are pushed to. No token allows it: whoever
    /// finds one must not be able to stay after it has been revoked.
    Owner,
}

/// An agent that has shown a credential.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// Who.
    pub agent: Address,
    /// Its mailbox.
    pub mailbox: u64,
    /// When the account was made. What is older belongs to somebody who had the name before.
    pub registered_at: UnixMillis,
    /// By which token. `None`: by the password.
    pub token: Option<TokenShown>,
    proof: Proof,
}

/// The token by which somebody is an agent.
#[derive(Debug, Clone)]
pub struct TokenShown {
    /// What the agent calls it.
    pub name: String,
    /// What it is good for.
    pub scope: Scope,
    /// From when on it is worth nothing. `None`: it does not end by itself.
    pub expires_at: Option<UnixMillis>,
}

impl Authenticated {
    pub(super) fn by_password(agent: Address, mailbox: u64, registered_at: UnixMillis, hash: &str) -> Self {
        Authenticated { agent, mailbox, registered_at, token: None, proof: Proof::Password(hash.into()) }
    }

    pub(super) fn by_token(record: TokenRecord, registered_at: UnixMillis, proof: Proof) -> Self {
        let TokenRecord { agent, mailbox, name, scope, expires_at, .. } = record;
        let token = Some(TokenShown { name, scope, expires_at });
        Authenticated { agent, mailbox, registered_at, token, proof }
    }

    /// Lets through what the credential is good for.
    ///
    /// # Errors
    /// [`Reason::Forbidden`] for a token of another scope, and for any token where [`Need::Owner`] is needed.
    pub fn may(&self, need: Need) -> Result<(), Fault> {
        let Some(token) = &self.token else { return Ok(()) };
        let sentence = match (need, token.scope) {
            (Need::Any, _)
            | (Need::Send, Scope::Send | Scope::Both)
            | (Need::Receive, Scope::Receive | Scope::Both) => return Ok(()),
            (Need::Send, Scope::Receive) => "This token is for receiving only.",
            (Need::Receive, Scope::Send) => "This token is for sending only.",
            (Need::Owner, _) => "This needs the agent's password; a token is not enough.",
        };
        Err(Fault::new(Reason::Forbidden, sentence))
    }

    /// What the store is asked with whether all this is still so.
    pub(super) fn holder(&self) -> Holder {
        Holder { agent: self.agent.clone(), mailbox: self.mailbox, proof: self.proof.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_credential_allows() {
        let agent = Address::parse("bot@a.test").unwrap();
        let owner = Authenticated::by_password(agent.clone(), 1, UnixMillis(0), "hash");
        let with = |scope| Authenticated {
            token: Some(TokenShown { name: "t".into(), scope, expires_at: None }),
            ..owner.clone()
        };
        let allowed = |shown: &Authenticated| {
            [Need::Any, Need::Send, Need::Receive, Need::Owner].map(|need| shown.may(need).is_ok())
        };
        assert_eq!(allowed(&owner), [true; 4]);
        assert_eq!(allowed(&with(Scope::Send)), [true, true, false, false]);
        assert_eq!(allowed(&with(Scope::Receive)), [true, false, true, false]);
        assert_eq!(allowed(&with(Scope::Both)), [true, true, true, false]);
        let refused = with(Scope::Both).may(Need::Owner).unwrap_err();
        assert_eq!(refused.reason, Reason::Forbidden);
        assert!(!format!("{owner:?}").contains("hash"));
    }
}
