//! What takes a restart.

use crate::config::Config;
use crate::config::effective::Change;
use crate::proto::address::Domain;

/// Follows from the domains if nobody says it, and is followed where certificates are asked for already.
const NAMES: &str = "acme.names";
/// Keys, or beginnings of keys that end in a dot, that a running daemon does not follow.
/// [`Config::as_started`] keeps what the daemon was started with for the same ones.
const KEYS: [&str; 4] = ["server.host", "server.port", "admin.listen", "acme."];

/// Changes that take a restart, and those that do not.
pub(super) fn split(changes: Vec<Change>, next: &Config, running: &Config) -> (Vec<Change>, Vec<Change>) {
    let (begins, ends) = (running.acme.is_none() && next.acme.is_some(), next.acme.is_none());
    let (mut restart, mut changed): (Vec<_>, Vec<_>) = changes
        .into_iter()
        .partition(|change| if change.key == NAMES { begins || ends } else { takes_restart(&change.key) });
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
    let names = |config: &Config| {
        config
            .acme
            .as_ref()
            .map(|acme| format!("{:?}", acme.names.iter().map(Domain::as_str).collect::<Vec<_>>()))
    };
    let (before, after) = (names(running), names(next));
    if let (Some(before), Some(after)) = (before, after)
        && before != after
        && !changed.iter().any(|change| change.key == NAMES)
    {
        // And so does for which hosts a certificate is asked for.
        changed.push(Change { key: NAMES.into(), before: Some(before), after: Some(after) });
    }
    (restart, changed)
}

fn takes_restart(key: &str) -> bool {
    KEYS.iter().any(|own| key == *own || (own.ends_with('.') && key.starts_with(own)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(domains: &str) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("atp.toml");
        let acme = "[acme]\nchallenge = \"http-01\"\nagree_to_terms = true\n[server]\nhost = \"::\"\n";
        std::fs::write(&path, format!("domains = {domains}\n{acme}")).unwrap();
        crate::config::load(Some(&path), crate::config::Overrides::default()).unwrap()
    }

    #[test]
    fn a_new_domain_is_in_the_certificate_without_a_restart() {
        let (running, next) = (config("[\"a.example\"]"), config("[\"a.example\", \"b.example\"]"));
        let (restart, changed) = split(Vec::new(), &next, &running);
        let told: Vec<_> =
            changed.iter().map(|change| (change.key.as_str(), change.after.as_deref())).collect();
        assert_eq!(told, [("acme.names", Some("[\"atp.a.example\", \"atp.b.example\"]"))]);
        assert!(restart.is_empty());
        let config = Config::as_started(next, &running);
        assert_eq!(config.acme.map(|acme| acme.names.len()), Some(2));
        let same = split(Vec::new(), &running, &running);
        assert!(same.0.is_empty() && same.1.is_empty());
    }

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
