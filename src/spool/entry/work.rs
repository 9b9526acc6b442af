//! Records: who has which message of a mailbox in hand, what came of it, what nobody could work on.
