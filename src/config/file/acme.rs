use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[acme]`: certificates from an authority that speaks ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acme {
    /// `"off"`, `"dns-01"` or `"http-01"`.
    pub challenge: String,
    /// The authority's directory.
    pub directory: String,
    /// Whether the operator agrees to the authority's terms of service.
    pub agree_to_terms: bool,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// The host names in the certificate. Empty: those that SVCB names as the domains' servers by default.
    pub names: Vec<String>,
    /// How long before its end a certificate is renewed.
    pub renew_before: String,
    /// Program that publishes and removes the record of a `dns-01` challenge.
    pub hook: Option<PathBuf>,
    /// Name server that takes dynamic updates (RFC 2136), IP or IP:PORT, instead of `hook`.
    pub nsupdate_server: Option<String>,
    /// File with the key of these updates, as `tsig-keygen` writes it.
    pub nsupdate_key: Option<PathBuf>,
    /// IP:PORT where `http-01` challenges are answered, unless the service manager hands over a socket for that.
    pub http_listen: Option<String>,
    /// Name of the key by which the authority knows its customer (external account binding, RFC 8555 §7.3.4).
    pub eab_key_id: Option<String>,
    /// File with that key, as the authority writes it: base64url.
    pub eab_key_file: Option<PathBuf>,
    /// PEM file of the only authorities trusted at `directory`.
    pub ca: Option<PathBuf>,
}

impl Default for Acme {
    fn default() -> Acme {
        Acme {
            challenge: "off".into(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            agree_to_terms: false,
            email: None,
            names: Vec::new(),
            renew_before: "30d".into(),
            hook: None,
            nsupdate_server: None,
            nsupdate_key: None,
            http_listen: None,
            eab_key_id: None,
            eab_key_file: None,
            ca: None,
        }
    }
}
