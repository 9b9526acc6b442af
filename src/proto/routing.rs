//! How a message travels: a transfer is for exactly one recipient, and its shape depends on what the peer
//! understands (`docs/protocol.md` §4). [`write()`] makes the transfer of an author's message, [`read`] gives
//! the author's message back; whatever the shape, both ends see one identity and one digest.

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::address::{Address, AddressError};
use super::canonical::{self, COVERED_BY_REFERENCE, CanonicalError};
use super::message::{self, Message, MessageError};
use super::nonce::{DerivedDigits, Nonce, NonceError};

/// Under which nonce a transfer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, Deserialize)]
pub enum CopyNonce {
    /// The author's.
    Author,
    /// `c-` and 32 digits of the identity's hash: a further copy to a server that keeps one message per nonce.
    Copy,
    /// `d-` and the same digits, from the second on `d2-`, `d3-` and so on: once more to a server that remembers
    /// the nonce of an earlier try, but not its message. Counted from 1.
    Retry(u16),
}

/// What of a transfer depends on the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The peer reads `routing.atp.rcpt`; otherwise `to` must be the recipient.
    pub rcpt: bool,
    /// The peer keeps top-level fields it does not know; otherwise they go into `routing.atp.fields`.
    pub fields: bool,
    /// The peer checks signatures in the reference's form. Decides nothing here, only how to sign.
    pub reference: bool,
    /// Under which nonce.
    pub nonce: CopyNonce,
}

/// One delivery: whoever sees the same identity twice has the same message twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The sender.
    pub from: Address,
    /// The author's nonce.
    pub nonce: Nonce,
    /// For whom.
    pub recipient: Address,
}

impl Identity {
    /// SHA-256 of the three, lower-cased where they are addresses, with NUL between.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(format!("{}\0{}\0{}", self.from, self.nonce, self.recipient)).into()
    }

    /// What its derived nonces have in common.
    pub fn derived_digits(&self) -> DerivedDigits {
        self.hash().first_chunk().copied().unwrap_or_default()
    }

    fn copy_nonce(&self, kind: CopyNonce) -> Nonce {
        let digits = self.derived_digits();
        match kind {
            CopyNonce::Author => self.nonce.clone(),
            CopyNonce::Copy => Nonce::derived("c-", &digits),
            CopyNonce::Retry(0 | 1) => Nonce::derived("d-", &digits),
            CopyNonce::Retry(number) => Nonce::derived(&format!("d{number}-"), &digits),
        }
    }
}

/// Builds the unsigned transfer of an author's message to one recipient, stamped `stamp` (Unix seconds).
///
/// `from`, `to` and `cc` come out lower-cased; an empty `cc` and a `routing.atp` of the author's are dropped.
pub fn write(author: &Message, recipient: &Address, shape: Shape, stamp: i64) -> Map<String, Value> {
    let mut transfer = author.object().clone();
    let mut atp = Map::new();
    transfer.remove("signature");
    transfer.insert("from".into(), text(author.from()));
    if shape.rcpt {
        write_recipients(&mut transfer, author.to(), author.cc());
        if recipient != author.to() {
            atp.insert("rcpt".into(), text(recipient));
        }
    } else {
        write_for_recipient_in_to(&mut transfer, &mut atp, author, recipient);
    }
    if shape.nonce != CopyNonce::Author {
        let identity = identity(author, recipient);
        transfer.insert("nonce".into(), identity.copy_nonce(shape.nonce).as_str().into());
        atp.insert("nonce".into(), author.nonce().as_str().into());
    }
    if !shape.fields {
        let (kept, moved): (Map<_, _>, Map<_, _>) =
            transfer.into_iter().partition(|(field, _)| COVERED_BY_REFERENCE.contains(&field.as_str()));
        transfer = kept;
        if !moved.is_empty() {
            atp.insert("fields".into(), Value::Object(moved));
        }
    }
    transfer.insert("timestamp".into(), stamp.into());
    if stamp != author.timestamp() {
        atp.insert("submitted_at".into(), author.timestamp().into());
    }
    attach(&mut transfer, atp);
    transfer
}

/// The identity of an author's message towards one recipient.
pub fn identity(author: &Message, recipient: &Address) -> Identity {
    Identity { from: author.from().clone(), nonce: author.nonce().clone(), recipient: recipient.clone() }
}

fn text(address: &Address) -> Value {
    Value::String(address.to_string())
}

fn write_recipients(object: &mut Map<String, Value>, to: &Address, cc: &[Address]) {
    object.insert("to".into(), text(to));
    if cc.is_empty() {
        object.remove("cc");
    } else {
        object.insert("cc".into(), cc.iter().map(text).collect());
    }
}

/// For peers that deliver to `to` alone: the recipient stands there, the others in `cc`.
fn write_for_recipient_in_to(
    transfer: &mut Map<String, Value>,
    atp: &mut Map<String, Value>,
    author: &Message,
    recipient: &Address,
) {
    let everyone = std::iter::once(author.to()).chain(author.cc());
    let mut others = without_duplicates(everyone);
    others.retain(|address| address != recipient);
    write_recipients(transfer, recipient, &others);
    if recipient != author.to() {
        atp.insert("to".into(), text(author.to()));
    }
    if others != author.cc() {
        atp.insert("cc".into(), author.cc().iter().map(text).collect());
    }
}

fn without_duplicates<'a>(addresses: impl Iterator<Item = &'a Address>) -> Vec<Address> {
    let mut unique = Vec::new();
    for address in addresses {
        if !unique.contains(address) {
            unique.push(address.clone());
        }
    }
    unique
}

/// Puts `atp` in the place of whatever `routing.atp` was there.
fn attach(object: &mut Map<String, Value>, atp: Map<String, Value>) {
    let mut routing = match object.remove("routing") {
        Some(Value::Object(routing)) => routing,
        _ => Map::new(),
    };
    routing.remove("atp");
    if !atp.is_empty() {
        routing.insert("atp".into(), Value::Object(atp));
    }
    if !routing.is_empty() {
        object.insert("routing".into(), Value::Object(routing));
    }
}

/// Why the `routing.atp` of a transfer cannot be read. Each sentence is fit for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// `rcpt` or `to` is not a string.
    #[error("`routing.atp.{0}` is not a string")]
    NotText(&'static str),
    /// `rcpt` or `to` is no address.
    #[error("`routing.atp.{0}` is not an address: {1}")]
    Address(&'static str, AddressError),
    /// `cc` is not an array of addresses.
    #[error("in `routing.atp`: {0}")]
    Cc(MessageError),
    /// `nonce` has not the form of one.
    #[error("`routing.atp.nonce` is malformed: {0}")]
    Nonce(NonceError),
    /// `submitted_at` has not the form of a timestamp.
    #[error("`routing.atp.submitted_at` is not a whole number of Unix seconds")]
    SubmittedAt,
    /// `fields` is not an object.
    #[error("`routing.atp.fields` is not an object")]
    Fields,
    /// `fields` holds a field that has its own place.
    #[error("`routing.atp.fields` holds a field that belongs elsewhere")]
    FieldElsewhere,
    /// A restored field has not its form.
    #[error("in `routing.atp.fields`: {0}")]
    Field(MessageError),
    /// No digest could be made.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
}

/// What a transfer carried.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// For whom it is: `routing.atp.rcpt`, else `to` as received.
    pub recipient: Address,
    /// What readers are given: the author's message, without `routing.atp`. It has the signature only if
    /// it is exactly what was signed, that is if there was no `routing.atp`.
    pub author: Message,
    /// See [`digest`].
    pub digest: [u8; 32],
}

impl Restored {
    /// The identity of this delivery.
    pub fn identity(&self) -> Identity {
        identity(&self.author, &self.recipient)
    }

    /// The author's nonce.
    pub fn nonce(&self) -> &Nonce {
        self.author.nonce()
    }
}

/// Restores the author's message from a transfer of either shape.
///
/// # Errors
/// [`RoutingError`] naming the member of `routing.atp` that is wrong.
pub fn read(received: &Message) -> Result<Restored, RoutingError> {
    let atp = received.routing().and_then(|routing| routing.get("atp")).and_then(Value::as_object);
    let (recipient, author) = match atp {
        None => (received.to().clone(), received.clone()),
        Some(atp) => (
            address(atp, "rcpt")?.unwrap_or_else(|| received.to().clone()),
            Message::from_object(restore(received, atp)?).map_err(RoutingError::Field)?,
        ),
    };
    Ok(Restored { recipient, digest: digest(&author)?, author })
}

fn restore(received: &Message, atp: &Map<String, Value>) -> Result<Map<String, Value>, RoutingError> {
    let mut author = received.object().clone();
    author.remove("signature");
    attach(&mut author, Map::new());
    let to = address(atp, "to")?;
    let cc = atp.get("cc").map(message::addresses).transpose().map_err(RoutingError::Cc)?;
    if to.is_some() || cc.is_some() {
        let to = to.as_ref().unwrap_or_else(|| received.to());
        write_recipients(&mut author, to, cc.as_deref().unwrap_or_else(|| received.cc()));
    }
    if let Some(nonce) = atp.get("nonce") {
        let nonce = nonce.as_str().ok_or(RoutingError::NotText("nonce"))?;
        author.insert("nonce".into(), Nonce::parse(nonce).map_err(RoutingError::Nonce)?.as_str().into());
    }
    if let Some(submitted_at) = atp.get("submitted_at") {
        let seconds = message::timestamp(submitted_at).ok_or(RoutingError::SubmittedAt)?;
        author.insert("timestamp".into(), seconds.into());
    }
    for (field, value) in fields(atp)? {
        author.entry(field).or_insert_with(|| value.clone());
    }
    Ok(author)
}

fn address(atp: &Map<String, Value>, member: &'static str) -> Result<Option<Address>, RoutingError> {
    let Some(value) = atp.get(member) else { return Ok(None) };
    let text = value.as_str().ok_or(RoutingError::NotText(member))?;
    Address::parse(text).map(Some).map_err(|error| RoutingError::Address(member, error))
}

/// The fields that travelled in `routing.atp.fields`; never one that would give the message another sender,
/// recipient, payload, routing or signature than the places checked for these.
fn fields(atp: &Map<String, Value>) -> Result<impl Iterator<Item = (&String, &Value)>, RoutingError> {
    let fields =
        atp.get("fields").map(|fields| fields.as_object().ok_or(RoutingError::Fields)).transpose()?;
    let elsewhere = |field: &String| field == "signature" || COVERED_BY_REFERENCE.contains(&field.as_str());
    if fields.is_some_and(|fields| fields.keys().any(elsewhere)) {
        return Err(RoutingError::FieldElsewhere);
    }
    Ok(fields.into_iter().flatten())
}

/// SHA-256 of the RFC 8785 form of an author's message: `from`, `to` and `cc` lower-cased and without
/// duplicates, an empty `cc` left out, and every other field but `timestamp`, `routing` and `signature`.
///
/// # Errors
/// [`CanonicalError`] if a number does not fit a double; never for a message parsed from bytes.
pub fn digest(author: &Message) -> Result<[u8; 32], CanonicalError> {
    Ok(Sha256::digest(canonical::to_jcs(&Content(author))?).into())
}

struct Content<'m>(&'m Message);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const NOT_AS_WRITTEN: [&str; 6] = ["from", "to", "cc", "timestamp", "routing", "signature"];
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in self.0.object() {
            if !NOT_AS_WRITTEN.contains(&field.as_str()) {
                map.serialize_entry(field, value)?;
            }
        }
        map.serialize_entry("from", &text(self.0.from()))?;
        map.serialize_entry("to", &text(self.0.to()))?;
        if !self.0.cc().is_empty() {
            let unique = without_duplicates(self.0.cc().iter());
            map.serialize_entry("cc", &unique.iter().map(text).collect::<Value>())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
