//! From where something comes, as far as counting goes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bits of an IPv6 address that are somebody's choice: a host has the whole /64.
const HOST_BITS: u32 = 64;

/// An address, of IPv6 the /64 it is in; or this machine's control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A caller on the control socket, who is known by the kernel's word.
    Here,
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address.
    V6(u64),
}

impl Origin {
    /// Where an address counts. One that only maps IPv4 counts as IPv4.
    pub fn of(address: IpAddr) -> Origin {
        match address.to_canonical() {
            IpAddr::V4(address) => Origin::V4(address),
            IpAddr::V6(address) => Origin::V6((u128::from(address) >> HOST_BITS) as u64),
        }
    }
}

/// `192.0.2.1`, `2001:db8:1:2::/64`, `control socket`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Here => f.write_str("control socket"),
            Origin::V4(address) => address.fmt(f),
            Origin::V6(upper) => {
                let network = Ipv6Addr::from(u128::from(*upper) << HOST_BITS);
                write!(f, "{network}/64")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_many_addresses_is_one() {
        let of = |text: &str| Origin::of(text.parse().unwrap()).to_string();
        for (address, origin) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ] {
            assert_eq!(of(address), origin);
        }
    }
}
