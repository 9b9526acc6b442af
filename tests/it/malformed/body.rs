//! Bodies put together member by member, so that they can be wrong in ways no JSON library would write.

use atp::proto::json;

use crate::support::foreign::Foreign;
use crate::support::{new_nonce, now};

/// The members of an object and what stands around it, as text that is sent as it is.
#[derive(Clone)]
pub struct Body {
    members: Vec<(String, String)>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Body {
    /// A message to bob that lacks nothing but its sender.
    pub fn message() -> Body {
        let members = [
            ("to", r#""bob@ours.example""#.to_owned()),
            ("timestamp", now().to_string()),
            ("nonce", format!("\"{}\"", new_nonce())),
            ("type", r#""message""#.to_owned()),
            ("payload", r#"{"body":"x"}"#.to_owned()),
        ];
        let members = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Body { members, before: Vec::new(), after: Vec::new() }
    }

    /// With another value for a member, or one more member.
    pub fn set(mut self, name: &str, value: &str) -> Body {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_owned(),
            None => self.members.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// With one more member, even if there is one of that name. `name` is sent between quotes as it is.
    pub fn add(mut self, name: &str, value: &str) -> Body {
        self.members.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Body {
        self.members.retain(|(known, _)| known != name);
        self
    }

    /// With bytes before the object.
    pub fn after(mut self, bytes: &[u8]) -> Body {
        self.before = bytes.to_vec();
        self
    }

    /// With bytes behind the object.
    pub fn before(mut self, bytes: &[u8]) -> Body {
        self.after = bytes.to_vec();
        self
    }

    /// From alice, who is an agent of ours.
    pub fn submission(&self) -> Vec<u8> {
        self.clone().from("alice@ours.example").bytes()
    }

    /// From eve at `peer`, signed if it can be read at all.
    pub fn transfer(&self, peer: &Foreign) -> Vec<u8> {
        let body = self.clone().from(&peer.agent("eve"));
        match json::parse(&body.bytes()) {
            Ok(message) if message.is_object() && !self.has("signature") => {
                let signature = peer.sign(message)["signature"].to_string();
                body.add("signature", &signature).bytes()
            }
            _ => body.bytes(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(known, _)| known == name)
    }

    /// A case may have been about `from` itself.
    fn from(self, address: &str) -> Body {
        if self.has("from") { self } else { self.add("from", &format!("\"{address}\"")) }
    }

    fn bytes(&self) -> Vec<u8> {
        let members = self.members.iter().filter(|(_, value)| value != ABSENT);
        let members: Vec<String> = members.map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let object = format!("{{{}}}", members.join(","));
        [&self.before[..], object.as_bytes(), &self.after].concat()
    }
}

/// As a member's value: that it is not to be there, nor put there by somebody else.
pub const ABSENT: &str = "(absent)";
