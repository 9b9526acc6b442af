//! Receipts: what the recipient's server tells the sender's about a message (`docs/protocol.md` §10).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::address::{Address, AddressError};
use super::limits::MAX_RECEIPT_PAYLOAD_BYTES;
use super::message::{self, Message, ReceiptsWanted};
use super::nonce::{Nonce, NonceError};

/// What the nonce of a receipt begins with.
const NONCE_PREFIX: &str = "rcpt-";
/// The type of a receipt.
const KIND: &str = "event";
/// The member of the payload that makes a message a receipt.
const MEMBER: &str = "receipt";

/// What became of a message at its recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReceiptOutcome {
    /// It is in the mailbox.
    Delivered,
    /// The recipient has begun to work on it.
    Accepted,
    /// The recipient has done what it asked for.
    Completed,
    /// The recipient could not do it.
    Failed,
    /// The recipient will not do it.
    Rejected,
}

impl ReceiptOutcome {
    /// Every outcome there is.
    pub const ALL: [ReceiptOutcome; 5] = [
        ReceiptOutcome::Delivered,
        ReceiptOutcome::Accepted,
        ReceiptOutcome::Completed,
        ReceiptOutcome::Failed,
        ReceiptOutcome::Rejected,
    ];

    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReceiptOutcome::Delivered => "delivered",
            ReceiptOutcome::Accepted => "accepted",
            ReceiptOutcome::Completed => "completed",
            ReceiptOutcome::Failed => "failed",
            ReceiptOutcome::Rejected => "rejected",
        }
    }

    /// Reads [`ReceiptOutcome::as_str`].
    pub fn parse(text: &str) -> Option<ReceiptOutcome> {
        ReceiptOutcome::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    /// Whether a sender that wants these receipts is told of it.
    pub fn is_wanted(self, wanted: ReceiptsWanted) -> bool {
        if self == ReceiptOutcome::Delivered { wanted.delivered } else { wanted.acked }
    }

    /// Whether it tells more than what was heard `before`. Receipts overtake one another: a late one changes nothing,
    /// and of two ends the first one counts.
    pub fn is_news(self, before: Option<ReceiptOutcome>) -> bool {
        before.is_none_or(|before| self.stage() > before.stage())
    }

    fn stage(self) -> u8 {
        match self {
            ReceiptOutcome::Delivered => 1,
            ReceiptOutcome::Accepted => 2,
            ReceiptOutcome::Completed | ReceiptOutcome::Failed | ReceiptOutcome::Rejected => 3,
        }
    }
}

/// Why a receipt cannot be read. Each sentence is fit for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// `payload.receipt` is not an object.
    #[error("`payload.receipt` is not an object")]
    NotObject,
    /// `original_nonce` is missing or has not the form of a nonce.
    #[error("`original_nonce` of the receipt: {0}")]
    Nonce(NonceError),
    /// `recipient` is missing or no address.
    #[error("`recipient` of the receipt is not an address: {0}")]
    Recipient(AddressError),
    /// `outcome` is none of those there are.
    #[error("`outcome` of the receipt is none of delivered, accepted, completed, failed, rejected")]
    Outcome,
    /// `at` is not a timestamp.
    #[error("`at` of the receipt is not a whole number of Unix seconds")]
    At,
}

/// A receipt.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// The author's nonce of the message it is about.
    pub original_nonce: Nonce,
    /// At whom.
    pub recipient: Address,
    /// What became of it.
    pub outcome: ReceiptOutcome,
    /// When, Unix seconds by the recipient's server.
    pub at: i64,
    /// What the recipient adds. `None`: nothing, or more than [`MAX_RECEIPT_PAYLOAD_BYTES`].
    pub payload: Option<Value>,
}

impl Receipt {
    /// The receipt in an author's message. `None`: it is none, but a message like any other.
    ///
    /// # Errors
    /// [`ReceiptError`] naming the first member that is wrong.
    pub fn read(message: &Message) -> Option<Result<Receipt, ReceiptError>> {
        let is_control = message.from().local() == "postmaster"
            && message.kind() == KIND
            && message.nonce().as_str().starts_with(NONCE_PREFIX);
        message.payload().get(MEMBER).filter(|_| is_control).map(Receipt::from_value)
    }

    fn from_value(value: &Value) -> Result<Receipt, ReceiptError> {
        let receipt = value.as_object().ok_or(ReceiptError::NotObject)?;
        let text = |name| receipt.get(name).and_then(Value::as_str).unwrap_or_default();
        let payload = receipt.get("payload").filter(|payload| !payload.is_null() && fits(payload));
        Ok(Receipt {
            original_nonce: Nonce::parse(text("original_nonce")).map_err(ReceiptError::Nonce)?,
            recipient: Address::parse(text("recipient")).map_err(ReceiptError::Recipient)?,
            outcome: ReceiptOutcome::parse(text("outcome")).ok_or(ReceiptError::Outcome)?,
            at: receipt.get("at").and_then(message::timestamp).ok_or(ReceiptError::At)?,
            payload: payload.cloned(),
        })
    }

    /// The message that carries it to the author of the original, stamped `stamp` (Unix seconds).
    pub fn message(&self, author: &Address, stamp: i64) -> Map<String, Value> {
        let mut receipt = json!({
            "original_nonce": self.original_nonce.as_str(),
            "recipient": self.recipient.to_string(),
            "outcome": self.outcome.as_str(),
            "at": self.at,
        });
        if let Some(payload) = self.payload.as_ref().filter(|payload| fits(payload)) {
            receipt["payload"] = payload.clone();
        }
        let message = [
            ("from", json!(Address::postmaster(self.recipient.domain()).to_string())),
            ("to", json!(author.to_string())),
            ("timestamp", json!(stamp)),
            ("nonce", json!(self.nonce(author).as_str())),
            ("type", json!(KIND)),
            ("payload", json!({ MEMBER: receipt })),
        ];
        message.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The nonce under which it travels: `rcpt-` and the first 32 hexadecimal digits of SHA-256 over the message's
    /// sender, nonce and recipient and the outcome, NUL between.
    pub fn nonce(&self, author: &Address) -> Nonce {
        let Receipt { original_nonce, recipient, outcome, .. } = self;
        let text = format!("{author}\0{original_nonce}\0{recipient}\0{}", outcome.as_str());
        let hash: [u8; 32] = Sha256::digest(text).into();
        Nonce::derived(NONCE_PREFIX, &hash.first_chunk().copied().unwrap_or_default())
    }

    /// Whether a nonce is that of a receipt, if it comes from a postmaster.
    pub fn is_nonce(nonce: &Nonce) -> bool {
        nonce.as_str().starts_with(NONCE_PREFIX)
    }
}

/// Whether a payload is small enough to go with a receipt.
fn fits(payload: &Value) -> bool {
    serde_json::to_vec(payload).is_ok_and(|bytes| bytes.len() <= MAX_RECEIPT_PAYLOAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt() -> Receipt {
        Receipt {
            original_nonce: Nonce::parse("msg-1").unwrap(),
            recipient: Address::parse("bob@b.example").unwrap(),
            outcome: ReceiptOutcome::Completed,
            at: 1_700_000_000,
            payload: Some(json!({ "result": 7 })),
        }
    }

    fn author() -> Address {
        Address::parse("ann@a.example").unwrap()
    }

    fn read(change: impl FnOnce(&mut Value)) -> Option<Result<Receipt, ReceiptError>> {
        let mut message = Value::Object(receipt().message(&author(), 1_700_000_001));
        change(&mut message);
        Receipt::read(&Message::parse(message.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read(|_| {}), Some(Ok(receipt())));
        let bare = Receipt { payload: None, outcome: ReceiptOutcome::Delivered, ..receipt() };
        let message = Message::from_object(bare.message(&author(), 5)).unwrap();
        assert_eq!(Receipt::read(&message), Some(Ok(bare.clone())));
        assert_eq!(message.from().to_string(), "postmaster@b.example");
        assert!(Receipt::is_nonce(message.nonce()) && bare.nonce(&author()) != receipt().nonce(&author()));
    }

    #[test]
    fn what_is_no_control_message_is_mail() {
        for (field, value) in [
            ("from", json!("ann@b.example")),
            ("from", json!("mailer-daemon@b.example")),
            ("type", json!("message")),
            ("nonce", json!("msg-1")),
            ("payload", json!({ "subject": "receipt" })),
        ] {
            assert_eq!(read(|message| message[field] = value.clone()), None, "{field}: {value}");
        }
    }

    #[test]
    fn every_wrong_member_is_named() {
        use ReceiptError as E;
        for (member, value, wanted) in [
            ("original_nonce", json!("a b"), E::Nonce(NonceError)),
            ("original_nonce", json!(1), E::Nonce(NonceError)),
            ("recipient", json!("bob"), E::Recipient(AddressError::NotOneAt)),
            ("outcome", json!("read"), E::Outcome),
            ("outcome", Value::Null, E::Outcome),
            ("at", json!("now"), E::At),
            ("at", json!(1.5), E::At),
        ] {
            let found = read(|message| message["payload"]["receipt"][member] = value.clone());
            assert_eq!(found, Some(Err(wanted)), "{member}: {value}");
        }
        assert_eq!(read(|message| message["payload"]["receipt"] = json!("x")), Some(Err(E::NotObject)));
    }

    #[test]
    fn a_payload_that_is_too_large_is_left_out() {
        let large = json!({ "x": "x".repeat(MAX_RECEIPT_PAYLOAD_BYTES) });
        let found =
            read(|message| message["payload"]["receipt"]["payload"] = large.clone()).unwrap().unwrap();
        assert_eq!(found.payload, None);
        let written = Receipt { payload: Some(large.clone()), ..receipt() }.message(&author(), 5);
        assert!(written["payload"]["receipt"].get("payload").is_none());
    }

    #[test]
    fn outcomes_only_move_forward() {
        use ReceiptOutcome::{Accepted, Completed, Delivered, Failed, Rejected};
        for (before, news) in [
            (None, vec![Delivered, Accepted, Completed, Failed, Rejected]),
            (Some(Delivered), vec![Accepted, Completed, Failed, Rejected]),
            (Some(Accepted), vec![Completed, Failed, Rejected]),
            (Some(Completed), vec![]),
            (Some(Failed), vec![]),
            (Some(Rejected), vec![]),
        ] {
            let found: Vec<_> = ReceiptOutcome::ALL.into_iter().filter(|o| o.is_news(before)).collect();
            assert_eq!(found, news, "{before:?}");
        }
        for outcome in ReceiptOutcome::ALL {
            assert_eq!(ReceiptOutcome::parse(outcome.as_str()), Some(outcome));
        }
    }
}
