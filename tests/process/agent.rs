//! Agents that send often.

use crate::place::{PASSWORD, Place};
use crate::server::Server;

/// Who sends with a token: passwords are slow to check on purpose.
pub struct Agent {
    pub name: String,
    token: String,
}

impl Agent {
    /// Registers it.
    pub fn new(place: &Place, server: &Server, name: String) -> Agent {
        place.register(server, &name);
        let server = server.name();
        let create = ["agent", "token", "create", "test", "--agent-id", &name, "-P", PASSWORD];
        let made = place.ok(&[&create[..], &["--server", &server, "--no-verify"]].concat());
        Agent { name, token: made.trim().to_owned() }
    }

    /// A request's header with the token in place of a password.
    pub fn with_token(&self, header: &str) -> String {
        let lines = header.split("\r\n").map(|line| match line.strip_prefix("Authorization: ") {
            Some(_) => format!("Authorization: Bearer {}", self.token),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\r\n")
    }
}
