//! A host as given on the command line: `HOST[=IP,…][@PRIORITY]`.

use std::net::IpAddr;
use std::str::FromStr;

use crate::proto::address::Domain;

/// One `--target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub name: Domain,
    /// Empty: those of `--ip`.
    pub addresses: Vec<IpAddr>,
    /// Lower is tried first.
    pub priority: u16,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let (rest, priority) = text.split_once('@').unwrap_or((text, "1"));
        let (name, addresses) = rest.split_once('=').unwrap_or((rest, ""));
        let name = Domain::parse(name).map_err(|error| error.to_string())?;
        let addresses = addresses
            .split(',')
            .filter(|ip| !ip.is_empty())
            .map(|ip| ip.parse().map_err(|_| format!("{ip:?} is no IP address; write HOST=IP,IP@PRIORITY")));
        let addresses = addresses.collect::<Result<_, String>>()?;
        let priority = priority.parse().ok().filter(|priority| *priority > 0);
        let priority = priority.ok_or("a priority is a number from 1 to 65535, as in HOST=IP,IP@10")?;
        Ok(Target { name, addresses, priority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_addresses_and_a_priority() {
        let parsed =
            |text: &str| text.parse::<Target>().map(|t| (t.name.to_string(), t.addresses.len(), t.priority));
        assert_eq!(parsed("a.example"), Ok(("a.example".into(), 0, 1)));
        assert_eq!(parsed("a.example=192.0.2.1,2001:db8::1@10"), Ok(("a.example".into(), 2, 10)));
        assert_eq!(parsed("a.example@2"), Ok(("a.example".into(), 0, 2)));
        for wrong in ["", "a b", "a.example=x", "a.example@0", "a.example@", "a.example@65536"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
