//! What the command line says, laid over the file.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::Overrides;
use super::checked::{LogFormat, LogLevel};
use super::file::File;

/// Keys that the command line or the environment has decided.
#[derive(Debug, Clone, Default)]
pub(super) struct Given(BTreeSet<&'static str>);

impl Given {
    /// Whether a key, or the list an element is in, was decided there.
    pub(super) fn has(&self, key: &str) -> bool {
        let list = key.split_once('[').map_or(key, |(list, _)| list);
        self.0.contains(list)
    }
}

impl Overrides {
    /// Writes what is given over what the file says.
    pub(super) fn lay_over(&self, file: &mut File) -> Given {
        let mut given = Given::default();
        given.list("domains", &mut file.domains, &self.domains);
        given.text("server.host", &mut file.server.host, self.host.map(|host| host.to_string()));
        if let Some(port) = self.port {
            given.0.insert("server.port");
            file.server.port = port;
        }
        // Chain and key come from the same place: the command line's pair replaces the file's as a whole.
        if self.cert.is_some() || self.key.is_some() {
            given.0.extend(["server.cert", "server.key"]);
            (file.server.cert, file.server.key) = (self.cert.clone(), self.key.clone());
        }
        if self.allow_expired_certificate {
            given.0.insert("server.allow_expired_certificate");
            file.server.allow_expired_certificate = true;
        }
        given.path("tls.extra_roots", &mut file.tls.extra_roots, self.extra_roots.as_ref());
        given.path("dns.peers", &mut file.dns.peers, self.peers.as_ref());
        given.path("dns.overrides", &mut file.dns.overrides, self.dns_overrides.as_ref());
        let servers: Vec<_> = self.dns_servers.iter().map(ToString::to_string).collect();
        given.list("dns.servers", &mut file.dns.servers, &servers);
        let token = self.admin_token.as_ref().map(|token| token.expose().to_owned());
        given.text("admin.token", &mut file.admin.token, token);
        let listen = self.admin_listen.map(|address| address.to_string());
        given.text("admin.listen", &mut file.admin.listen, listen);
        given.word("log.level", &mut file.log.level, self.log_level.map(LogLevel::as_str));
        given.word("log.format", &mut file.log.format, self.log_format.map(LogFormat::as_str));
        given
    }
}

impl Given {
    fn list(&mut self, key: &'static str, of_file: &mut Vec<String>, given: &[String]) {
        if !given.is_empty() {
            self.0.insert(key);
            given.clone_into(of_file);
        }
    }

    fn text(&mut self, key: &'static str, of_file: &mut Option<String>, given: Option<String>) {
        if given.is_some() {
            self.0.insert(key);
            *of_file = given;
        }
    }

    fn path(&mut self, key: &'static str, of_file: &mut Option<PathBuf>, given: Option<&PathBuf>) {
        if let Some(path) = given {
            self.0.insert(key);
            *of_file = Some(path.clone());
        }
    }

    fn word(&mut self, key: &'static str, of_file: &mut String, given: Option<&str>) {
        if let Some(word) = given {
            self.0.insert(key);
            word.clone_into(of_file);
        }
    }
}
