//! Records: how long and how much a mailbox keeps.
