//! Keys: tokens of agents, and names that nobody may have for a while.
