/// How many of something may happen in each of these spans of time. `None`: as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limit {
    /// In a second.
    pub per_second: Option<u32>,
    /// In a minute.
    pub per_minute: Option<u32>,
    /// In an hour.
    pub per_hour: Option<u32>,
    /// In a day of UTC. It is counted on disk.
    pub per_day: Option<u32>,
}

impl Limit {
    /// Whether as many may come as want to.
    pub fn is_none(&self) -> bool {
        *self == Limit::default()
    }

    /// What of it is for less than a day.
    #[must_use]
    pub fn short(self) -> Limit {
        Limit { per_day: None, ..self }
    }
}

/// How much the agents of one of our domains may send, counted by recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// Each of them.
    pub agent: Limit,
    /// To how many addresses elsewhere an agent may write in a day to which it has not written for a while.
    pub agent_new_recipients: Option<u32>,
    /// All of them together.
    pub domain: Limit,
    /// To how many new addresses all of them together may write in a day.
    pub domain_new_recipients: Option<u32>,
}

/// `[rates]`, checked; what is for our own agents is in [`DomainSettings`](super::DomainSettings).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Messages that a domain may hand over, once policy and signature have shown that they are its own.
    pub peer: Limit,
    /// Of these, messages for addresses that nobody has, before the domain has to wait.
    pub peer_unknown_recipients: Limit,
    /// Messages that an address may hand over, before anything is looked up.
    pub address: Limit,
    /// Agents that an address may register.
    pub registration: Limit,
}
