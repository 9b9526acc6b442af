//! Another domain that has a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};

use crate::site::Site;
use crate::suite::{Outcome, ensure, until};
use crate::wire::canonical;
use crate::wire::dns_message::{Svcb, kind};
use crate::wire::peer::{Answer, Desk, Request, listen};

/// Which canonical form a signature holds over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Rfc8785,
    Reference,
}

pub struct Neighbour {
    site: Arc<Site>,
    pub domain: String,
    pub host: String,
    pub address: SocketAddr,
    pub desk: Arc<Desk>,
}

impl Neighbour {
    /// Capabilities of a server that understands everything.
    pub const FULL: &'static str = r#"{"version":"1.0","capabilities":["message","rcpt","fields","receipt"],"protocols":["atp/1"],"max_payload_size":1048576,"max_message_age":259200}"#;
    /// Those of the reference.
    pub const REFERENCE: &'static str =
        r#"{"version":"1.0","capabilities":["message"],"protocols":["atp/1"],"max_payload_size":1048576}"#;

    /// A domain with its server, in DNS as it should be.
    pub async fn start(site: &Arc<Site>, capabilities: &str) -> Result<Neighbour, String> {
        let neighbour =
            Neighbour::hidden(site, capabilities, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        neighbour.publish();
        Ok(neighbour)
    }

    /// The same, at an address of its own choice and with nothing in DNS but the host's address.
    pub async fn hidden(site: &Arc<Site>, capabilities: &str, at: SocketAddr) -> Result<Neighbour, String> {
        let domain = site.fresh_domain();
        let host = format!("atp.{domain}");
        let certificate = site.authority.issue(&[&host]).map_err(|e| e.to_string())?;
        let presented = serde_json::from_str(capabilities).map_err(|e| e.to_string())?;
        let desk = Desk::new(certificate.server(&["http/1.1"])?, Answer::Json(200, Vec::new(), presented));
        let (listener, address) = listen(at).await?;
        desk.serve(listener);
        site.place(&host, address);
        Ok(Neighbour { site: Arc::clone(site), domain, host, address, desk })
    }

    /// Says in DNS where the server is.
    pub fn publish(&self) {
        self.services(vec![self.service(1)]);
    }

    /// The record that names this server.
    pub fn service(&self, priority: u16) -> Svcb {
        Svcb::new(priority, &self.host).alpn(&["atp/1", "h2", "http/1.1"]).port(self.address.port())
    }

    /// What is at `_atp.<domain>`.
    pub fn services(&self, records: Vec<Svcb>) {
        self.site.dns.set(&self.name(), kind::SVCB, records.into_iter().map(Svcb::data).collect());
    }

    /// Where its SVCB records are.
    pub fn name(&self) -> String {
        format!("_atp.{}", self.domain)
    }

    pub fn agent(&self, local: &str) -> String {
        format!("{local}@{}", self.domain)
    }

    /// Shows a certificate for these names.
    pub fn show(&self, names: &[&str], protocols: &[&str]) -> Outcome {
        let certificate = self.site.authority.issue(names).map_err(|e| e.to_string())?;
        self.desk.change(certificate.server(protocols)?);
        Ok(())
    }

    /// The messages it has been handed, once there are so many.
    pub async fn gets(&self, count: usize) -> Result<Vec<Request>, String> {
        let what = format!("message {count} at the peer");
        until(&what, || async { Ok(Some(self.desk.messages()).filter(|all| all.len() >= count)) }).await
    }

    /// The first message it has been handed.
    pub async fn gets_one(&self) -> Result<Value, String> {
        let requests = self.gets(1).await?;
        requests.first().map(Request::json).ok_or_else(|| "no message".to_owned())
    }

    /// That the signature of a message holds over that form, by the key of the tested server.
    pub fn verify(&self, message: &Value, form: Form) -> Outcome {
        let signature = &message["signature"];
        let bytes = signature["signature"].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
        let bytes = bytes.and_then(|bytes| Signature::from_slice(&bytes).ok());
        let bytes = bytes.ok_or_else(|| format!("no signature: {signature}"))?;
        let key =
            VerifyingKey::from_bytes(&self.site.target.key).map_err(|e| format!("the server's key: {e}"))?;
        let signed = match form {
            Form::Rfc8785 => canonical::rfc8785(message),
            Form::Reference => canonical::reference(message),
        };
        let holds = key.verify_strict(&signed, &bytes).is_ok();
        ensure(holds, || format!("the signature does not hold over {}", String::from_utf8_lossy(&signed)))
    }
}

/// A number of capabilities as JSON.
pub fn capabilities(tokens: &[&str], max_payload_size: u64) -> Answer {
    let body = json!({
        "version": "1.0", "capabilities": tokens, "protocols": ["atp/1"],
        "max_payload_size": max_payload_size, "max_message_age": 259_200,
    });
    Answer::Json(200, Vec::new(), body)
}
