//! A message of the right form (`docs/protocol.md` §2): its object as it was written, and its typed parts.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::address::{Address, AddressError};
use super::json::{self, JsonError};
use super::limits::MAX_CC;
use super::nonce::{Nonce, NonceError, is_token_byte};

/// Longest `type`, in bytes.
pub const MAX_TYPE_BYTES: usize = 64;
/// Longest `in_reply_to`, `task_id` and `context_id`, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 256;
/// Latest `timestamp`: the last second of the year 9999.
pub const MAX_TIMESTAMP_SECONDS: i64 = 253_402_300_799;

/// Why bytes or an object are no message. Each sentence is fit for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not I-JSON within the limits.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but not an object.
    #[error("a message is a JSON object")]
    NotObject,
    /// One of the six fields every message has is not there.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// `from` is no address.
    #[error("`from` is not an address: {0}")]
    From(AddressError),
    /// `from` is not a string.
    #[error("`from` is not a string")]
    FromNotText,
    /// `to` is no address.
    #[error("`to` is not an address: {0}")]
    To(AddressError),
    /// `to` is not a string.
    #[error("`to` is not a string")]
    ToNotText,
    /// `timestamp` is not an integer, or before 1970, or after the year 9999.
    #[error("`timestamp` is not a whole number of Unix seconds between 0 and 253402300799")]
    Timestamp,
    /// `nonce` is not a string.
    #[error("`nonce` is not a string")]
    NonceNotText,
    /// `nonce` has not the form of one.
    #[error("`nonce` is malformed: {0}")]
    Nonce(NonceError),
    /// `type` is not a string of 1–64 of `[A-Za-z0-9._:-]`.
    #[error("`type` is not a string of 1 to 64 of A-Z a-z 0-9 . _ : -")]
    Type,
    /// `payload` is not an object.
    #[error("`payload` is not an object")]
    Payload,
    /// `cc` is not an array of strings.
    #[error("`cc` is not an array of strings")]
    CcNotTexts,
    /// An element of `cc` is no address.
    #[error("an element of `cc` is not an address: {0}")]
    Cc(AddressError),
    /// More than [`MAX_CC`] elements in `cc`.
    #[error("`cc` holds more than 100 addresses")]
    CcTooMany,
    /// `in_reply_to` is not a string, or too long.
    #[error("`in_reply_to` is not a string of at most 256 bytes")]
    InReplyTo,
    /// `task_id` is not a string, or too long.
    #[error("`task_id` is not a string of at most 256 bytes")]
    TaskId,
    /// `context_id` is not a string, or too long.
    #[error("`context_id` is not a string of at most 256 bytes")]
    ContextId,
    /// `receipt` is not an array of the receipts there are.
    #[error("`receipt` is not an array of \"delivered\" and \"acked\"")]
    Receipt,
    /// `routing` is neither an object nor null.
    #[error("`routing` is not an object")]
    Routing,
    /// `routing.atp` is not an object.
    #[error("`routing.atp` is not an object")]
    RoutingAtp,
    /// `signature` is neither an object nor null.
    #[error("`signature` is not an object")]
    Signature,
}

/// The receipts a sender asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceiptsWanted {
    /// Once the message is in the mailbox.
    pub delivered: bool,
    /// Once the recipient has dealt with it.
    pub acked: bool,
}

/// A message of the right form. Whether anyone may send it, and who did, is not known by that.
///
/// The object is kept as it was written: spelling of addresses, text of numbers, unknown fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    object: Map<String, Value>,
    from: Address,
    to: Address,
    cc: Vec<Address>,
    timestamp: i64,
    nonce: Nonce,
    receipts: ReceiptsWanted,
}

impl Message {
    /// Parses a body.
    ///
    /// # Errors
    /// [`MessageError`] naming the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Message, MessageError> {
        match json::parse(bytes)? {
            Value::Object(object) => Message::from_object(object),
            _ => Err(MessageError::NotObject),
        }
    }

    /// Checks the fields of an object that was already found to be I-JSON within the limits, or built here.
    ///
    /// # Errors
    /// [`MessageError`] naming the first field that is wrong.
    pub fn from_object(object: Map<String, Value>) -> Result<Message, MessageError> {
        use MessageError as E;
        let message = Message {
            from: Address::parse(text(&object, "from", E::FromNotText)?).map_err(E::From)?,
            to: Address::parse(text(&object, "to", E::ToNotText)?).map_err(E::To)?,
            timestamp: timestamp(required(&object, "timestamp")?).ok_or(E::Timestamp)?,
            nonce: Nonce::parse(text(&object, "nonce", E::NonceNotText)?).map_err(E::Nonce)?,
            cc: object.get("cc").map_or(Ok(Vec::new()), addresses)?,
            receipts: object.get("receipt").map_or(Ok(ReceiptsWanted::default()), receipts)?,
            object,
        };
        check_type(text(&message.object, "type", E::Type)?)?;
        check_payload(required(&message.object, "payload")?)?;
        check_optional(&message.object)?;
        Ok(message)
    }

    /// The sender.
    pub fn from(&self) -> &Address {
        &self.from
    }

    /// The first recipient, as the author or, in a transfer, as the sending server wrote it.
    pub fn to(&self) -> &Address {
        &self.to
    }

    /// The further recipients in their order, possibly with duplicates. Empty if there is no `cc`.
    pub fn cc(&self) -> &[Address] {
        &self.cc
    }

    /// Unix seconds, 0 to [`MAX_TIMESTAMP_SECONDS`].
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// The nonce.
    pub fn nonce(&self) -> &Nonce {
        &self.nonce
    }

    /// `type`, such as `message`.
    pub fn kind(&self) -> &str {
        self.optional_text("type").unwrap_or_default()
    }

    /// The payload.
    pub fn payload(&self) -> &Map<String, Value> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.object.get("payload").and_then(Value::as_object).unwrap_or(&EMPTY)
    }

    /// `payload.subject`. `None`: there is none, or it is not a string.
    pub fn subject(&self) -> Option<&str> {
        self.payload().get("subject").and_then(Value::as_str)
    }

    /// The nonce or other name of the message this one answers.
    pub fn in_reply_to(&self) -> Option<&str> {
        self.optional_text("in_reply_to")
    }

    /// The task this message belongs to.
    pub fn task_id(&self) -> Option<&str> {
        self.optional_text("task_id")
    }

    /// The conversation this message belongs to.
    pub fn context_id(&self) -> Option<&str> {
        self.optional_text("context_id")
    }

    /// The receipts asked for.
    pub fn receipts_wanted(&self) -> ReceiptsWanted {
        self.receipts
    }

    /// `routing`. `None`: there is none, or null.
    pub fn routing(&self) -> Option<&Map<String, Value>> {
        self.object.get("routing").and_then(Value::as_object)
    }

    /// `signature`, an object. `None`: there is none, or null.
    pub fn signature(&self) -> Option<&Value> {
        self.object.get("signature").filter(|value| !value.is_null())
    }

    /// Everything, as it was written.
    pub fn object(&self) -> &Map<String, Value> {
        &self.object
    }

    /// Gives the object back.
    pub fn into_object(self) -> Map<String, Value> {
        self.object
    }

    /// The object as JSON, numbers in the text they had.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A tree of JSON values has string keys only, so writing it to memory cannot fail.
        serde_json::to_vec(&self.object).unwrap_or_default()
    }

    fn optional_text(&self, field: &str) -> Option<&str> {
        self.object.get(field).and_then(Value::as_str)
    }
}

fn required<'o>(object: &'o Map<String, Value>, field: &'static str) -> Result<&'o Value, MessageError> {
    object.get(field).ok_or(MessageError::Missing(field))
}

fn text<'o>(
    object: &'o Map<String, Value>,
    field: &'static str,
    otherwise: MessageError,
) -> Result<&'o str, MessageError> {
    required(object, field)?.as_str().ok_or(otherwise)
}

/// Unix seconds written as digits only: `1.7e9` or `1700000000.0` would be covered by a signature in another
/// spelling than the one we keep.
pub(super) fn timestamp(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    let digits = number.as_str();
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|seconds| plain && (0..=MAX_TIMESTAMP_SECONDS).contains(seconds))
}

/// An array of address strings, at most [`MAX_CC`].
pub(super) fn addresses(value: &Value) -> Result<Vec<Address>, MessageError> {
    let array = value.as_array().ok_or(MessageError::CcNotTexts)?;
    if array.len() > MAX_CC {
        return Err(MessageError::CcTooMany);
    }
    let parse = |element: &Value| {
        Address::parse(element.as_str().ok_or(MessageError::CcNotTexts)?).map_err(MessageError::Cc)
    };
    array.iter().map(parse).collect()
}

fn receipts(value: &Value) -> Result<ReceiptsWanted, MessageError> {
    let mut wanted = ReceiptsWanted::default();
    for element in value.as_array().ok_or(MessageError::Receipt)? {
        match element.as_str() {
            Some("delivered") => wanted.delivered = true,
            Some("acked") => wanted.acked = true,
            _ => return Err(MessageError::Receipt),
        }
    }
    Ok(wanted)
}

fn check_type(kind: &str) -> Result<(), MessageError> {
    let fits = (1..=MAX_TYPE_BYTES).contains(&kind.len()) && kind.bytes().all(is_token_byte);
    if fits { Ok(()) } else { Err(MessageError::Type) }
}

fn check_payload(payload: &Value) -> Result<(), MessageError> {
    if payload.is_object() { Ok(()) } else { Err(MessageError::Payload) }
}

fn check_optional(object: &Map<String, Value>) -> Result<(), MessageError> {
    use MessageError as E;
    let references = [("in_reply_to", E::InReplyTo), ("task_id", E::TaskId), ("context_id", E::ContextId)];
    for (field, wrong) in references {
        let short_text = |value: &Value| value.as_str().is_some_and(|text| text.len() <= MAX_REFERENCE_BYTES);
        if !object.get(field).is_none_or(short_text) {
            return Err(wrong);
        }
    }
    let routing = match object.get("routing") {
        None | Some(Value::Null) => None,
        Some(routing) => Some(routing.as_object().ok_or(E::Routing)?),
    };
    if routing.and_then(|routing| routing.get("atp")).is_some_and(|atp| !atp.is_object()) {
        return Err(E::RoutingAtp);
    }
    match object.get("signature") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err(E::Signature),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn minimal() -> Map<String, Value> {
        let value = json!({
            "from": "Ann@A.example", "to": "bob@b.example", "timestamp": 1_700_000_000, "nonce": "msg-1",
            "type": "message", "payload": {"subject": "Hi", "body": "there"}
        });
        value.as_object().unwrap().clone()
    }

    fn with(field: &str, value: Value) -> Result<Message, MessageError> {
        let mut object = minimal();
        object.insert(field.to_owned(), value);
        Message::from_object(object)
    }

    #[test]
    fn parts_are_typed_and_the_object_is_kept() {
        let mut object = minimal();
        for (field, value) in [
            ("cc", json!(["C@C.example", "c@c.example"])),
            ("in_reply_to", json!("msg-0")),
            ("task_id", json!("t")),
            ("context_id", json!("")),
            ("receipt", json!(["acked"])),
            ("routing", json!({"hops": 1})),
            ("signature", json!({"key_id": "k"})),
            ("x-new", json!(1)),
        ] {
            object.insert(field.to_owned(), value);
        }
        let message = Message::from_object(object.clone()).unwrap();
        assert_eq!(message.from().to_string(), "ann@a.example");
        assert_eq!(message.to().to_string(), "bob@b.example");
        assert_eq!(message.cc().len(), 2);
        assert_eq!(message.timestamp(), 1_700_000_000);
        assert_eq!(message.nonce().as_str(), "msg-1");
        assert_eq!(message.kind(), "message");
        assert_eq!(message.subject(), Some("Hi"));
        assert_eq!(message.payload().len(), 2);
        assert_eq!(message.in_reply_to(), Some("msg-0"));
        assert_eq!(message.task_id(), Some("t"));
        assert_eq!(message.context_id(), Some(""));
        assert_eq!(message.receipts_wanted(), ReceiptsWanted { delivered: false, acked: true });
        assert_eq!(message.routing().unwrap().len(), 1);
        assert!(message.signature().is_some());
        assert_eq!(message.object()["from"], "Ann@A.example");
        assert_eq!(Message::parse(&message.to_bytes()).unwrap(), message);
        assert_eq!(message.into_object(), object);
    }

    #[test]
    fn nulls_that_mean_absent() {
        let message = with("signature", Value::Null).unwrap();
        assert!(message.signature().is_none());
        let message = with("routing", Value::Null).unwrap();
        assert!(message.routing().is_none());
    }

    #[test]
    fn every_missing_field_is_named() {
        for field in ["from", "to", "timestamp", "nonce", "type", "payload"] {
            let mut object = minimal();
            object.remove(field);
            assert_eq!(Message::from_object(object), Err(MessageError::Missing(field)));
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        use MessageError as E;
        let many = vec!["a@b.example"; MAX_CC + 1];
        let cases = [
            ("from", json!(1), E::FromNotText),
            ("from", json!("ann"), E::From(AddressError::NotOneAt)),
            ("to", Value::Null, E::ToNotText),
            ("to", json!("@b.example"), E::To(AddressError::LocalPart)),
            ("nonce", json!(1), E::NonceNotText),
            ("nonce", json!(""), E::Nonce(NonceError)),
            ("type", json!(""), E::Type),
            ("type", json!(1), E::Type),
            ("type", json!("a b"), E::Type),
            ("type", json!("t".repeat(65)), E::Type),
            ("payload", json!("text"), E::Payload),
            ("payload", Value::Null, E::Payload),
            ("cc", Value::Null, E::CcNotTexts),
            ("cc", json!("a@b.example"), E::CcNotTexts),
            ("cc", json!([1]), E::CcNotTexts),
            ("cc", json!(["x"]), E::Cc(AddressError::NotOneAt)),
            ("cc", json!(many), E::CcTooMany),
            ("in_reply_to", Value::Null, E::InReplyTo),
            ("in_reply_to", json!("x".repeat(257)), E::InReplyTo),
            ("task_id", json!(1), E::TaskId),
            ("context_id", json!([]), E::ContextId),
            ("receipt", json!("delivered"), E::Receipt),
            ("receipt", json!(["read"]), E::Receipt),
            ("receipt", Value::Null, E::Receipt),
            ("routing", json!([]), E::Routing),
            ("routing", json!({"atp": null}), E::RoutingAtp),
            ("signature", json!("sig"), E::Signature),
        ];
        for (field, value, want) in cases {
            assert_eq!(with(field, value.clone()), Err(want), "{field}: {value}");
            assert!(want.to_string().contains(field), "{want} does not name {field}");
        }
        assert_eq!(Message::parse(b"[]"), Err(E::NotObject));
        assert_eq!(Message::parse(b"{"), Err(E::Json(JsonError::Syntax { line: 1, column: 1 })));
    }

    #[test]
    fn timestamps_are_digits_within_range() {
        for (text, want) in [
            ("0", Some(0)),
            ("253402300799", Some(MAX_TIMESTAMP_SECONDS)),
            ("253402300800", None),
            ("-1", None),
            ("-0", None),
            ("1.0", None),
            ("1e3", None),
            ("1E3", None),
            ("99999999999999999999", None),
            ("\"1\"", None),
            ("null", None),
            ("true", None),
        ] {
            assert_eq!(timestamp(&json::parse(text.as_bytes()).unwrap()), want, "{text}");
        }
    }
}
