//! Zone text, put together by name.

use std::fmt::Write as _;

use atp::demo::dns_server::ZoneServer;

/// The zone of everything below `example.`; what lies outside is REFUSED by its server.
pub struct Zone {
    text: String,
}

impl Zone {
    pub fn new() -> Zone {
        let text = "$TTL 300\n@ IN SOA ns hostmaster 1 3600 600 86400 300\n@ IN NS ns\nns IN A 127.0.0.1\n";
        Zone { text: text.to_owned() }
    }

    /// One TXT record, in as many strings as it takes (RFC 1035 §3.3.14).
    pub fn txt(&mut self, name: &str, text: &str) {
        let _ = write!(self.text, "{name}. IN TXT");
        for string in text.as_bytes().chunks(255) {
            let _ = write!(self.text, " \"{}\"", String::from_utf8_lossy(string));
        }
        self.text.push('\n');
    }

    pub fn a(&mut self, name: &str, address: &str) {
        let _ = writeln!(self.text, "{name}. IN A {address}");
    }

    /// The server of a domain, by SVCB.
    pub fn server(&mut self, domain: &str, host: &str, port: u16) {
        let _ = writeln!(self.text, "_atp.{domain}. IN SVCB 1 {host}. port={port}");
    }

    pub fn cname(&mut self, name: &str, target: &str) {
        let _ = writeln!(self.text, "{name}. IN CNAME {target}.");
    }

    pub async fn serve(&self) -> ZoneServer {
        let loopback = "127.0.0.1:0".parse().unwrap();
        ZoneServer::start(&[("example", &self.text)], loopback).await.unwrap()
    }
}
