//! Who may register which name (`docs/protocol.md` §1, §8).

use std::net::IpAddr;

use crate::config::checked::RegistrationMode;
use crate::error::Fault;
use crate::proto::address::{Address, AddressError, Domain};
use crate::proto::status::Reason;
use crate::rates::origin::Origin;

/// How a request to register reached us.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    /// Address it came from.
    pub peer: IpAddr,
    /// Address it arrived at.
    pub local: IpAddr,
    /// Whether a proxy says it passed it on (see [`is_proxied`]): then `peer` is the proxy, not the caller.
    pub proxied: bool,
    /// Whether it carried the operator's token, or came over the control socket.
    pub operator: bool,
}

impl Caller {
    /// Where the caller counts.
    pub fn origin(&self) -> Origin {
        if self.operator { Origin::Here } else { Origin::of(self.peer) }
    }

    /// Whether it is on this machine. Both ends, because a packet that only claims to come from loopback arrives at
    /// another address.
    pub fn is_near(&self) -> bool {
        !self.proxied && [self.peer, self.local].iter().all(|ip| ip.to_canonical().is_loopback())
    }
}

/// What decides about a registration beside the name.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The domains served.
    pub domains: &'a [Domain],
    /// The domain that a name without `@` is completed with.
    pub short_names_in: &'a Domain,
    /// `registration.mode` of one of `domains`. `None`: open for special-use domains, else loopback.
    pub mode: &'a (dyn Fn(&Domain) -> Option<RegistrationMode> + Sync),
}

/// The address that may be registered, if the caller may.
///
/// # Errors
/// [`Reason::NameMalformed`] for what is no address, [`Reason::NameForbidden`] for a foreign domain, a
/// reserved name, or a caller who may not.
pub fn permit(name: &str, caller: &Caller, rules: &Rules<'_>) -> Result<Address, Fault> {
    let parsed = if name.contains('@') {
        Address::parse(name)
    } else {
        Address::new(name, rules.short_names_in.clone())
    };
    let address = parsed.map_err(malformed)?;
    if !rules.domains.contains(address.domain()) {
        return Err(forbidden("This server does not serve that domain."));
    }
    if address.is_reserved() {
        return Err(forbidden("This name is reserved."));
    }
    if !may(caller, address.domain(), (rules.mode)(address.domain())) {
        return Err(forbidden("Registration is closed: ask the operator of this server for an account."));
    }
    Ok(address)
}

fn may(caller: &Caller, domain: &Domain, mode: Option<RegistrationMode>) -> bool {
    let open = match mode {
        Some(RegistrationMode::Open) => true,
        Some(RegistrationMode::Loopback) => false,
        None => domain.is_special_use(),
    };
    open || caller.operator || caller.is_near()
}

/// Whether any of these header names says that a proxy passed the request on.
pub fn is_proxied<'a>(header_names: impl IntoIterator<Item = &'a str>) -> bool {
    header_names.into_iter().map(str::to_ascii_lowercase).any(|name| {
        matches!(name.as_str(), "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    })
}

fn malformed(error: AddressError) -> Fault {
    let sentence = match error {
        AddressError::NotOneAt => "A name has at most one @.",
        AddressError::LocalPart => {
            "A name is 1 to 64 of A-Z a-z 0-9 . _ + - with at least one letter or digit."
        }
        AddressError::Domain => "The part after the @ is not a domain.",
    };
    Fault::new(Reason::NameMalformed, sentence)
}

fn forbidden(sentence: &'static str) -> Fault {
    Fault::new(Reason::NameForbidden, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use RegistrationMode::{Loopback, Open};

    const LOOP4: &str = "127.0.0.1";
    const LOOP6: &str = "::1";
    const MAPPED: &str = "::ffff:127.0.0.2";
    const FAR: &str = "192.0.2.7";

    fn domains() -> Vec<Domain> {
        ["example.com", "a.test"].map(|text| Domain::parse(text).unwrap()).to_vec()
    }

    fn caller(peer: &str, local: &str) -> Caller {
        Caller { peer: peer.parse().unwrap(), local: local.parse().unwrap(), proxied: false, operator: false }
    }

    fn outcome(name: &str, caller: &Caller, mode: Option<RegistrationMode>) -> Result<String, Reason> {
        let domains = domains();
        let rules = Rules { domains: &domains, short_names_in: &domains[0], mode: &|_| mode };
        permit(name, caller, &rules).map(|address| address.to_string()).map_err(|fault| fault.reason)
    }

    #[test]
    fn who_may() {
        let proxied = Caller { proxied: true, ..caller(LOOP4, LOOP4) };
        let operator = Caller { operator: true, ..caller(FAR, FAR) };
        for (case, name, caller, mode, allowed) in [
            ("from this machine", "bot", caller(LOOP4, LOOP4), None, true),
            ("from this machine, IPv6", "bot", caller(LOOP6, LOOP6), None, true),
            ("mapped loopback", "bot", caller(MAPPED, MAPPED), None, true),
            ("only its claim is loopback", "bot", caller(LOOP4, FAR), None, false),
            ("only our end is loopback", "bot", caller(FAR, LOOP4), None, false),
            ("through a proxy on this machine", "bot", proxied, None, false),
            ("from far", "bot", caller(FAR, FAR), None, false),
            ("from far, open", "bot", caller(FAR, FAR), Some(Open), true),
            ("through a proxy, open", "bot", proxied, Some(Open), true),
            ("from far, special-use", "bot@a.test", caller(FAR, FAR), None, true),
            ("from far, special-use, closed", "bot@a.test", caller(FAR, FAR), Some(Loopback), false),
            ("this machine, closed", "bot@a.test", caller(LOOP4, LOOP4), Some(Loopback), true),
            ("the operator", "bot", operator, None, true),
            ("the operator, closed", "bot", operator, Some(Loopback), true),
        ] {
            let wanted = if allowed {
                Ok(if name.contains('@') { name.into() } else { format!("{name}@example.com") })
            } else {
                Err(Reason::NameForbidden)
            };
            assert_eq!(outcome(name, &caller, mode), wanted, "{case}");
        }
    }

    #[test]
    fn which_names() {
        let operator = Caller { operator: true, ..caller(FAR, FAR) };
        for (name, wanted) in [
            ("Bot", Ok("bot@example.com")),
            ("bot@A.Test", Ok("bot@a.test")),
            ("", Err(Reason::NameMalformed)),
            ("a b", Err(Reason::NameMalformed)),
            ("..", Err(Reason::NameMalformed)),
            ("a@", Err(Reason::NameMalformed)),
            ("a@b@a.test", Err(Reason::NameMalformed)),
            ("bot@other.example", Err(Reason::NameForbidden)),
            ("postmaster", Err(Reason::NameForbidden)),
            ("Admin@a.test", Err(Reason::NameForbidden)),
            ("mailer-daemon", Err(Reason::NameForbidden)),
        ] {
            assert_eq!(outcome(name, &operator, None), wanted.map(String::from), "{name:?}");
        }
    }

    #[test]
    fn proxies_give_themselves_away() {
        for name in
            ["Forwarded", "via", "X-Real-IP", "X-Forwarded-For", "x-forwarded-proto", "X-FORWARDED-HOST"]
        {
            assert!(is_proxied(["host", name]), "{name}");
        }
        assert!(!is_proxied(["host", "content-type", "x-forward", "viable"]));
    }
}
