//! What is asked of every parser of bytes from outside: it never panics, and what it accepts keeps its meaning.
//!
//! One function for each target in `fuzz_targets/`. `tests/it/fuzz_seeds.rs` runs every seed through the same
//! functions, so this file uses nothing of the fuzzer.

use std::fmt::Debug;

use atp::mailbox::webhook::url::{Host, Url};
use atp::proto::address::{Address, Domain};
use atp::proto::atk::KeyRecord;
use atp::proto::ats::{self, Policy};
use atp::proto::message::Message;
use atp::proto::receipt::Receipt;
use atp::proto::signature::{KeyId, Signature};
use atp::proto::svcb::{PROTOCOLS, Svcb};
use atp::proto::{canonical, json, routing};
use atp::spool::entry::{self, AccountRecord, MailRecord, ReceivedIdentity, Row, SentRecord};
use atp::transfer::reply::{self, Meaning, Reply};
use serde::{Serialize, de::DeserializeOwned};

/// Addresses and domains read back as themselves.
pub fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(address) = Address::parse(&text) {
        assert_eq!(Address::parse(&address.to_string()), Ok(address));
    }
    if let Ok(domain) = Domain::parse(&text) {
        assert_eq!(Domain::parse(domain.as_str()), Ok(domain));
    }
}

/// A URL of a webhook has one reading: what is put together from its parts reads back as the same.
pub fn webhook_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(url) = Url::parse(&text) else { return };
    assert!(text.is_ascii() && !text.contains(['@', '#', '\\']) | url.path.contains('@'), "{text}");
    assert!(url.port == 443 || url.port >= 1024);
    if let Host::Name(name) = &url.host {
        assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
    }
    let again = format!("https://{}{}", url.authority(), url.path);
    if again.len() <= 2048 {
        assert_eq!(Url::parse(&again), Ok(url));
    }
}

/// A message keeps its fields through our own bytes, and a receipt what it says.
pub fn message(data: &[u8]) {
    let Ok(message) = Message::parse(data) else { return };
    let again = Message::parse(&message.to_bytes()).expect("our own bytes");
    assert_eq!(again.object(), message.object());
    if let Some(Ok(receipt)) = Receipt::read(&message) {
        let written = Message::from_object(receipt.message(message.to(), 1)).expect("our own message");
        let about = Address::postmaster(receipt.recipient.domain());
        assert_eq!((written.from(), Receipt::read(&written)), (&about, Some(Ok(receipt))));
    }
}

/// The canonical form of a canonical form is itself, in both kinds.
pub fn canonical(data: &[u8]) {
    let Ok(value) = json::parse(data) else { return };
    let Some(object) = value.as_object() else { return };
    let object_of = |bytes: &[u8]| {
        let value = json::parse(bytes).expect("a canonical form is JSON we take");
        value.as_object().expect("an object").clone()
    };
    let jcs = canonical::rfc8785(object).expect("what was parsed has a form");
    assert_eq!(canonical::rfc8785(&object_of(&jcs)), Ok(jcs));
    let reference = canonical::reference(object);
    assert_eq!(canonical::reference(&object_of(&reference)), reference);
}

/// A record is used only if it lists a protocol of ours, or none. Bytes: how many mandatory keys, these keys in
/// two bytes each, then protocols separated by NUL.
pub fn svcb(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else { return };
    let (keys, protocols) = rest.split_at(rest.len().min(usize::from(*count) * 2));
    let mandatory: Vec<u16> = keys.chunks_exact(2).map(|key| u16::from_be_bytes([key[0], key[1]])).collect();
    let alpn: Vec<Vec<u8>> = protocols.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let spoken = alpn.iter().any(|offered| PROTOCOLS.contains(&offered.as_slice()));
    let present = mandatory.clone();
    let record = Svcb { priority: 1, mandatory, present, alpn: Some(alpn), ..Svcb::default() };
    assert!(record.usable().is_err() || spoken);
}

/// Records separated by NUL: at most one is chosen, and it is one of them.
pub fn ats(data: &[u8]) {
    let records: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    if let Ok(Some(text)) = ats::select(&records) {
        let _ = Policy::parse(&text);
        assert!(records.iter().any(|record| String::from_utf8_lossy(record) == text));
    }
}

/// A key record prints as what reads back the same.
pub fn atk(data: &[u8]) {
    if let Ok(record) = KeyRecord::parse(&String::from_utf8_lossy(data)) {
        assert_eq!(KeyRecord::parse(&record.to_string()), Ok(record));
    }
}

/// A signature object, and the name of a key.
pub fn signature(data: &[u8]) {
    if let Ok(id) = KeyId::parse(&String::from_utf8_lossy(data)) {
        assert_eq!(KeyId::parse(&id.to_string()), Ok(id));
    }
    let Ok(value) = json::parse(data) else { return };
    if let Ok(signature) = Signature::parse(&value) {
        let again = Signature::parse(&signature.to_value(0)).expect("our own object");
        assert_eq!((again.key_id, again.bytes), (signature.key_id, signature.bytes));
    }
}

/// A peer's answer; the first two bytes are its status. Only 202 is a delivery.
pub fn peer_reply(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk::<2>() else { return };
    let status = u16::from_be_bytes(*status);
    let reply = Reply { status, body: body.to_vec(), ..Reply::default() };
    let meaning = reply::read(&reply, 0);
    assert_eq!(matches!(meaning, Meaning::Delivered), status == 202);
    if let Meaning::Failed(failure) = meaning {
        assert!(failure.text.chars().count() <= 300, "{}", failure.text);
        assert!(!failure.text.contains('\n') && failure.code.len() <= 12, "{failure:?}");
    }
}

/// A transfer's author is restored for good: reading what was restored changes nothing.
pub fn routing_read(data: &[u8]) {
    let Ok(received) = Message::parse(data) else { return };
    let Ok(restored) = routing::read(&received) else { return };
    assert_eq!(restored.author.from(), received.from());
    let again = routing::read(&restored.author).expect("an author's message");
    assert_eq!((again.digest, again.author.object()), (restored.digest, restored.author.object()));
}

/// A record of the store; the first byte says of which kind. Damage is an error, never a panic.
pub fn record(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 5 {
        0 => recoded::<Row>(bytes),
        1 => recoded::<MailRecord>(bytes),
        2 => recoded::<ReceivedIdentity>(bytes),
        3 => recoded::<SentRecord>(bytes),
        _ => recoded::<AccountRecord>(bytes),
    }
}

fn recoded<T: Serialize + DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(record) = entry::decode::<T>(bytes) {
        let again = entry::encode(&record).expect("what was read");
        assert_eq!(entry::decode::<T>(&again).expect("our own bytes"), record);
    }
}
