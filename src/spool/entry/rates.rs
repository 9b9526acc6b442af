//! Records: how much an agent may send, and how much has been sent today.

use serde::{Deserialize, Serialize};

use super::keeping::Setting;
use crate::proto::address::Address;

/// How much the operator lets one agent send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingRecord {
    /// Whom.
    pub owner: Address,
    /// Messages, in each span of time. `None`: as the daemon is configured.
    pub rate: Option<RateRecord>,
    /// Addresses a day that are new to it.
    pub new_recipients: Setting,
}

/// How many messages in which span of time. `None`: as many as come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RateRecord {
    /// In a second.
    pub per_second: Option<u32>,
    /// In a minute.
    pub per_minute: Option<u32>,
    /// In an hour.
    pub per_hour: Option<u32>,
    /// In a day of UTC.
    pub per_day: Option<u32>,
}

/// What has been counted on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DayRecord {
    /// Which day of UTC since 1970.
    pub day: u32,
    /// Messages.
    pub messages: u32,
    /// Addresses that were new.
    pub new_recipients: u32,
}
