//! Sizes, counts and times of the wire, units in the names (`docs/protocol.md` §2, §5, §7, §10).

use std::time::Duration;

/// The TCP port of servers where none is named.
pub const DEFAULT_PORT: u16 = 7443;
/// Largest transfer body by default, in bytes; advertised as `max_payload_size`.
pub const MAX_TRANSFER_BYTES: usize = 1024 * 1024;
/// A submission may be this much smaller than a transfer, so that signing cannot make it too large.
pub const SIGNING_ROOM_BYTES: usize = 4 * 1024;
/// Deepest nesting of arrays and objects in a message.
pub const MAX_JSON_DEPTH: usize = 64;
/// Most values (members and elements, at all levels) in a message.
pub const MAX_JSON_VALUES: usize = 100_000;
/// Longest local part, in bytes.
pub const MAX_LOCAL_PART_BYTES: usize = 64;
/// Longest domain, in bytes (RFC 1035 §2.3.4).
pub const MAX_DOMAIN_BYTES: usize = 253;
/// Longest label of a domain, in bytes (RFC 1035 §2.3.4).
pub const MAX_LABEL_BYTES: usize = 63;
/// Longest nonce, in bytes.
pub const MAX_NONCE_BYTES: usize = 128;
/// Most addresses in `cc`.
pub const MAX_CC: usize = 100;
/// Longest name of an agent's token, in bytes.
pub const MAX_TOKEN_NAME_BYTES: usize = 64;
/// How far ahead of our clock a timestamp may be, in seconds.
pub const MAX_AHEAD_SECONDS: i64 = 300;
/// How old a timestamp may be by default, in seconds; advertised as `max_message_age`.
pub const MAX_MESSAGE_AGE_SECONDS: i64 = 72 * 3600;
/// How much longer than its freshness an identity is remembered, in seconds.
pub const IDENTITY_GRACE_SECONDS: i64 = 3600;
/// Messages in a page of `GET messages` when no limit is given.
pub const DEFAULT_PAGE: usize = 50;
/// Most messages in a page of `GET messages`.
pub const MAX_PAGE: usize = 500;
/// A page of `GET messages` ends at this many bytes, but holds at least one message.
pub const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Most DNS look-ups one ATS evaluation may make.
pub const MAX_ATS_LOOKUPS: usize = 10;
/// Most addresses of an ATS `domain:` that are compared with the source.
pub const MAX_ATS_DOMAIN_ADDRESSES: usize = 10;
/// Longest chain of SVCB aliases.
pub const MAX_ALIASES: usize = 8;
/// Largest `payload` of a receipt, in bytes of JSON.
pub const MAX_RECEIPT_PAYLOAD_BYTES: usize = 4 * 1024;
/// Longest that `GET me/sent/{nonce}` waits, in seconds.
pub const MAX_SENT_WAIT_SECONDS: u64 = 60;
/// The longest lease of a message, in seconds.
pub const MAX_LEASE_SECONDS: u64 = 12 * 3600;
/// Longest that a message given back can be asked to stay away, in seconds.
pub const MAX_DELAY_SECONDS: u64 = 7 * 24 * 3600;
/// The wait a peer may impose with `Retry-After`, at most.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
