//! The files that a configuration names.

use std::path::{Path, PathBuf};

use super::Config;
use super::checked::{CertificateFiles, Challenge, Publisher};
use super::document::segment;

/// What a file must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A certificate chain in PEM; its key is the next file in the list.
    Chain,
    /// The private key of the chain before it.
    Key,
    /// Certificate authorities in PEM.
    Authorities,
    /// Servers known without DNS.
    Peers,
    /// Records that replace DNS answers.
    Overrides,
    /// A program.
    Program,
    /// The key of dynamic updates.
    UpdateKey,
    /// The key that binds an account at an authority to its customer.
    BindingKey,
}

/// A file and the key that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// With its section.
    pub key: String,
    /// Where it is.
    pub path: PathBuf,
    /// What it must be.
    pub kind: Kind,
}

impl Config {
    /// Every file that is named.
    pub fn files(&self) -> Vec<Named> {
        let mut files = Files::default();
        files.pair("server", self.server.certificate.as_ref());
        files.one("dns.overrides", self.dns.overrides.as_deref(), Kind::Overrides);
        files.one("dns.peers", self.dns.peers.as_deref(), Kind::Peers);
        files.one("tls.extra_roots", self.extra_roots.as_deref(), Kind::Authorities);
        for (domain, destination) in &self.destinations {
            let key = format!("tls.destination.{}.ca", segment(domain.as_str()));
            files.one(&key, destination.ca.as_deref(), Kind::Authorities);
        }
        if let Some(acme) = &self.acme {
            files.one("acme.ca", acme.ca.as_deref(), Kind::Authorities);
            let binding = acme.binding.as_ref().map(|binding| binding.key.as_path());
            files.one("acme.eab_key_file", binding, Kind::BindingKey);
            match &acme.challenge {
                Challenge::Dns(Publisher::Hook(hook)) => {
                    files.one("acme.hook", Some(hook.as_path()), Kind::Program);
                }
                Challenge::Dns(Publisher::Update { key, .. }) => {
                    files.one("acme.nsupdate_key", key.as_deref(), Kind::UpdateKey);
                }
                Challenge::Http(_) => {}
            }
        }
        for (domain, settings) in &self.of_domains {
            let section = format!("domain.{}", segment(domain.as_str()));
            files.pair(&section, settings.certificate.as_ref());
        }
        files.0
    }
}

#[derive(Default)]
struct Files(Vec<Named>);

impl Files {
    fn one(&mut self, key: &str, path: Option<&Path>, kind: Kind) {
        self.0.extend(path.map(|path| Named { key: key.to_owned(), path: path.to_owned(), kind }));
    }

    fn pair(&mut self, section: &str, files: Option<&CertificateFiles>) {
        self.one(&format!("{section}.cert"), files.map(|files| files.chain.as_path()), Kind::Chain);
        self.one(&format!("{section}.key"), files.map(|files| files.key.as_path()), Kind::Key);
    }
}
