//! Another domain: it has a key, publishes what it likes, and signs transfers as its server would.

use atp::proto::address::Domain;
use atp::proto::atk::KeyRecord;
use atp::proto::canonical;
use atp::proto::signature::{KeyId, Signature};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::Value;

use super::zone::Zone;
use super::{message, now};

/// A policy that lets these tests send.
pub const LOOPBACK_POLICY: &str = "v=atp1 allow=ip:127.0.0.1 deny=all";

pub struct Foreign {
    domain: Domain,
    key: SigningKey,
}

impl Foreign {
    /// A domain whose key is made from its name, with nothing in DNS.
    pub fn new(domain: &str) -> Foreign {
        let domain = Domain::parse(domain).unwrap();
        let mut seed = [0; 32];
        for (byte, letter) in seed.iter_mut().zip(domain.as_str().bytes()) {
            *byte = letter;
        }
        Foreign { domain, key: SigningKey::from_bytes(&seed) }
    }

    /// The same with policy and key in DNS as they should be.
    pub fn published(domain: &str, zone: &mut Zone) -> Foreign {
        let foreign = Foreign::new(domain);
        zone.txt(&foreign.policy_name(), LOOPBACK_POLICY);
        zone.txt(&foreign.key_name(), &foreign.key_record().to_string());
        foreign
    }

    pub fn policy_name(&self) -> String {
        format!("ats._atp.{}", self.domain)
    }

    pub fn key_name(&self) -> String {
        format!("default.atk._atp.{}", self.domain)
    }

    pub fn key_record(&self) -> KeyRecord {
        KeyRecord { key: self.key.verifying_key().to_bytes(), revoked: false, expires: None }
    }

    /// An agent's address there.
    pub fn agent(&self, local: &str) -> String {
        format!("{local}@{}", self.domain)
    }

    /// A signed message of its agent `eve`.
    pub fn transfer(&self, to: &str) -> Value {
        self.sign(message(&self.agent("eve"), to))
    }

    /// The message with a `signature` over everything else in it.
    pub fn sign(&self, message: Value) -> Value {
        self.sign_as(&self.key_name(), message)
    }

    /// The same under another key's name.
    pub fn sign_as(&self, key_id: &str, mut message: Value) -> Value {
        let object = message.as_object_mut().unwrap();
        let bytes = self.key.sign(&canonical::rfc8785(object).unwrap()).to_bytes();
        let signature = Signature { key_id: KeyId::parse(key_id).unwrap(), bytes };
        object.insert("signature".into(), signature.to_value(now()));
        message
    }
}
