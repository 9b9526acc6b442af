//! Keys: what became of a message at its recipients, as their servers say.
