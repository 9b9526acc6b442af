//! Twenty wrong configurations, and what an operator is told of each: the snapshots beside this file are read by
//! people before they are accepted.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use atp::config::{Overrides, Source};
use atp::daemon::files;

/// A name, and a file.
const WRONG: [(&str, &str); 20] = [
    ("not_toml", "domains = [\"a.test\"\n[server]\nport = 1\n"),
    ("a_key_twice", "domains = [\"a.test\"]\n[server]\nport = 1\nport = 2\n"),
    ("no_domain", "[server]\nport = 7443\n"),
    ("no_host_name", "domains = [\"a.test\", \"under_score\", \"192.0.2.1\"]\n"),
    ("unknown_keys", "domains = [\"a.test\"]\nmailboxes = 1\n[server]\nprot = 1\nshutdown = \"1s\"\n"),
    (
        "wrong_types",
        "domains = [\"a.test\"]\n[server]\nport = \"7443\"\n[verify]\nrefuse_neutral = \"yes\"\n",
    ),
    ("numbers_out_of_range", "domains = [\"a.test\"]\n[server]\nport = 70000\n[queue]\nmax_attempts = 4\n"),
    (
        "wrong_units",
        "domains = [\"a.test\"]\n[server]\nmax_message_size = \"1MB\"\nshutdown_grace = \"25\"\n\
         [mailbox]\nkeep_unread = \"1 month\"\nquota = \"10G\"\n",
    ),
    (
        "a_wait_in_a_long_list",
        "domains = [\"a.test\"]\n[queue]\nschedule = [\n  \"2s\",\n  \"soon\",\n  \"1h\",\n]\n",
    ),
    ("giving_up_too_late", "domains = [\"a.test\"]\n[queue]\ngive_up_after = \"72h\"\n"),
    ("remembering_too_short", "domains = [\"a.test\"]\n[verify]\nmax_message_age = \"48h\"\n"),
    ("a_certificate_without_its_key", "domains = [\"a.test\"]\n[server]\ncert = \"cert.pem\"\n"),
    (
        "files_that_are_not_there",
        "domains = [\"a.test\"]\n[server]\ncert = \"no.pem\"\nkey = \"no.key\"\n[dns]\npeers = \"no.toml\"\n\
         [tls]\nextra_roots = \"no-roots.pem\"\n",
    ),
    (
        "files_that_are_something_else",
        "domains = [\"a.test\"]\n[dns]\npeers = \"peers.toml\"\noverrides = \"text.txt\"\n\
         [tls]\nextra_roots = \"text.txt\"\n[tls.destination.\"b.test\"]\nca = \"text.txt\"\n",
    ),
    (
        "a_key_of_another_certificate",
        "domains = [\"a.test\"]\n[server]\ncert = \"cert.pem\"\nkey = \"other.key\"\n",
    ),
    (
        "a_section_of_no_domain",
        "domains = [\"a.test\"]\n[domain.\"b.test\"]\nquota = \"1GiB\"\n[domain.\"a.test\"]\nmax_message_size = \"2MiB\"\n",
    ),
    (
        "destinations",
        "domains = [\"a.test\"]\n[tls.destination.\"b.test\"]\npolicy = \"pin\"\n[tls.destination.\"c.test\"]\n\
         policy = \"trust\"\n[tls.destination.\"d.test\"]\npin = \"00\"\n",
    ),
    (
        "acme",
        "domains = [\"a.test\"]\n[acme]\nchallenge = \"dns-01\"\ndirectory = \"http://ca.test\"\nrenew_before = \"1y\"\n",
    ),
    (
        "a_hook_that_cannot_be_run",
        "domains = [\"a.example\"]\n[acme]\nchallenge = \"dns-01\"\nagree_to_terms = true\nhook = \"text.txt\"\n",
    ),
    (
        "admin",
        "domains = [\"a.test\"]\n[admin]\ntoken = \"atpa_hunter2\"\nread_token = \"hunter 2\"\nlisten = \"localhost:1\"\n\
         [webhooks]\nallow_networks = [\"10.0.0.1/8\"]\n[log]\nlevel = \"loud\"\n",
    ),
];

#[test]
fn each_is_told_with_file_line_key_and_remedy() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    for (name, text) in WRONG {
        let told = told(directory.path(), text);
        assert!(!told.contains("hunter"), "{name} shows a secret: {told}");
        insta::with_settings!({ description => text, omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, told);
        });
    }
}

fn prepare(directory: &Path) {
    let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap();
    let file = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    file("cert.pem", &made.cert.pem());
    file("other.key", &other.serialize_pem());
    file("peers.toml", "[b.test]\nhost = \"127.0.0.1\"\n");
    file("text.txt", "nothing but words\n");
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(directory.join("other.key"), closed).unwrap();
}

/// As `atp config check` does: the files are looked at once nothing else is wrong.
fn told(directory: &Path, text: &str) -> String {
    let path = directory.join("atp.toml");
    std::fs::write(&path, text).unwrap();
    let source = Source { path: Some(path), overrides: Overrides::default() };
    let error = match source.read() {
        Ok(loaded) => loaded.wrong(&files::check(&loaded.config)).expect("something is wrong"),
        Err(error) => error,
    };
    let lines: Vec<_> = error.findings().map(ToString::to_string).collect();
    lines.join("\n").replace(&directory.display().to_string(), "/etc/atp")
}
