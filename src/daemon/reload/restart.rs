//! What takes a restart.

use crate::config::Config;
use crate::config::effective::Change;

/// Keys, or beginnings of keys that end in a dot, that a running daemon does not follow.
/// [`Config::as_started`] keeps what the daemon was started with for the same ones.
const KEYS: [&str; 4] = ["server.host", "server.port", "admin.listen", "acme."];

/// Changes that take a restart, and those that do not.
pub(super) fn split(changes: Vec<Change>, next: &Config, running: &Config) -> (Vec<Change>, Vec<Change>) {
    let (mut restart, changed): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| takes_restart(&change.key));
    let (before, after) = (running.listen_host(), next.listen_host());
    if before != after && !restart.iter().any(|change| change.key == "server.host") {
        // Where to listen by default follows from the domains.
        let text = |host| Some(format!("{host:?}"));
        restart.push(Change {
            key: "server.host".into(),
            before: text(before.to_string()),
            after: text(after.to_string()),
        });
    }
    (restart, changed)
}

fn takes_restart(key: &str) -> bool {
    KEYS.iter().any(|own| key == *own || (own.ends_with('.') && key.starts_with(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_take_a_restart() {
        for (key, wanted) in [
            ("server.port", true),
            ("server.ports", false),
            ("server.max_message_size", false),
            ("acme.names", true),
            ("tls.extra_roots", false),
            ("domain.\"a.test\".cert", false),
            ("domains", false),
        ] {
            assert_eq!(takes_restart(key), wanted, "{key}");
        }
    }
}
