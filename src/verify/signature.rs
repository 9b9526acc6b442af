//! Whether the signature holds over the message as it was received (`docs/protocol.md` §3).

use ed25519_dalek::{Signature as Ed25519, VerifyingKey};

use crate::proto::canonical;
use crate::proto::message::Message;
use crate::proto::signature::{Signature, SignatureError};

/// Why a signature does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFailure {
    /// There is none.
    #[error("the message is not signed")]
    Missing,
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] SignatureError),
    /// It names a key of another domain than the sender's.
    #[error("the signing key belongs to another domain than the sender")]
    ForeignKey,
    /// It verifies over neither canonical form.
    #[error("the signature does not verify")]
    Wrong,
    /// It verifies only over a form that leaves out some of the fields.
    #[error("the signature does not cover every field of the message")]
    PartlyCovered,
}

/// Over which canonical form a signature verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Rfc8785,
    Reference,
}

impl Form {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Form::Rfc8785 => "rfc8785",
            Form::Reference => "reference",
        }
    }
}

/// The signature a message carries, if it names a key of the sender's domain.
pub(super) fn claimed(message: &Message) -> Result<Signature, SignatureFailure> {
    let signature = Signature::parse(message.signature().ok_or(SignatureFailure::Missing)?)?;
    if signature.key_id.domain() != message.from().domain() {
        return Err(SignatureFailure::ForeignKey);
    }
    Ok(signature)
}

/// Verifies strictly (small-order points and non-canonical signatures refused), first over RFC 8785.
pub(super) fn check(
    message: &Message,
    signature: &Signature,
    key: &VerifyingKey,
) -> Result<Form, SignatureFailure> {
    let object = message.object();
    let bytes = Ed25519::from_bytes(&signature.bytes);
    let holds = |form: &[u8]| key.verify_strict(form, &bytes).is_ok();
    if canonical::rfc8785(object).is_ok_and(|form| holds(&form)) {
        return Ok(Form::Rfc8785);
    }
    if !holds(&canonical::reference(object)) {
        return Err(SignatureFailure::Wrong);
    }
    // Nothing unsigned is ever delivered as signed.
    if !canonical::covered_by_reference(object) {
        return Err(SignatureFailure::PartlyCovered);
    }
    Ok(Form::Reference)
}
