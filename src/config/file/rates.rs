use serde::{Deserialize, Serialize};

/// `[rates]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Messages that an own agent may submit, counted by recipient, such as `"60/m 1000/h 10000/d"`.
    pub agent: String,
    /// Addresses elsewhere that an own agent may write to in a day for the first time in 30 days, such as `"500/d"`.
    pub agent_new_recipients: String,
    /// As `agent`, for all agents of a domain together.
    pub domain: String,
    /// As `agent_new_recipients`, for all agents of a domain together.
    pub domain_new_recipients: String,
    /// Messages that another domain may hand over.
    pub peer: String,
    /// Of these, messages to addresses here that nobody has.
    pub peer_unknown_recipients: String,
    /// Messages that an address may hand over, before anything is looked up.
    pub address: String,
    /// Agents that an address may register, where anyone may.
    pub registration: String,
}

impl Default for Rates {
    fn default() -> Rates {
        let unlimited = || "unlimited".to_owned();
        Rates {
            agent: unlimited(),
            agent_new_recipients: unlimited(),
            domain: unlimited(),
            domain_new_recipients: unlimited(),
            peer: unlimited(),
            peer_unknown_recipients: unlimited(),
            address: unlimited(),
            registration: "60/m".into(),
        }
    }
}
