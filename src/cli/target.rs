//! What `--server` may be.

use std::fmt;
use std::net::Ipv6Addr;

use super::error::CliError;
use crate::proto::limits::DEFAULT_PORT;

/// Where a client connects to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Whether over TLS.
    pub tls: bool,
    /// Host name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Target {
    /// Parses `HOST`, `HOST:PORT`, and either after `https://` or `http://`. IPv6 addresses need brackets only
    /// before a port.
    pub fn parse(text: &str) -> Result<Target, CliError> {
        let wrong = || {
            CliError::usage(format!("--server {text:?} is not HOST, HOST:PORT, https://HOST or http://HOST"))
        };
        let (tls, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some(_) => return Err(wrong()),
            None => (true, text),
        };
        let (host, port) = split(rest.strip_suffix('/').unwrap_or(rest)).ok_or_else(wrong)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
            None => DEFAULT_PORT,
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let is_name = !host.is_empty() && host.bytes().all(plain);
        if !is_name && host.parse::<Ipv6Addr>().is_err() {
            return Err(wrong());
        }
        Ok(Target { tls, host: host.to_owned(), port })
    }
}

/// Host and port. `None`: brackets around something else than an IPv6 address, or text after them.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match after.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None if after.is_empty() => Some((host, None)),
            None => None,
        };
    }
    match text.split_once(':') {
        // More than one colon without brackets is an IPv6 address.
        Some((_, port)) if port.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port))),
        None => Some((text, None)),
    }
}

/// `host:port`, as in a URL.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Target { host, port, .. } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_server() {
        for (text, tls, host, port) in [
            ("example.com", true, "example.com", 7443),
            ("example.com:8443", true, "example.com", 8443),
            ("https://example.com", true, "example.com", 7443),
            ("https://example.com/", true, "example.com", 7443),
            ("HTTP://example.com", false, "example.com", 7443),
            ("http://example.com:8080", false, "example.com", 8080),
            ("127.0.0.1:7444", true, "127.0.0.1", 7444),
            ("::1", true, "::1", 7443),
            ("[::1]:7444", true, "::1", 7444),
            ("https://[2001:db8::1]", true, "2001:db8::1", 7443),
        ] {
            let wanted = Target { tls, host: host.into(), port };
            assert_eq!(Target::parse(text), Ok(wanted), "{text}");
        }
        assert_eq!(Target::parse("[::1]:7").unwrap().to_string(), "[::1]:7");
    }

    #[test]
    fn everything_else_is_a_usage_error() {
        for text in [
            "", ":1", "a:", "a:0", "a:65536", "a:b", "ftp://a", "a/b", "u@a", "a b", "[::1", "[::1]x", "[a]",
            "a\n",
        ] {
            assert_eq!(Target::parse(text).unwrap_err().code, 2, "{text:?}");
        }
    }
}
