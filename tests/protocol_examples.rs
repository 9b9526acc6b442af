//! The worked examples in `docs/protocol.md` are what this crate writes, signs and verifies.
//!
//! An example is a fenced block whose first line ends in the example's name, as in "```json transfer".

use atp::proto::address::Address;
use atp::proto::atk::KeyRecord;
use atp::proto::canonical;
use atp::proto::message::Message;
use atp::proto::receipt::Receipt;
use atp::proto::routing::{self, CopyNonce, Shape};
use atp::proto::signature::Signature;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::VerifyingKey;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

const DOCUMENT: &str = include_str!("../docs/protocol.md");
const US: Shape = Shape { rcpt: true, fields: true, reference: false, nonce: CopyNonce::Author };
const REFERENCE: Shape = Shape { rcpt: false, fields: false, reference: true, nonce: CopyNonce::Copy };

/// The block called `name`, without its fences and without the line feed at its end.
fn example(name: &str) -> &'static str {
    let mut blocks = DOCUMENT.split("\n```").skip(1).step_by(2);
    let block = blocks.find_map(|block| {
        let (info, text) = block.split_once('\n')?;
        info.split_once(' ').is_some_and(|(_, label)| label == name).then_some(text)
    });
    block.unwrap_or_else(|| panic!("no example {name:?} in docs/protocol.md"))
}

fn object(name: &str) -> Map<String, Value> {
    serde_json::from_str(example(name)).unwrap_or_else(|e| panic!("example {name:?}: {e}"))
}

fn message(name: &str) -> Message {
    Message::parse(example(name).as_bytes()).unwrap_or_else(|e| panic!("example {name:?}: {e}"))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The key as the example of its record gives it.
fn key() -> VerifyingKey {
    let record = example("example-key").split('"').nth(1).expect("a quoted TXT record");
    VerifyingKey::from_bytes(&KeyRecord::parse(record).unwrap().key).unwrap()
}

/// Asserts that the signature holds, and that the document says how many bytes it was made over.
fn assert_signed(signed: &str, signature: &[u8; 64]) {
    assert!(DOCUMENT.contains(&format!("{} bytes", signed.len())), "{} bytes: {signed}", signed.len());
    key().verify_strict(signed.as_bytes(), &ed25519_dalek::Signature::from_bytes(signature)).unwrap();
}

#[test]
fn both_canonical_forms_of_the_numbers() {
    let numbers = message("numbers");
    for (form, bytes) in [
        ("rfc8785", canonical::rfc8785(numbers.object()).unwrap()),
        ("reference", canonical::reference(numbers.object())),
    ] {
        let shown = example(&format!("numbers.{form}"));
        assert_eq!(text(bytes), shown, "{form}");
        let signature = STANDARD.decode(example(&format!("numbers.{form}.signature"))).unwrap();
        assert_signed(shown, &signature.try_into().unwrap());
    }
}

#[test]
fn both_transfers_are_written_and_signed_as_shown() {
    let carol = Address::parse("carol@b.example").unwrap();
    for (name, shape) in [("transfer", US), ("transfer-to-the-reference", REFERENCE)] {
        let shown = object(name);
        let stamp = shown["timestamp"].as_i64().unwrap();
        let mut unsigned = shown.clone();
        let signature = Signature::parse(&unsigned.remove("signature").unwrap()).unwrap();
        assert_eq!(routing::write(&message("submission"), &carol, shape, stamp), unsigned, "{name}");

        let signed = match shape.reference {
            true => canonical::reference(&shown),
            false => canonical::rfc8785(&shown).unwrap(),
        };
        let signed = text(signed);
        assert_eq!(signed, example(&format!("{name}.signed")), "{name}");
        assert_signed(&signed, &signature.bytes);
    }
}

#[test]
fn both_transfers_are_one_delivery() {
    let (canonical, digest) = example("digest").split_once("\n  = ").unwrap();
    let restored =
        ["transfer", "transfer-to-the-reference"].map(|name| routing::read(&message(name)).unwrap());
    for read in &restored {
        assert_eq!(hex(&read.digest), digest);
        assert_eq!(read.recipient.to_string(), "carol@b.example");
        assert_eq!(Value::Object(read.author.object().clone()), object("messages")["messages"][0]);
    }
    assert_eq!(restored[0].identity(), restored[1].identity());
    assert_eq!(hex(&Sha256::digest(canonical)), digest);

    let (_, hash) = example("copy-nonce").split_once("\n  = ").unwrap();
    assert_eq!(hex(&restored[0].identity().hash()), hash);
}

#[test]
fn a_receipt_is_written_and_read_as_shown() {
    let shown = message("receipt");
    let receipt = Receipt::read(&shown).unwrap().unwrap();
    assert_eq!(receipt.message(shown.to(), shown.timestamp()), object("receipt"));
    let (_, hash) = example("receipt-nonce").split_once("\n  = ").unwrap();
    assert_eq!(shown.nonce().as_str(), format!("rcpt-{}", &hash[..32]));
}

#[test]
fn every_other_json_example_is_json() {
    let blocks = DOCUMENT.split("\n```").skip(1).step_by(2).filter(|block| block.starts_with("json"));
    for block in blocks {
        let (info, text) = block.split_once('\n').unwrap();
        serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{info}: {e}"));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
