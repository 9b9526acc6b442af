//! Wire codes: every reason we refuse for, and the one map from reason to HTTP status and enhanced code
//! (RFC 3463; `docs/protocol.md` §9).

use std::fmt;

/// The code of a message's last step when all went well (RFC 3463 §3.1).
pub const DELIVERED_CODE: &str = "250 2.0.0";

/// Who has to change something before the same request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// This server.
    Us,
    /// The remote server or its domain's DNS.
    Peer,
    /// Whoever wrote or submitted the message.
    Sender,
}

/// What an attempt showed of its destination, whatever became of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contact {
    /// Its server answered, about this message: it works.
    Answered,
    /// Its server answers, but wants less at a time.
    Busy,
    /// It could not be reached, or cannot do its work.
    Failed,
    /// Nothing: the attempt came to grief on our side.
    Unknown,
}

/// Every named reason for which a message or request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not a message: form, types, I-JSON, limits of fields.
    Malformed,
    /// Timestamp too old or in the future.
    Stale,
    /// No credential, or a wrong one.
    BadCredential,
    /// Credential of another agent, relaying, or not allowed by the recipient.
    Forbidden,
    /// No such agent in this domain.
    UnknownAgent,
    /// The identity is known with other content.
    Conflict,
    /// A claim on a message that has ended, or is on one that was acknowledged otherwise.
    ClaimEnded,
    /// Somebody else has the message in hand.
    InHand,
    /// Body over the size limit.
    TooLarge,
    /// The body broke off, or took too long: the network's fault as likely as the sender's.
    Incomplete,
    /// The sender's ATS policy denies the source address.
    AtsDenied,
    /// The sender's ATS policy cannot be evaluated: malformed, loops, too many look-ups.
    AtsBroken,
    /// Signature missing, of wrong form, of a foreign domain, or wrong.
    BadSignature,
    /// Key missing, revoked, expired or unreadable.
    BadKey,
    /// The ATS record could not be looked up now.
    AtsLookup,
    /// The ATK record could not be looked up now.
    AtkLookup,
    /// No such path.
    NoSuchPath,
    /// The path exists, the method does not.
    NoSuchMethod,
    /// The call needs another content type.
    BadContentType,
    /// Registration: the name is taken.
    NameTaken,
    /// Registration: reserved name, foreign domain, or registration closed.
    NameForbidden,
    /// Registration: bad name or empty password.
    NameMalformed,
    /// Too many requests.
    RateLimited,
    /// The recipient's mailbox is full.
    MailboxFull,
    /// Disk or memory guard, or the store is not available.
    NoSpace,
    /// The server is shutting down.
    ShuttingDown,
    /// A fault of ours.
    Internal,
    /// Own finding: the domain has no server in DNS.
    NoRoute,
    /// Own finding: retried for as long as allowed.
    Expired,
    /// Own finding: the peer did not answer, or answered nonsense.
    NoAnswer,
    /// Own finding: DNS did not answer.
    DnsTrouble,
    /// Own finding: no acceptable TLS connection.
    TlsTrouble,
}

impl Reason {
    /// Every reason, for tables and tests.
    pub const ALL: [Reason; 32] = [
        Reason::Malformed,
        Reason::Stale,
        Reason::BadCredential,
        Reason::Forbidden,
        Reason::UnknownAgent,
        Reason::Conflict,
        Reason::ClaimEnded,
        Reason::InHand,
        Reason::TooLarge,
        Reason::Incomplete,
        Reason::AtsDenied,
        Reason::AtsBroken,
        Reason::BadSignature,
        Reason::BadKey,
        Reason::AtsLookup,
        Reason::AtkLookup,
        Reason::NoSuchPath,
        Reason::NoSuchMethod,
        Reason::BadContentType,
        Reason::NameTaken,
        Reason::NameForbidden,
        Reason::NameMalformed,
        Reason::RateLimited,
        Reason::MailboxFull,
        Reason::NoSpace,
        Reason::ShuttingDown,
        Reason::Internal,
        Reason::NoRoute,
        Reason::Expired,
        Reason::NoAnswer,
        Reason::DnsTrouble,
        Reason::TlsTrouble,
    ];

    /// HTTP status and enhanced code: the only place where they are written down.
    /// Status 0 marks findings of our own that never travel as an HTTP answer.
    const fn wire(self) -> (u16, &'static str) {
        match self {
            Reason::Malformed => (400, "550 5.6.0"),
            Reason::Stale => (400, "450 4.6.0"),
            Reason::BadCredential => (401, "535 5.7.8"),
            Reason::Forbidden => (403, "550 5.7.1"),
            Reason::UnknownAgent => (404, "550 5.1.1"),
            Reason::Conflict => (409, "550 5.6.0"),
            Reason::ClaimEnded => (409, "550 5.5.0"),
            Reason::InHand => (409, "450 4.5.0"),
            Reason::TooLarge => (413, "552 5.3.4"),
            Reason::Incomplete => (408, "450 4.4.2"),
            Reason::AtsDenied => (403, "550 5.7.26"),
            Reason::AtsBroken => (403, "550 5.7.27"),
            Reason::BadSignature => (403, "550 5.7.28"),
            Reason::BadKey => (403, "550 5.7.29"),
            Reason::AtsLookup => (451, "451 4.7.26"),
            Reason::AtkLookup => (451, "451 4.7.29"),
            Reason::NoSuchPath => (404, "550 5.5.1"),
            Reason::NoSuchMethod => (405, "550 5.5.1"),
            Reason::BadContentType => (415, "550 5.5.1"),
            Reason::NameTaken => (409, "550 5.1.0"),
            Reason::NameForbidden => (403, "550 5.7.1"),
            Reason::NameMalformed => (400, "550 5.6.0"),
            Reason::RateLimited => (429, "450 4.7.1"),
            Reason::MailboxFull => (503, "452 4.2.2"),
            Reason::NoSpace => (503, "452 4.3.1"),
            Reason::ShuttingDown => (503, "421 4.3.2"),
            Reason::Internal => (500, "451 4.3.0"),
            Reason::NoRoute => (0, "550 5.4.4"),
            Reason::Expired => (0, "550 5.4.7"),
            Reason::NoAnswer => (0, "450 4.4.1"),
            Reason::DnsTrouble => (0, "450 4.4.3"),
            Reason::TlsTrouble => (0, "450 4.7.5"),
        }
    }

    /// The HTTP status of the refusal; `None` for findings of our own, which are never answered.
    pub const fn http(self) -> Option<u16> {
        match self.wire().0 {
            0 => None,
            status => Some(status),
        }
    }

    /// The `error_code` text, such as `550 5.7.28`.
    pub const fn code(self) -> &'static str {
        self.wire().1
    }

    /// Whether the same request may succeed later without a change by its sender.
    pub const fn is_temporary(self) -> bool {
        self.code().as_bytes()[0] == b'4'
    }

    /// Who has to change something.
    pub const fn whose(self) -> Party {
        match self {
            Reason::Internal | Reason::NoSpace | Reason::ShuttingDown => Party::Us,
            Reason::AtsDenied
            | Reason::AtsBroken
            | Reason::BadSignature
            | Reason::BadKey
            | Reason::AtsLookup
            | Reason::AtkLookup
            | Reason::NoRoute
            | Reason::NoAnswer
            | Reason::DnsTrouble
            | Reason::TlsTrouble => Party::Peer,
            _ => Party::Sender,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_of_code_and_of_status_agree() {
        for reason in Reason::ALL {
            let code = reason.code();
            let (basic, enhanced) = code.split_once(' ').unwrap();
            assert_eq!(basic.as_bytes()[0], enhanced.as_bytes()[0], "{reason:?}: {code}");
            assert!(reason.http().is_none_or(|status| (400..600).contains(&status)));
        }
    }
}
