//! Agents' tokens (`docs/protocol.md` §7, "Credentials"): 256 bits of dice, told once and kept as a hash.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::accounts::Accounts;
use super::authenticated::{Authenticated, Need};
use super::credential;
use crate::env::rng::Rng;
use crate::error::Fault;
use crate::proto::limits::MAX_TOKEN_NAME_BYTES;
use crate::proto::status::Reason;
use crate::secret::Secret;
use crate::spool::contract::tokens::TokenCreation;
use crate::spool::entry::tokens::{Scope, TokenHash, TokenRecord};

/// What every agent's token begins with, and no password.
pub const PREFIX: &str = "atpa_";
/// Dice in a token, in bytes.
const TOKEN_BYTES: usize = 32;
/// Longest life of a token that ends by itself.
pub const MAX_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is wanted of a token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What to call it.
    pub name: String,
    /// What it is to be good for.
    pub scope: Scope,
    /// How long it is to live. `None`: until it is revoked.
    pub life: Option<Duration>,
}

impl Accounts {
    /// Makes a token: its text, which is never told again, and what is known of it.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for a name or life that cannot be, [`Reason::Conflict`] if the agent has a token of
    /// that name or too many, [`Reason::Forbidden`] by a token.
    pub async fn create_token(
        &self,
        by: &Authenticated,
        new: NewToken,
    ) -> Result<(Secret, TokenRecord), Fault> {
        by.may(Need::Owner)?;
        if !is_name(&new.name) {
            let sentence =
                "A token's name is 1 to 64 of A-Z a-z 0-9 . _ - and begins with a letter or a digit.";
            return Err(Fault::new(Reason::Malformed, sentence));
        }
        if new.life.is_some_and(|life| life.is_zero() || life > MAX_LIFE) {
            return Err(Fault::new(Reason::Malformed, "A token lives for 1 second to 10 years."));
        }
        let token = roll(&*self.env.rng);
        let now = self.env.clock.now();
        let record = TokenRecord {
            agent: by.agent.clone(),
            mailbox: by.mailbox,
            name: new.name,
            scope: new.scope,
            created_at: now,
            expires_at: new.life.map(|life| now.plus(life)),
        };
        let hash = TokenHash::of(token.expose());
        match self.store.create_token(by.holder(), hash, record.clone(), now).await? {
            TokenCreation::Created => Ok((token, record)),
            TokenCreation::NameTaken => {
                Err(Fault::new(Reason::Conflict, "There is a token of that name; revoke it first."))
            }
            TokenCreation::TooMany => Err(Fault::new(
                Reason::Conflict,
                "There are 100 tokens, which is the most; revoke one first.",
            )),
            TokenCreation::Denied => Err(credential::wrong()),
        }
    }

    /// The agent's tokens by name, those included that have expired a short while ago.
    ///
    /// # Errors
    /// [`Reason::Forbidden`] by a token; what the store says.
    pub async fn tokens(&self, by: &Authenticated) -> Result<Vec<TokenRecord>, Fault> {
        by.may(Need::Owner)?;
        Ok(self.store.tokens(by.mailbox).await?)
    }

    /// Ends a token at once, on open streams too. A token may end itself.
    ///
    /// # Errors
    /// [`Reason::Forbidden`] by another token; [`Reason::NoSuchPath`] if there is none of that name.
    pub async fn revoke_token(&self, by: &Authenticated, name: &str) -> Result<(), Fault> {
        if by.token.as_ref().is_none_or(|token| token.name != name) {
            by.may(Need::Owner)?;
        }
        if self.store.revoke_token(by.mailbox, name.to_owned()).await? {
            Ok(())
        } else {
            Err(Fault::new(Reason::NoSuchPath, "There is no token of that name."))
        }
    }
}

/// As names in a path: nothing that anyone on the way would change.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_TOKEN_NAME_BYTES).contains(&name.len())
        && name.bytes().all(allowed)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn roll(rng: &dyn Rng) -> Secret {
    let mut dice = Zeroizing::new([0; TOKEN_BYTES]);
    rng.fill(&mut *dice);
    let text = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*dice));
    Secret::new(format!("{PREFIX}{}", *text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::rng::SystemRng;

    #[test]
    fn tokens_are_256_bits_of_dice_behind_their_prefix() {
        let (one, two) = (roll(&SystemRng), roll(&SystemRng));
        assert!(!one.matches(&two));
        let dice = one.expose().strip_prefix(PREFIX).unwrap();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(dice).unwrap().len(), 32);
        assert_eq!(one.expose().len(), 48);
        assert_ne!(TokenHash::of(one.expose()), TokenHash::of(two.expose()));
    }

    #[test]
    fn names_are_fit_for_a_path() {
        for name in ["a", "ci.build_1-x", "0", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "-a", "a b", "a/b", "ü", &"x".repeat(65), "a\n"] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
