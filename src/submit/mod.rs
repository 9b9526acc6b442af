//! Stage 1: an own agent hands a message over.
//!
//! 1. The body is parsed and its form checked ([`request`]).
//! 2. The credential must be that of the very agent in `from` (`agents` looks it up).
//! 3. Each recipient is looked at: an agent of ours, somebody elsewhere, or nobody ([`admit`]).
//! 4. Everything goes to disk in one write; only then is it accepted (the spool).

pub mod admit;
pub mod request;
