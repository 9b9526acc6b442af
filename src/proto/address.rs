//! Addresses `local@domain` and the domains in them (`docs/protocol.md` §1).
//!
//! Both types hold the lower-cased form, so comparing and keying by them is always right. What was *sent*
//! (the signed bytes) keeps its own spelling inside the message's JSON.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::limits::{MAX_DOMAIN_BYTES, MAX_LABEL_BYTES, MAX_LOCAL_PART_BYTES};

/// Local parts nobody can register.
const RESERVED: [&str; 10] = [
    "abuse",
    "admin",
    "mailer-daemon",
    "no-reply",
    "noreply",
    "postmaster",
    "root",
    "security",
    "server",
    "system",
];

/// Of the reserved local parts, those that are mailboxes of the operator.
pub const OPERATOR_MAILBOXES: [&str; 3] = ["postmaster", "abuse", "security"];

/// Why a text is not an address or a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not exactly one `@`.
    #[error("an address is local@domain, with exactly one @")]
    NotOneAt,
    /// Empty, too long, or a character outside `[A-Za-z0-9._+-]`, or no letter or digit in it.
    #[error("the local part is 1 to 64 of A-Z a-z 0-9 . _ + - with at least one letter or digit")]
    LocalPart,
    /// Not a host name of A-labels.
    #[error("the domain is not a host name of at most 253 characters")]
    Domain,
}

/// A host name of A-labels, lower-cased, without trailing dot. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses and lower-cases a domain. Its last label must not be numeric, so an IP address is none.
    ///
    /// # Errors
    /// [`AddressError::Domain`] for anything but a host name.
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        let fits = !text.is_empty() && text.len() <= MAX_DOMAIN_BYTES;
        let labels_ok = text.split('.').all(is_label);
        let numeric_end = text.rsplit('.').next().is_none_or(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if !fits || !labels_ok || numeric_end {
            return Err(AddressError::Domain);
        }
        Ok(Domain(text.to_ascii_lowercase().into()))
    }

    /// The lower-cased text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the domain ends in `.local`, `.test` or `.localhost` (or is one of them): names that the
    /// public DNS never answers for (RFC 6761, RFC 6762).
    pub fn is_special_use(&self) -> bool {
        matches!(self.0.rsplit('.').next(), Some("local" | "test" | "localhost"))
    }

    /// The host name its server has unless another is given: `atp.<domain>`. `None`: it would be too long.
    pub fn default_target(&self) -> Option<Domain> {
        Domain::parse(&format!("atp.{self}")).ok()
    }

    /// Whether this domain is `other` or lies below it.
    pub fn is_within(&self, other: &Domain) -> bool {
        self == other
            || self.0.strip_suffix(other.as_str()).is_some_and(|head| head.ends_with('.') && head.len() > 1)
    }
}

fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=MAX_LABEL_BYTES).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Domain {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Domain, AddressError> {
        Domain::parse(text)
    }
}

/// An agent's address, lower-cased. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    local: Arc<str>,
    domain: Domain,
}

impl Address {
    /// Parses and lower-cases `local@domain`.
    ///
    /// # Errors
    /// [`AddressError`] naming the part that is wrong.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let (local, domain) = text.split_once('@').ok_or(AddressError::NotOneAt)?;
        if domain.contains('@') {
            return Err(AddressError::NotOneAt);
        }
        Address::new(local, Domain::parse(domain)?)
    }

    /// Joins a local part to a domain.
    ///
    /// # Errors
    /// [`AddressError::LocalPart`] if the local part has not the form of one.
    pub fn new(local: &str, domain: Domain) -> Result<Address, AddressError> {
        let fits = (1..=MAX_LOCAL_PART_BYTES).contains(&local.len());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-');
        if !fits || !local.bytes().all(allowed) || !local.bytes().any(|b| b.is_ascii_alphanumeric()) {
            return Err(AddressError::LocalPart);
        }
        Ok(Address { local: local.to_ascii_lowercase().into(), domain })
    }

    /// `postmaster@domain`, from whom bounces come.
    pub fn postmaster(domain: &Domain) -> Address {
        Address { local: "postmaster".into(), domain: domain.clone() }
    }

    /// The part before the `@`.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The part after the `@`.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether nobody can register this name.
    pub fn is_reserved(&self) -> bool {
        RESERVED.contains(&self.local())
    }

    /// Whether the address is a mailbox of the operator, who reads it over the control socket.
    pub fn is_operator_mailbox(&self) -> bool {
        OPERATOR_MAILBOXES.contains(&self.local())
    }

    /// Whether mail from this address is never answered automatically (RFC 5321 §4.5.5 in spirit).
    pub fn is_automaton(&self) -> bool {
        matches!(self.local(), "postmaster" | "mailer-daemon")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Address, AddressError> {
        Address::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_addresses_are_lower_cased() {
        for (text, want) in [
            ("Bot@Example.COM", "bot@example.com"),
            ("a.b_c+d-e@x.y", "a.b_c+d-e@x.y"),
            ("0@localhost", "0@localhost"),
            ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), want);
        }
        assert!(Address::parse(&format!("{}@{}.com", "a".repeat(64), "b".repeat(63))).is_ok());
    }

    #[test]
    fn bad_addresses_name_the_wrong_part() {
        use AddressError::{Domain as D, LocalPart as L, NotOneAt as N};
        for (text, want) in [
            ("", N),
            ("bot", N),
            ("a@b@c", N),
            ("@x.y", L),
            ("..@x.y", L),
            ("a b@x.y", L),
            ("ä@x.y", L),
            ("a\n@x.y", L),
            ("a@", D),
            ("a@.y", D),
            ("a@x..y", D),
            ("a@x.y.", D),
            ("a@-x.y", D),
            ("a@x-.y", D),
            ("a@x_y.z", D),
            ("a@127.0.0.1", D),
            ("a@1", D),
            ("a@ü.example", D),
            ("a@[::1]", D),
        ] {
            assert_eq!(Address::parse(text), Err(want), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@x.y", "a".repeat(65))), Err(L));
        assert_eq!(Address::parse(&format!("a@{}.y", "b".repeat(64))), Err(D));
        assert_eq!(Domain::parse(&"ab.".repeat(85)[..254]), Err(D));
    }

    #[test]
    fn within_needs_a_label_boundary() {
        let d = |text| Domain::parse(text).unwrap();
        assert!(d("atp.example.com").is_within(&d("example.com")));
        assert!(d("example.com").is_within(&d("example.com")));
        assert!(!d("badexample.com").is_within(&d("example.com")));
        assert!(!d("com").is_within(&d("example.com")));
    }

    proptest! {
        #[test]
        fn what_parses_prints_lower_cased_and_parses_again(text in "[A-Za-z0-9._+-]{1,20}@[A-Za-z0-9-]{1,9}(\\.[A-Za-z0-9-]{1,9}){0,3}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(address.to_string(), text.to_ascii_lowercase());
                prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
            }
        }

        #[test]
        fn no_input_panics(text in "\\PC{0,40}") {
            let _ = Address::parse(&text);
        }
    }
}
