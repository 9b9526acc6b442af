//! `--peers FILE`: servers of domains that are not looked up (`docs/protocol.md` §12).
//!
//! ```toml
//! ["bob.local"]
//! host = "127.0.0.1"
//! port = 7444
//! ca = "bob.pem"      # or verify = false
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::dial::Trust;
use super::entries::{self, EntriesError};
use super::tls::Authorities;
use crate::proto::address::Domain;
use crate::proto::limits::DEFAULT_PORT;

/// An entry in the reference's format; `ca` and `verify` are ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    host: String,
    port: Option<u16>,
    ca: Option<PathBuf>,
    verify: Option<bool>,
    #[serde(default)]
    ip_addresses: Vec<IpAddr>,
    /// Negotiated with the peer, whatever the file says.
    #[serde(rename = "alpn")]
    _alpn: Option<toml::Value>,
    /// Fetched from the peer, whatever the file says.
    #[serde(rename = "capabilities")]
    _capabilities: Option<toml::Value>,
}

/// The server of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// A host name or an IP address literal; also the name in its certificate.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Where to connect. Empty: `host` is to be looked up.
    pub addresses: Vec<IpAddr>,
    /// How its certificate is judged.
    pub trust: Trust,
}

/// Peers by domain.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    peers: BTreeMap<Domain, Peer>,
}

impl Peers {
    /// Reads the file, and tries the certificates it names.
    ///
    /// # Errors
    /// [`EntriesError`] naming the file, the entry and what is wrong with it.
    pub fn load(path: &Path) -> Result<Peers, EntriesError> {
        let beside = path.parent().unwrap_or(Path::new(""));
        let peers = entries::load(path, "domain", "bob.local", |key, entry: Entry| {
            let domain = Domain::parse(key).map_err(|error| error.to_string())?;
            Ok((domain, to_peer(entry, beside)?))
        })?;
        Ok(Peers { peers })
    }

    /// The server of `domain`; `None` if the file has no entry for it.
    pub fn get(&self, domain: &Domain) -> Option<&Peer> {
        self.peers.get(domain)
    }
}

fn to_peer(entry: Entry, beside: &Path) -> Result<Peer, String> {
    let host = entry.host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    if host.parse::<IpAddr>().is_err() && Domain::parse(&host).is_err() {
        return Err(format!("host {:?} is neither a host name nor an IP address", entry.host));
    }
    let trust = match (entry.ca, entry.verify) {
        (Some(_), Some(false)) => return Err("ca and verify = false exclude each other".to_owned()),
        (Some(ca), _) => {
            let ca = beside.join(ca);
            Trust::Authorities(Authorities::read(&ca).map_err(|error| format!("ca: {error}"))?)
        }
        (None, Some(false)) => Trust::Unverified,
        (None, _) => Trust::Roots,
    };
    let addresses = match host.parse() {
        Ok(address) if entry.ip_addresses.is_empty() => vec![address],
        _ => entry.ip_addresses,
    };
    Ok(Peer { host, port: entry.port.unwrap_or(DEFAULT_PORT), addresses, trust })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Peers, EntriesError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers.toml");
        std::fs::write(&path, text).unwrap();
        let ca = rcgen::generate_simple_self_signed(["bob.local".to_owned()]).unwrap();
        std::fs::write(directory.path().join("bob.pem"), ca.cert.pem()).unwrap();
        std::fs::write(directory.path().join("empty.pem"), "").unwrap();
        Peers::load(&path)
    }

    fn get(text: &str, domain: &str) -> Peer {
        load(text).unwrap().get(&Domain::parse(domain).unwrap()).unwrap().clone()
    }

    #[test]
    fn entries_in_the_reference_format_are_understood() {
        let bob = get("[\"Bob.local\"]\nhost = \"127.0.0.1\"\nport = 7444\n", "bob.local");
        assert_eq!((bob.host.as_str(), bob.port, &bob.trust), ("127.0.0.1", 7444, &Trust::Roots));
        assert_eq!(bob.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()]);

        let full = "host = \"Atp.Example.com.\"\nalpn = \"atp/1\"\ncapabilities = [\"message\"]\n\
                    ip_addresses = [\"192.0.2.1\", \"2001:db8::1\"]\nverify = false\n";
        let full = get(&format!("[\"example.com\"]\n{full}"), "example.com");
        assert_eq!(
            (full.host.as_str(), full.port, &full.trust),
            ("atp.example.com", 7443, &Trust::Unverified)
        );
        assert_eq!(full.addresses.len(), 2);

        let named =
            get("[\"a.example\"]\nhost = \"localhost\"\nca = \"bob.pem\"\nverify = true\n", "a.example");
        assert!(named.addresses.is_empty());
        assert!(
            matches!(named.trust, Trust::Authorities(ca) if ca.path().ends_with("bob.pem") && ca.path().is_absolute())
        );
        assert!(load("").unwrap().get(&Domain::parse("bob.local").unwrap()).is_none());
    }

    #[test]
    fn errors_name_file_entry_and_remedy() {
        for (case, text, want) in [
            ("no TOML", "[\"a", "peers.toml is not TOML"),
            (
                "unquoted",
                "[bob.local]\nhost = \"127.0.0.1\"\n",
                r#"["bob"]: a domain with dots must be quoted"#,
            ),
            ("not a domain", "[\"127.0.0.1\"]\nhost = \"::1\"\n", "the domain is not a host name"),
            ("no host", "[\"bob.local\"]\nport = 1\n", r#"["bob.local"]: missing field `host`"#),
            ("a host with port", "[\"bob.local\"]\nhost = \"a:7443\"\n", r#"host "a:7443" is neither"#),
            ("bad port", "[\"bob.local\"]\nhost = \"a\"\nport = 70000\n", r#"["bob.local"]: invalid value"#),
            ("typing error", "[\"bob.local\"]\nhost = \"a\"\nverfy = false\n", "unknown field `verfy`"),
            (
                "both",
                "[\"bob.local\"]\nhost = \"a\"\nca = \"bob.pem\"\nverify = false\n",
                "exclude each other",
            ),
            ("no such file", "[\"bob.local\"]\nhost = \"a\"\nca = \"no.pem\"\n", "ca: cannot read"),
            ("no certificate", "[\"bob.local\"]\nhost = \"a\"\nca = \"empty.pem\"\n", "no certificate in it"),
            ("twice", "[\"a.b\"]\nhost='a'\n[\"A.b\"]\nhost='b'\n", "the domain occurs twice"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(want), "{case}: {error}");
        }
    }
}
