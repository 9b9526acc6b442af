//! A server of ours (`ours.test`) and one of the reference (`ref.test`), told of each other by file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::Cli;
use crate::process::{Server, free_port, until};

/// What every agent of these tests logs in with.
pub const PASSWORD: &str = "correct horse";
/// The operator's token on both servers.
pub const ADMIN_TOKEN: &str = "operator-token";

/// One domain: its server and the command line of the same make.
pub struct Node {
    pub domain: &'static str,
    pub server: Server,
    pub cli: Cli,
}

impl Node {
    pub fn address_of(&self, name: &str) -> String {
        format!("{name}@{}", self.domain)
    }

    /// `args` of a command line, with this node as the server to talk to.
    pub fn at(&self, args: &[&str]) -> Vec<String> {
        let server = self.server.address();
        args.iter().copied().chain(["--server", &server, "--no-verify"]).map(str::to_owned).collect()
    }

    /// Registers an agent with the node's own command line.
    pub fn register(&self, name: &str) -> String {
        self.cli.ok(&self.at(&["agent", "register", name, "-p", PASSWORD]));
        self.address_of(name)
    }

    /// Submits a payload; the nonce it got.
    pub fn send(&self, from: &str, to: &str, payload: &Path) -> String {
        let payload = payload.to_str().expect("a UTF-8 path");
        let args = ["send", to, "--from", from, "-P", PASSWORD, "--payload", payload, "--output", "json"];
        let sent = self.cli.json(&self.at(&args));
        assert_eq!(sent["status"], "accepted", "{sent}");
        sent["nonce"].as_str().expect("a nonce").to_owned()
    }

    /// What lies in an agent's mailbox.
    pub fn mailbox(&self, agent: &str) -> Vec<Value> {
        let args = ["recv", "--agent-id", agent, "-P", PASSWORD, "--output", "json"];
        self.cli.json(&self.at(&args)).as_array().expect("a list of messages").clone()
    }
}

/// Both servers, ready to exchange messages.
pub struct Pair {
    pub ours: Node,
    pub theirs: Node,
    dir: TempDir,
}

impl Pair {
    /// Starts ours, which makes its key, then the reference, which reads all its files only at start.
    pub fn start(python: &Path) -> Pair {
        let dir = TempDir::new().expect("a temporary directory");
        let (our_port, their_port) = (free_port(), free_port());
        let reference = Reference::prepare(python, dir.path().join("reference"), "ref.test");
        let ours = start_ours(dir.path(), our_port, &[("ref.test", their_port, &reference.key)]);

        let state = dir.path().join("ours");
        let state = state.to_str().expect("a UTF-8 path");
        let show = ["keys", "show", "--public", "--domain", "ours.test", "--state-dir", state, "--json"];
        let key = ours.cli.json(&show)["public_key"].as_str().expect("a key").to_owned();
        let theirs = reference.start(their_port, &[("ours.test", our_port, &key)]);
        Pair { ours, theirs, dir }
    }

    /// A place for files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Asks again and again while both servers run.
    pub fn until<T>(&self, what: &str, probe: impl FnMut() -> Option<T>) -> T {
        until(what, &[&self.ours.server, &self.theirs.server], probe)
    }
}

/// Starts a server of ours that knows `peers` by domain, port and public key.
pub fn start_ours(dir: &Path, port: u16, peers: &[(&str, u16, &str)]) -> Node {
    let state = dir.join("ours");
    fs::create_dir(&state).expect("a state directory");
    let (peers_file, records_file) = write_directory(dir, "ours", peers);
    let cli = Cli::ours(&state);
    let command = cli.server(&[
        "server",
        "start",
        "--domain",
        "ours.test",
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--state-dir",
        state.to_str().expect("a UTF-8 path"),
        "--peers",
        &peers_file,
        "--dns-override",
        &records_file,
        "--admin-token",
        ADMIN_TOKEN,
    ]);
    let server = Server::start("our server", command, port, dir.join("ours.log"));
    Node { domain: "ours.test", server, cli }
}

/// A reference with its home and key, not yet started.
pub struct Reference {
    domain: &'static str,
    home: PathBuf,
    cli: Cli,
    certificate: [String; 2],
    /// Its public key, base64.
    pub key: String,
}

impl Reference {
    /// Makes the home, the key and a certificate, by the reference's own means.
    pub fn prepare(python: &Path, home: PathBuf, domain: &'static str) -> Reference {
        const MAKE: &str = "import sys; from atp.security.tls import TLSConfig; \
                            TLSConfig.generate_self_signed_cert(*sys.argv[1:])";
        fs::create_dir_all(home.join(".atp")).expect("a home");
        let certificate = ["tls.crt", "tls.key"].map(|name| home.join(name).to_string_lossy().into_owned());
        let [cert, key] = &certificate;
        let made = assert_cmd::Command::new(python).args(["-c", MAKE, cert, key, domain]).ok();
        made.unwrap_or_else(|e| panic!("no certificate for the reference: {e}"));

        let cli = Cli::theirs(python, &home);
        cli.ok(&["keys", "generate"]);
        let shown = cli.ok(&["keys", "show", "--public"]);
        let key = shown.lines().find_map(|line| line.strip_prefix("Public key (base64): "));
        let key = key.unwrap_or_else(|| panic!("no key in {shown:?}")).trim().to_owned();
        Reference { domain, home, cli, certificate, key }
    }

    /// Starts it, knowing `peers` by domain, port and public key.
    pub fn start(self, port: u16, peers: &[(&str, u16, &str)]) -> Node {
        let (peers_file, records_file) = write_directory(&self.home, "reference", peers);
        let config = format!(
            "agent_id = \"\"\nkey_selector = \"default\"\nlocal_mode = true\npeers_file = {peers_file:?}\n\
             dns_override_file = {records_file:?}\n[server]\ndomain = \"\"\nport = {port}\n"
        );
        fs::write(self.home.join(".atp/config.toml"), config).expect("its config.toml");
        let [cert, key] = &self.certificate;
        let command = self.cli.server(&[
            "server",
            "start",
            "--domain",
            self.domain,
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--cert",
            cert,
            "--key",
            key,
            "--admin-token",
            ADMIN_TOKEN,
        ]);
        let server = Server::start("the reference's server", command, port, self.home.join("server.log"));
        Node { domain: self.domain, server, cli: self.cli }
    }
}

/// Writes `peers.toml` and `dns_override.toml`, which both programs read in the same format (ours alone
/// looks at `verify`).
fn write_directory(dir: &Path, name: &str, peers: &[(&str, u16, &str)]) -> (String, String) {
    let mut addresses = String::new();
    let mut records = String::new();
    for (domain, port, key) in peers {
        addresses += &format!("[\"{domain}\"]\nhost = \"127.0.0.1\"\nport = {port}\nverify = false\n");
        records += &format!("[\"ats._atp.{domain}\"]\nrecord = \"v=atp1 allow=ip:127.0.0.1 deny=all\"\n");
        records += &format!("[\"default.atk._atp.{domain}\"]\nrecord = \"v=atp1 k=ed25519 p={key}\"\n");
    }
    let write = |kind: &str, text: String| {
        let path = dir.join(format!("{name}-{kind}.toml"));
        fs::write(&path, text).expect("a directory file");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    (write("peers", addresses), write("records", records))
}
