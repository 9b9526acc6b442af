use std::fmt;

use serde::{Deserialize, Serialize};

/// `[admin]`
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Bearer token of the operator. Absent: one is made and kept in the state directory.
    pub token: Option<String>,
    /// Bearer token that may look at everything and change nothing. Absent: there is none.
    pub read_token: Option<String>,
    /// IP:PORT where metrics and the operator's calls are served over plain HTTP. Absent: nowhere.
    pub listen: Option<String>,
    /// Whether `stats`, `inspect` and `agents` are there for the operator's token on the public port.
    pub remote: bool,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { token: None, read_token: None, listen: None, remote: true }
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Admin { listen, remote, .. } = self;
        f.debug_struct("Admin").field("listen", listen).field("remote", remote).finish_non_exhaustive()
    }
}
