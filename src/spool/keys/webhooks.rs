//! Keys: where an agent's messages are pushed to, and how far that has come.
