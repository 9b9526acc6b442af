//! Agent transfer security: the TXT record that says which addresses may send for a domain
//! (`docs/protocol.md` §5). Parsing and printing; evaluation needs DNS and is the verify stage's.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::address::Domain;

/// The first token of every ATS and ATK record.
pub const VERSION: &str = "v=atp1";

/// How much of a directive an error repeats, in characters: a record may be 64 KiB long.
const MAX_QUOTED_CHARS: usize = 64;

/// Two records where one is allowed: none of them counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are two v=atp1 records at one name")]
pub struct TwoRecords;

/// Chooses the one TXT record that is ours: its first token is exactly `v=atp1`, whatever the case. `None`:
/// there is none. Bytes outside UTF-8 are replaced; nothing we understand contains any.
///
/// # Errors
/// [`TwoRecords`] if more than one record is ours.
pub fn select(records: &[Vec<u8>]) -> Result<Option<String>, TwoRecords> {
    let mut ours = records.iter().filter(|record| {
        let first = record.split(u8::is_ascii_whitespace).find(|token| !token.is_empty());
        first.is_some_and(|token| token.eq_ignore_ascii_case(VERSION.as_bytes()))
    });
    match (ours.next(), ours.next()) {
        (_, Some(_)) => Err(TwoRecords),
        (one, None) => Ok(one.map(|record| String::from_utf8_lossy(record).into_owned())),
    }
}

/// Why a policy cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AtsError {
    /// Does not start with `v=atp1`.
    #[error("the policy does not start with v=atp1")]
    Version,
    /// A directive nobody defined.
    #[error("the policy has an unknown directive {0:?}")]
    Unknown(String),
    /// `ip:` without an address or network after it.
    #[error("the policy has an unreadable network {0:?}")]
    Network(String),
    /// A domain that is none.
    #[error("the policy has an unreadable domain {0:?}")]
    Domain(String),
    /// More than one `redirect`.
    #[error("the policy redirects twice")]
    TwoRedirects,
}

/// What a rule says about a source that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// May send.
    Allow,
    /// May not.
    Deny,
}

/// Which sources a rule matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Those in a network. IPv4-mapped networks are held as IPv4.
    Ip(IpNet),
    /// Those among the addresses of a name.
    Domain(Domain),
    /// Every one.
    All,
}

/// One directive that can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `allow=` or `deny=`.
    Source(Verdict, Source),
    /// `include:`; matches, and allows, if that domain's own policy allows.
    Include(Domain),
}

/// A domain's policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// In order; the first match decides.
    pub rules: Vec<Rule>,
    /// Whose policy decides if no rule matched, wherever in the record it was written.
    pub redirect: Option<Domain>,
}

impl Policy {
    /// Reads a record, ignoring case. A bare address is a network of one.
    ///
    /// # Errors
    /// [`AtsError`] naming the directive that is wrong; the whole policy is then void.
    pub fn parse(text: &str) -> Result<Policy, AtsError> {
        let text = text.to_ascii_lowercase();
        let mut tokens = text.split_ascii_whitespace();
        if tokens.next() != Some(VERSION) {
            return Err(AtsError::Version);
        }
        let mut policy = Policy::default();
        for token in tokens {
            if let Some(value) = token.strip_prefix("allow=") {
                policy.rules.push(Rule::Source(Verdict::Allow, source(value)?));
            } else if let Some(value) = token.strip_prefix("deny=") {
                policy.rules.push(Rule::Source(Verdict::Deny, source(value)?));
            } else if let Some(name) = token.strip_prefix("include:") {
                policy.rules.push(Rule::Include(domain(name)?));
            } else if let Some(name) = token.strip_prefix("redirect=") {
                if policy.redirect.replace(domain(name)?).is_some() {
                    return Err(AtsError::TwoRedirects);
                }
            } else {
                return Err(AtsError::Unknown(quoted(token)));
            }
        }
        Ok(policy)
    }

    /// The text we publish for a domain that sends from these addresses and no others.
    pub fn for_addresses(addresses: &[IpAddr]) -> String {
        let mut text = VERSION.to_owned();
        for address in addresses {
            let _ = write!(text, " allow=ip:{}", address.to_canonical());
        }
        text.push_str(" deny=all");
        text
    }
}

fn source(value: &str) -> Result<Source, AtsError> {
    if value == "all" {
        Ok(Source::All)
    } else if let Some(text) = value.strip_prefix("ip:") {
        network(text).map(Source::Ip).ok_or_else(|| AtsError::Network(quoted(text)))
    } else if let Some(name) = value.strip_prefix("domain:") {
        domain(name).map(Source::Domain)
    } else {
        Err(AtsError::Unknown(quoted(value)))
    }
}

fn domain(name: &str) -> Result<Domain, AtsError> {
    Domain::parse(name).map_err(|_| AtsError::Domain(quoted(name)))
}

fn quoted(text: &str) -> String {
    text.chars().take(MAX_QUOTED_CHARS).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().ok()?,
    };
    Some(unmapped(net))
}

/// `::ffff:192.0.2.0/120` is how some write `192.0.2.0/24`.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(wide) = net else { return net };
    let mapped = wide.addr().to_ipv4_mapped().zip(wide.prefix_len().checked_sub(96));
    let narrow = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    narrow.map_or(net, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Source {
        Source::Ip(text.parse().unwrap())
    }

    fn name(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    #[test]
    fn every_directive_is_read_in_order() {
        use Verdict::{Allow, Deny};
        let text = "V=atp1 allow=ip:203.0.113.1 DENY=IP:2001:DB8::/32 allow=domain:Relay.Example \
                    include:b.example redirect=c.example  deny=all\tallow=ip:::ffff:192.0.2.0/120 allow=ip:::1";
        let policy = Policy::parse(text).unwrap();
        assert_eq!(
            policy.rules,
            [
                Rule::Source(Allow, net("203.0.113.1/32")),
                Rule::Source(Deny, net("2001:db8::/32")),
                Rule::Source(Allow, Source::Domain(name("relay.example"))),
                Rule::Include(name("b.example")),
                Rule::Source(Deny, Source::All),
                Rule::Source(Allow, net("192.0.2.0/24")),
                Rule::Source(Allow, net("::1/128")),
            ]
        );
        assert_eq!(policy.redirect, Some(name("c.example")));
        assert_eq!(Policy::parse("v=atp1"), Ok(Policy::default()));
    }

    #[test]
    fn a_malformed_directive_voids_the_policy() {
        let owned = str::to_owned;
        for (directive, want) in [
            ("allow", AtsError::Unknown(owned("allow"))),
            ("allow=", AtsError::Unknown(owned(""))),
            ("allow=everyone", AtsError::Unknown(owned("everyone"))),
            ("permit=all", AtsError::Unknown(owned("permit=all"))),
            ("include=b.example", AtsError::Unknown(owned("include=b.example"))),
            ("redirect:b.example", AtsError::Unknown(owned("redirect:b.example"))),
            ("v=atp1", AtsError::Unknown(owned("v=atp1"))),
            ("allow=ip:", AtsError::Network(owned(""))),
            ("allow=ip:1.2.3", AtsError::Network(owned("1.2.3"))),
            ("allow=ip:1.2.3.4/33", AtsError::Network(owned("1.2.3.4/33"))),
            ("deny=ip:example.com", AtsError::Network(owned("example.com"))),
            ("deny=domain:", AtsError::Domain(owned(""))),
            ("include:1.2.3.4", AtsError::Domain(owned("1.2.3.4"))),
            ("redirect=a_b.example", AtsError::Domain(owned("a_b.example"))),
            ("redirect=a.example redirect=a.example", AtsError::TwoRedirects),
        ] {
            assert_eq!(Policy::parse(&format!("v=atp1 {directive}")), Err(want), "{directive}");
        }
        assert_eq!(Policy::parse("v=atp10 allow=all"), Err(AtsError::Version));
        let long = Policy::parse(&format!("v=atp1 {}", "x".repeat(60_000)));
        assert_eq!(long, Err(AtsError::Unknown("x".repeat(64))));
    }

    #[test]
    fn what_we_publish_reads_back() {
        let addresses = ["203.0.113.1", "2001:db8::1", "::ffff:192.0.2.7"].map(|text| text.parse().unwrap());
        let text = Policy::for_addresses(&addresses);
        assert_eq!(text, "v=atp1 allow=ip:203.0.113.1 allow=ip:2001:db8::1 allow=ip:192.0.2.7 deny=all");
        assert_eq!(Policy::parse(&text).unwrap().rules.len(), 4);
        assert_eq!(Policy::for_addresses(&[]), "v=atp1 deny=all");
    }

    #[test]
    fn our_record_among_others() {
        let select = |texts: &[&str]| {
            let records: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
            super::select(&records)
        };
        for (texts, want) in [
            (&[][..], Ok(None)),
            (&["", "  ", "v=spf1 -all", "v=atp10 allow=all", "x v=atp1", "v=atp1allow=all"], Ok(None)),
            (&["v=spf1 -all", "v=atp1 deny=all"], Ok(Some("v=atp1 deny=all"))),
            (&["V=ATP1"], Ok(Some("V=ATP1"))),
            (&[" v=atp1\tdeny=all"], Ok(Some(" v=atp1\tdeny=all"))),
            (&["v=atp1 allow=all", "v=atp1 allow=all"], Err(TwoRecords)),
        ] {
            assert_eq!(select(texts), want.map(|found| found.map(str::to_owned)), "{texts:?}");
        }
        assert_eq!(super::select(&[b"v=atp1 \xff".to_vec()]), Ok(Some("v=atp1 \u{fffd}".to_owned())));
    }
}
