//! What is refused because there is too much of it.

/// A limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limited {
    /// Messages of an own agent in a short time.
    AgentRate,
    /// Messages of an own agent in a day.
    AgentDaily,
    /// Addresses new to an own agent in a day.
    AgentRecipients,
    /// Messages of an own domain in a short time.
    DomainRate,
    /// Messages of an own domain in a day.
    DomainDaily,
    /// Addresses new to the agents of an own domain in a day.
    DomainRecipients,
    /// Messages from another domain in a short time.
    PeerRate,
    /// Messages from another domain in a day.
    PeerDaily,
    /// Messages from another domain or an address to addresses that nobody has.
    PeerUnknown,
    /// Messages from an address.
    AddressRate,
    /// Registrations from an address.
    Registration,
    /// Credentials: too many wrong ones, or more than can be checked.
    Credentials,
}

impl Limited {
    /// Every limit, in order.
    pub const ALL: [Limited; 12] = [
        Limited::AgentRate,
        Limited::AgentDaily,
        Limited::AgentRecipients,
        Limited::DomainRate,
        Limited::DomainDaily,
        Limited::DomainRecipients,
        Limited::PeerRate,
        Limited::PeerDaily,
        Limited::PeerUnknown,
        Limited::AddressRate,
        Limited::Registration,
        Limited::Credentials,
    ];

    /// As labels and answers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Limited::AgentRate => "agent_rate",
            Limited::AgentDaily => "agent_daily",
            Limited::AgentRecipients => "agent_new_recipients",
            Limited::DomainRate => "domain_rate",
            Limited::DomainDaily => "domain_daily",
            Limited::DomainRecipients => "domain_new_recipients",
            Limited::PeerRate => "peer_rate",
            Limited::PeerDaily => "peer_daily",
            Limited::PeerUnknown => "peer_unknown_recipients",
            Limited::AddressRate => "address_rate",
            Limited::Registration => "registration",
            Limited::Credentials => "credentials",
        }
    }
}
