//! What is accepted, and what is told of what is not.

use std::net::SocketAddr;

use crate::config::checked::{Limit, Rates, Sending};
use crate::config::file::File;
use crate::config::{Config, ConfigError, Overrides, Source};

fn with(text: &str) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    std::fs::write(&path, text).unwrap();
    let source = Source { path: Some(path), overrides: Overrides::default() };
    source.read().map(|loaded| loaded.config)
}

fn minimal(rest: &str) -> Result<Config, ConfigError> {
    with(&format!("domains = [\"example.com\"]\n{rest}"))
}

#[test]
fn the_shipped_file_is_the_defaults() {
    let shipped: File = toml::from_str(include_str!("../../../conf/atp.toml")).unwrap();
    assert_eq!(shipped, File { domains: vec!["example.com".into()], ..File::default() });
}

#[test]
fn the_shipped_file_names_every_key() {
    let uncommented: String = include_str!("../../../conf/atp.toml")
        .lines()
        .map(|line| line.strip_prefix("#").filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .flat_map(|line| [line, "\n"])
        .collect();
    let file: File = toml::from_str(&uncommented).unwrap();
    // An absent key would be null here.
    let json = serde_json::to_string(&file).unwrap();
    assert!(!json.contains("null"), "{json}");
    with(&uncommented).unwrap();
}

#[test]
fn the_other_shipped_files_are_accepted() {
    for text in [
        include_str!("../../../conf/minimal.toml"),
        include_str!("../../../conf/hardened.toml"),
        include_str!("../../../conf/two-servers/a.toml"),
        include_str!("../../../conf/two-servers/b.toml"),
    ] {
        with(text).unwrap();
    }
}

#[test]
fn nothing_is_limited_by_default_and_the_hardened_file_limits_everything() {
    let default = minimal("").unwrap();
    let domain = default.first_domain().clone();
    assert_eq!(default.settings_of(&domain).unwrap().sending, Sending::default());
    assert_eq!(default.rates, Rates { registration: default.rates.registration, ..Rates::default() });
    let hardened = with(include_str!("../../../conf/hardened.toml")).unwrap();
    let Rates { peer, peer_unknown_recipients, address, registration } = hardened.rates;
    let Sending { agent, agent_new_recipients, domain: all, domain_new_recipients } =
        hardened.settings_of(&domain).unwrap().sending;
    for limit in [peer, peer_unknown_recipients, address, registration, agent, all] {
        assert!(limit.per_minute.is_some(), "{limit:?}");
    }
    assert!([peer, agent, all].iter().all(|limit| limit.per_hour.is_some() && limit.per_day.is_some()));
    assert!(agent_new_recipients.is_some() && domain_new_recipients.is_some());
}

#[test]
fn a_domain_may_have_rates_of_its_own() {
    let text = "[rates]\nagent = \"60/m\"\nagent_new_recipients = \"5/d\"\n\
                [domain.\"example.com\"]\nagent_rate = \"unlimited\"\nrate = \"9/h\"\n";
    let config = minimal(text).unwrap();
    let sending = config.settings_of(config.first_domain()).unwrap().sending;
    let all = Limit { per_hour: Some(9), ..Limit::default() };
    let wanted = Sending { agent_new_recipients: Some(5), domain: all, ..Sending::default() };
    assert_eq!(sending, wanted);
}

#[test]
fn wrong_values_are_named_with_their_key() {
    for (text, key) in [
        ("[rates]\nagent = \"60\"", "rates.agent"),
        ("[rates]\nagent_new_recipients = \"60/h\"", "rates.agent_new_recipients"),
        ("[rates]\ndomain = \"0/d\"", "rates.domain"),
        ("[rates]\ndomain_new_recipients = \"1/d 1/d\"", "rates.domain_new_recipients"),
        ("[rates]\npeer = \"\"", "rates.peer"),
        ("[rates]\npeer_unknown_recipients = \"5/d\"", "rates.peer_unknown_recipients"),
        ("[rates]\naddress = \"1/w\"", "rates.address"),
        ("[rates]\nregistration = \"5/d\"", "rates.registration"),
        ("[domain.\"example.com\"]\nagent_rate = \"x\"", "domain.\"example.com\".agent_rate"),
        ("[domain.\"example.com\"]\nnew_recipients = \"5/m\"", "domain.\"example.com\".new_recipients"),
        ("[server]\nhost = \"localhost\"", "server.host"),
        ("[server]\nmax_message_size = \"1KiB\"", "server.max_message_size"),
        ("[server]\nmax_message_size = \"1GiB\"", "server.max_message_size"),
        ("[server]\nshutdown_grace = \"1d\"", "server.shutdown_grace"),
        ("[server]\ncert = \"c\"", "server.cert"),
        ("[server]\nkey = \"k\"", "server.key"),
        ("[registration]\nmode = \"closed\"", "registration.mode"),
        ("[dns]\nservers = [\"ns.example\"]", "dns.servers"),
        ("[verify]\nmax_message_age = \"72\"", "verify.max_message_age"),
        ("[queue]\nschedule = []", "queue.schedule"),
        ("[queue]\nschedule = [\"10ms\"]", "queue.schedule"),
        ("[queue]\ngive_up_after = \"49h\"", "queue.give_up_after"),
        ("[queue]\ndelay_notice_after = \"soon\"", "queue.delay_notice_after"),
        ("[queue]\nmax_attempts = 0", "queue.max_attempts"),
        ("[queue]\nmax_attempts_per_destination = 0", "queue.max_attempts_per_destination"),
        ("[queue]\nmax_waiting_per_sender = 0", "queue.max_waiting_per_sender"),
        ("[mailbox]\nkeep_acknowledged = \"0\"", "mailbox.keep_acknowledged"),
        ("[mailbox]\nkeep_acknowledged = \"100000d\"", "mailbox.keep_acknowledged"),
        ("[mailbox]\nkeep_unread = \"1s\"", "mailbox.keep_unread"),
        ("[mailbox]\nkeep_unread = \"ever\"", "mailbox.keep_unread"),
        ("[mailbox]\nquota = \"never\"", "mailbox.quota"),
        ("[mailbox]\nquota = \"10\"", "mailbox.quota"),
        ("[guard]\nmin_free_disk = \"5%\"", "guard.min_free_disk"),
        ("[guard]\nmin_free_disk_percent = 101", "guard.min_free_disk_percent"),
        ("[guard]\nmax_memory = \"1MiB\"", "guard.max_memory"),
        ("[webhooks]\nallow_networks = [\"10.1.0.0\"]", "webhooks.allow_networks"),
        ("[webhooks]\nallow_networks = [\"10.1.2.3/16\"]", "webhooks.allow_networks"),
        ("[webhooks]\nallow_networks = [\"localhost\"]", "webhooks.allow_networks"),
        ("[admin]\ntoken = \"\"", "admin.token"),
        ("[admin]\ntoken = \"a b\"", "admin.token"),
        ("[admin]\ntoken = \"atpa_x\"", "admin.token"),
        ("[acme]\nemail = \"a b@c\"\nagree_to_terms = true\nchallenge = \"http-01\"", "acme.email"),
        (
            "[acme]\ndirectory = \"https:///x\"\nagree_to_terms = true\nchallenge = \"http-01\"",
            "acme.directory",
        ),
        ("[acme]\neab_key_id = \"k\"\nagree_to_terms = true\nchallenge = \"http-01\"", "acme.eab_key_id"),
        ("[acme]\neab_key_file = \"k\"\nagree_to_terms = true\nchallenge = \"http-01\"", "acme.eab_key_file"),
        ("[log]\nlevel = \"loud\"", "log.level"),
        ("[log]\nformat = \"xml\"", "log.format"),
    ] {
        let error = minimal(text).unwrap_err();
        let found: Vec<_> = error.findings().map(|finding| (finding.key.as_str(), finding.line)).collect();
        assert_eq!(found, [(key, Some(3))], "{text}: {error}");
    }
    assert!(with("").unwrap_err().to_string().contains("--domain"));
    assert!(with("domains = [\"1.2.3.4\"]").unwrap_err().to_string().contains("1.2.3.4"));
}

#[test]
fn the_default_address_follows_the_domains() {
    let host = |text| with(text).unwrap().listen_host().to_string();
    assert_eq!(host("domains = [\"a.local\", \"b.test\"]"), "127.0.0.1");
    assert_eq!(host("domains = [\"a.local\", \"example.com\"]"), "::");
    assert_eq!(host("domains = [\"a.local\"]\n[server]\nhost = \"192.0.2.1\""), "192.0.2.1");
}

#[test]
fn resolvers_may_leave_out_the_port() {
    let config = minimal("[dns]\nservers = [\"192.0.2.1\", \"[::1]:5353\", \"::1\"]").unwrap();
    let wanted = ["192.0.2.1:53", "[::1]:5353", "[::1]:53"].map(|text| text.parse::<SocketAddr>().unwrap());
    assert_eq!(config.dns.servers, wanted);
}

#[test]
fn a_repeated_domain_counts_once() {
    let config = with("domains = [\"a.test\", \"A.TEST\"]").unwrap();
    assert_eq!(config.domains().len(), 1);
}
