//! What an agent shows in its `Authorization` header (RFC 7617, RFC 6750; `docs/protocol.md` §7).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::tokens;
use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::status::Reason;
use crate::secret::Secret;

/// Longest header that is looked at, in bytes: an address and a password fit four times.
const MAX_HEADER_BYTES: usize = 8 * 1024;

/// A credential, not yet checked.
#[derive(Debug, Clone)]
pub enum Credential {
    /// `Basic`: an agent and its password.
    Password {
        /// The agent; a short name has been completed with the domain meant.
        address: Address,
        /// What it says is its password.
        password: Secret,
    },
    /// `Bearer`: an agent's or the operator's token. Or `Basic` with an agent's token where the password would be.
    Token {
        /// What it says is its token.
        token: Secret,
        /// Whose it must be. `None`: the token alone says that.
        agent: Option<Address>,
    },
}

impl Credential {
    /// Parses the header's value. An id without `@` means an agent of `short_names_in`.
    ///
    /// # Errors
    /// [`Reason::BadCredential`], whatever is wrong.
    pub fn parse(header: &[u8], short_names_in: &Domain) -> Result<Credential, Fault> {
        let header = std::str::from_utf8(header).ok().filter(|text| text.len() <= MAX_HEADER_BYTES);
        let (scheme, rest) = header.and_then(|text| text.split_once(' ')).ok_or_else(unreadable)?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("basic") {
            basic(rest, short_names_in)
        } else if scheme.eq_ignore_ascii_case("bearer") {
            bearer(rest)
        } else {
            Err(unreadable())
        }
    }
}

fn basic(encoded: &str, short_names_in: &Domain) -> Result<Credential, Fault> {
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_| unreadable())?);
    let text = std::str::from_utf8(&bytes).map_err(|_| unreadable())?;
    // The first colon ends the id; a password may hold more of them (RFC 7617 §2).
    let (id, password) = text.split_once(':').ok_or_else(unreadable)?;
    let address =
        if id.contains('@') { Address::parse(id) } else { Address::new(id, short_names_in.clone()) };
    // Same words as for a wrong password: an id that cannot exist is no agent either.
    let address = address.map_err(|_| wrong())?;
    let secret = Secret::from(password);
    Ok(if password.starts_with(tokens::PREFIX) {
        Credential::Token { token: secret, agent: Some(address) }
    } else {
        Credential::Password { address, password: secret }
    })
}

fn bearer(token: &str) -> Result<Credential, Fault> {
    let readable = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    let token = || Credential::Token { token: Secret::from(token), agent: None };
    if readable { Ok(token()) } else { Err(unreadable()) }
}

/// The one answer to an unknown agent and to a wrong password.
pub fn wrong() -> Fault {
    Fault::new(Reason::BadCredential, "No such agent, or not its password.")
}

/// The one answer to a token that never was, is another agent's, has expired or was revoked.
pub(super) fn wrong_token() -> Fault {
    Fault::new(Reason::BadCredential, "No such token, or it has expired or was revoked.")
}

fn unreadable() -> Fault {
    let sentence = "The Authorization header is neither Basic with id:password nor Bearer with a token.";
    Fault::new(Reason::BadCredential, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str) -> Result<Credential, Fault> {
        Credential::parse(header.as_bytes(), &Domain::parse("a.test").unwrap())
    }

    fn basic_of(pair: &[u8]) -> Result<Credential, Fault> {
        parse(&format!("Basic {}", BASE64_STANDARD.encode(pair)))
    }

    #[test]
    fn names_and_passwords_come_out() {
        for (pair, address, password) in [
            ("bot:pw", "bot@a.test", "pw"),
            ("Bot@B.test:pw", "bot@b.test", "pw"),
            ("bot:p:w:", "bot@a.test", "p:w:"),
            ("bot:", "bot@a.test", ""),
            ("bot:pä💬", "bot@a.test", "pä💬"),
        ] {
            let Credential::Password { address: a, password: p } = basic_of(pair.as_bytes()).unwrap() else {
                panic!("{pair}");
            };
            assert_eq!((a.to_string().as_str(), p.expose()), (address, password));
        }
        assert!(matches!(parse("bASIC Ym90OnB3"), Ok(Credential::Password { .. })));
        let Ok(Credential::Token { token, agent: None }) = parse("bearer atpa_x") else { panic!("bearer") };
        assert_eq!(token.expose(), "atpa_x");
        let Ok(Credential::Token { token, agent: Some(agent) }) = basic_of(b"bot:atpa_x") else {
            panic!("basic");
        };
        assert_eq!((agent.to_string().as_str(), token.expose()), ("bot@a.test", "atpa_x"));
    }

    #[test]
    fn everything_else_is_no_credential() {
        for header in [
            "",
            "Basic",
            "Basic ",
            "Basic ***",
            "Basic Ym90",
            "Basic /zpw",
            "Bearer ",
            "Bearer a b",
            "Digest x",
            "Basic OnB3",
            "Basic IDpw",
        ] {
            assert_eq!(parse(header).unwrap_err().reason, Reason::BadCredential, "{header:?}");
        }
        assert!(Credential::parse(b"Basic \xff", &Domain::parse("a.test").unwrap()).is_err());
        assert!(parse(&format!("Bearer {}", "x".repeat(MAX_HEADER_BYTES))).is_err());
    }
}
