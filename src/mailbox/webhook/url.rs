//! The URL of a webhook, read strictly: what can be understood in two ways is refused, so that what is checked is what
//! is dialled.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::proto::address::Domain;

/// Longest URL, in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// The port where none is named.
const DEFAULT_PORT: u16 = 443;
/// Below this only the default port may be dialled: those ports belong to other services.
const FIRST_FREE_PORT: u16 = 1024;

/// Why a text is no URL of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Too long.
    #[error("it is longer than 2,048 bytes")]
    TooLong,
    /// Another scheme.
    #[error("it must begin with https://")]
    Scheme,
    /// A character that has to be escaped, or that programs read differently.
    #[error(
        "a character in it is none that a URL may have; write it as %XX, and other scripts in a host as xn--"
    )]
    Character,
    /// A part that is never sent.
    #[error("it must have no #fragment")]
    Fragment,
    /// A user name or password.
    #[error("it must have no user name or password")]
    UserInfo,
    /// Neither a host name nor an address in standard form.
    #[error("its host is neither a host name nor an IP address in its usual form")]
    Host,
    /// No port, or one that is not dialled.
    #[error("its port must be 443 or 1024 to 65535")]
    Port,
    /// A query directly behind the host.
    #[error("write a / before the ?")]
    Path,
}

/// The host of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// To be looked up.
    Name(Domain),
    /// To be dialled as it is.
    Address(IpAddr),
}

/// As in a certificate: without brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => write!(f, "{name}"),
            Host::Address(address) => write!(f, "{address}"),
        }
    }
}

/// Where messages are pushed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whom to connect to, and whose certificate is asked for.
    pub host: Host,
    /// TCP port.
    pub port: u16,
    /// Path and query, as they are sent.
    pub path: String,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`], which says what is wrong.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlError::TooLong);
        }
        let rest = text.strip_prefix("https://").ok_or(UrlError::Scheme)?;
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        if !rest.bytes().all(is_url_byte) {
            return Err(UrlError::Character);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if path.starts_with('?') {
            return Err(UrlError::Path);
        }
        let (host, port) = parse_authority(authority)?;
        Ok(Url { host, port, path: if path.is_empty() { "/".into() } else { path.into() } })
    }

    /// What goes into `Host`: the host in brackets if it is an IPv6 address, the port unless it is 443.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            host => host.to_string(),
        };
        if self.port == DEFAULT_PORT { host } else { format!("{host}:{}", self.port) }
    }
}

/// Visible ASCII, but for what RFC 3986 keeps out of URLs and what some programs take for something else (`\`).
fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn parse_authority(authority: &str) -> Result<(Host, u16), UrlError> {
    if authority.contains('@') {
        return Err(UrlError::UserInfo);
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        // The parser of the standard library knows no zones (`%eth0`).
        let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
        return Ok((Host::Address(address.into()), parse_port(port)?));
    }
    let end = authority.find(':').unwrap_or(authority.len());
    let (host, port) = authority.split_at(end);
    Ok((parse_host(host)?, parse_port(port)?))
}

fn parse_host(text: &str) -> Result<Host, UrlError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Address(address.into()));
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    // What ends in a number is an IPv4 address to some (0x7f000001, 127.1), though no standard form of one.
    let hexadecimal = last.strip_prefix("0x").or(last.strip_prefix("0X"));
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number {
        return Err(UrlError::Host);
    }
    Domain::parse(text).map(Host::Name).map_err(|_| UrlError::Host)
}

/// With the colon before it, or empty.
fn parse_port(text: &str) -> Result<u16, UrlError> {
    if text.is_empty() {
        return Ok(DEFAULT_PORT);
    }
    let digits = text.strip_prefix(':').ok_or(UrlError::Host)?;
    let port: u16 = digits.parse().map_err(|_| UrlError::Port)?;
    let is_free = port == DEFAULT_PORT || port >= FIRST_FREE_PORT;
    // `parse` would also take a sign and leading zeros.
    if is_free && port.to_string() == digits { Ok(port) } else { Err(UrlError::Port) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use UrlError as E;

    #[test]
    fn what_is_a_url_of_a_webhook() {
        for (text, host, port, path) in [
            ("https://hooks.example.com", "hooks.example.com", 443, "/"),
            (
                "https://Hooks.Example.COM/a/b?token=x%20y&z=1",
                "hooks.example.com",
                443,
                "/a/b?token=x%20y&z=1",
            ),
            ("https://hooks.example.com:443/", "hooks.example.com", 443, "/"),
            ("https://hooks.example.com:8443/x", "hooks.example.com", 8443, "/x"),
            ("https://worker:1024/x", "worker", 1024, "/x"),
            ("https://xn--bcher-kva.example/a", "xn--bcher-kva.example", 443, "/a"),
            ("https://203.0.113.7/a", "203.0.113.7", 443, "/a"),
            ("https://[2001:DB8::1]:65535/a", "2001:db8::1", 65535, "/a"),
            (
                "https://hooks.example.com/@me;a=(b)!$'*+,:~[]",
                "hooks.example.com",
                443,
                "/@me;a=(b)!$'*+,:~[]",
            ),
        ] {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(
                (url.host.to_string().as_str(), url.port, url.path.as_str()),
                (host, port, path),
                "{text}"
            );
        }
        let authority = |text| Url::parse(text).unwrap().authority();
        assert_eq!(authority("https://A.example:443/x"), "a.example");
        assert_eq!(authority("https://[2001:db8::1]/x"), "[2001:db8::1]");
        assert_eq!(authority("https://[2001:db8::1]:8443/x"), "[2001:db8::1]:8443");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, want) in [
            ("", E::Scheme),
            ("http://a.example/", E::Scheme),
            ("HTTPS://a.example/", E::Scheme),
            ("https:/a.example/", E::Scheme),
            ("https:a.example", E::Scheme),
            ("//a.example/", E::Scheme),
            (" https://a.example/", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("gopher://a.example/", E::Scheme),
            ("https://", E::Host),
            ("https:///x", E::Host),
            ("https://:8443/", E::Host),
            ("https://a.example/#x", E::Fragment),
            ("https://a.example#@127.0.0.1/", E::Fragment),
            ("https://me@a.example/", E::UserInfo),
            ("https://me:pw@a.example/", E::UserInfo),
            ("https://a.example@127.0.0.1/", E::UserInfo),
            ("https://a.example:443@127.0.0.1:80/", E::UserInfo),
            ("https://a.example\\@127.0.0.1/", E::Character),
            ("https://127.0.0.1\\.a.example/", E::Character),
            ("https://a.example/\t", E::Character),
            ("https://a.exa\tmple/", E::Character),
            ("https://a.example/\r\nX-Evil: 1", E::Character),
            ("https://a.example/a b", E::Character),
            ("https://a.example/\0", E::Character),
            ("https://a.example/ü", E::Character),
            ("https://127。0。0。1/", E::Character),
            ("https://①②⑦.0.0.1/", E::Character),
            ("https://ａ.example/", E::Character),
            ("https://loc%61lhost/", E::Host),
            ("https://127.0.0.1%2f.a.example/", E::Host),
            ("https://a.example?x=1", E::Path),
            // Addresses that are none in standard form.
            ("https://2130706433/", E::Host),
            ("https://017700000001/", E::Host),
            ("https://0x7f000001/", E::Host),
            ("https://0X7F000001/", E::Host),
            ("https://0x/", E::Host),
            ("https://0177.0.0.1/", E::Host),
            ("https://127.0.0.01/", E::Host),
            ("https://0x7f.1/", E::Host),
            ("https://0x7f.0x0.0x0.0x1/", E::Host),
            ("https://127.1/", E::Host),
            ("https://127.0.1/", E::Host),
            ("https://127.0.0.1./", E::Host),
            ("https://127.0.0.256/", E::Host),
            ("https://127.0.0.1.5/", E::Host),
            ("https://a.example./", E::Host),
            ("https://a..example/", E::Host),
            ("https://-a.example/", E::Host),
            ("https://a_b.example/", E::Host),
            ("https://[::1/", E::Host),
            ("https://::1/", E::Host),
            ("https://[fe80::1%25eth0]/", E::Host),
            ("https://[fe80::1%eth0]/", E::Host),
            ("https://[127.0.0.1]/", E::Host),
            ("https://[v1.x]/", E::Host),
            ("https://[::1]x/", E::Host),
            // Ports.
            ("https://a.example:/", E::Port),
            ("https://a.example:0/", E::Port),
            ("https://a.example:22/", E::Port),
            ("https://a.example:25/", E::Port),
            ("https://a.example:80/", E::Port),
            ("https://a.example:1023/", E::Port),
            ("https://a.example:65536/", E::Port),
            ("https://a.example:+443/", E::Port),
            ("https://a.example:0443/", E::Port),
            ("https://a.example:443:443/", E::Port),
            ("https://a.example:x/", E::Port),
        ] {
            assert_eq!(Url::parse(text), Err(want), "{text:?}");
        }
        assert_eq!(Url::parse(&format!("https://a.example/{}", "x".repeat(MAX_URL_BYTES))), Err(E::TooLong));
    }
}
