//! A server of ours (`ours.test`) and one of the reference (`ref.test`), told of each other by file.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::Cli;
use crate::process::{Server, free_port, until};
use crate::wire::Wire;

/// What every agent of these tests logs in with.
pub const PASSWORD: &str = "correct horse";
/// The operator's token on both servers.
pub const ADMIN_TOKEN: &str = "operator-token";
/// Of ours: retries soon enough for a test, the second not before a test has had time to act.
const CONFIG: &str = "[queue]\nschedule = [\"1s\", \"4s\"]\n";

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

    /// Registers an agent.
    pub fn register(&self, name: &str) -> String {
        self.quick().ok(&self.at(&["agent", "register", name, "-p", PASSWORD]));
        self.address_of(name)
    }

    /// Submits a payload; the nonce it got.
    pub fn send(&self, from: &str, to: &str, payload: &Path) -> String {
        let payload = payload.to_str().expect("a UTF-8 path");
        let args = ["send", to, "--from", from, "-P", PASSWORD, "--payload", payload, "--output", "json"];
        let sent = self.quick().json(&self.at(&args));
        assert_eq!(sent["status"], "accepted", "{sent}");
        sent["nonce"].as_str().expect("a nonce").to_owned()
    }

    /// What an agent is told about a message it sent.
    pub fn inspect(&self, nonce: &str, agent: &str) -> Value {
        self.quick().json(&self.at(&["inspect", nonce, "--agent-id", agent, "-P", PASSWORD, "--json"]))
    }

    /// What lies in an agent's mailbox.
    pub fn mailbox(&self, agent: &str) -> Vec<Value> {
        let args = ["recv", "--agent-id", agent, "-P", PASSWORD, "--output", "json"];
        self.quick().json(&self.at(&args)).as_array().expect("a list of messages").clone()
    }

    /// Our command line, whosever the server: theirs takes a second to start.
    fn quick(&self) -> Cli {
        Cli::ours(self.cli.home())
    }
}

/// Both servers, ready to exchange messages.
pub struct Pair {
    pub ours: Node,
    pub theirs: Node,
    /// The reference's public key, base64.
    pub theirs_key: String,
    /// Our server's public key, base64.
    pub our_key: String,
    dir: TempDir,
}

impl Pair {
    /// Starts both.
    pub fn start(python: &Path) -> Pair {
        Pair::start_among(python, &[])
    }

    /// Starts both, ours knowing the port of other domains' servers too.
    pub fn start_among(python: &Path, others: &[(&str, u16)]) -> Pair {
        let their_port = free_port();
        Pair::start_with(python, their_port, their_port, others)
    }

    /// Starts both, ours knowing the reference by the end of a wire.
    pub fn start_over_wire(python: &Path) -> (Pair, Wire) {
        let their_port = free_port();
        let wire = Wire::to(their_port);
        (Pair::start_with(python, their_port, wire.port, &[]), wire)
    }

    /// Starts ours, which makes its key, then the reference, which reads all its files only at start.
    fn start_with(python: &Path, their_port: u16, known_port: u16, others: &[(&str, u16)]) -> Pair {
        let dir = TempDir::new().expect("a temporary directory");
        let our_port = free_port();
        let reference = Reference::prepare(python, dir.path().join("reference"), "ref.test");
        let mut peers = vec![("ref.test", known_port, reference.key.as_str())];
        // Nothing comes from these, so nobody asks for their keys.
        peers.extend(others.iter().map(|(domain, port)| (*domain, *port, reference.key.as_str())));
        let ours = start_ours(dir.path(), our_port, &peers);
        let theirs_key = reference.key.clone();
        let our_key = our_key(&ours.cli, dir.path());
        let theirs = reference.start(their_port, &[("ours.test", our_port, &our_key)]);
        Pair { ours, theirs, theirs_key, our_key, dir }
    }

    /// Kills our server and starts it again over what it left on disk.
    pub fn crash_and_restart_ours(&mut self) {
        let port = self.ours.server.port();
        self.ours.server.kill();
        self.ours.server = run_ours(&self.ours.cli, self.dir.path(), self.ours.domain, port);
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

/// Starts a server of ours in `dir` that knows `peers` by domain, port and public key.
pub fn start_ours(dir: &Path, port: u16, peers: &[(&str, u16, &str)]) -> Node {
    start_like_ours(dir, "ours.test", port, peers)
}

/// The same for another domain.
pub fn start_like_ours(dir: &Path, domain: &'static str, port: u16, peers: &[(&str, u16, &str)]) -> Node {
    let state = state_of(dir, domain);
    fs::create_dir_all(&state).expect("a state directory");
    fs::write(dir.join("ours.toml"), CONFIG).expect("a configuration");
    write_directory(dir, name_of(domain), peers);
    let cli = Cli::ours(&state);
    let server = run_ours(&cli, dir, domain, port);
    Node { domain, server, cli }
}

/// Where our server of `start_ours` keeps its state.
pub fn our_state(dir: &Path) -> PathBuf {
    state_of(dir, "ours.test")
}

fn state_of(dir: &Path, domain: &str) -> PathBuf {
    dir.join(name_of(domain))
}

/// `ours` for `ours.test`.
fn name_of(domain: &str) -> &str {
    domain.split('.').next().unwrap_or(domain)
}

/// The public key of our server, base64.
pub fn our_key(cli: &Cli, dir: &Path) -> String {
    let state = path_text(our_state(dir));
    let show = ["keys", "show", "--public", "--domain", "ours.test", "--state-dir", &state, "--json"];
    cli.json(&show)["public_key"].as_str().expect("a key").to_owned()
}

fn run_ours(cli: &Cli, dir: &Path, domain: &str, port: u16) -> Server {
    let name = name_of(domain);
    let config = path_text(dir.join("ours.toml"));
    let [peers, records] =
        ["peers", "records"].map(|kind| path_text(dir.join(format!("{name}-{kind}.toml"))));
    let command = cli.server(&[
        "server",
        "start",
        "--domain",
        domain,
        "--host",
        "127.0.0.1",
        "--port",
        &port.to_string(),
        "--state-dir",
        &path_text(state_of(dir, domain)),
        "--config",
        &config,
        "--peers",
        &peers,
        "--dns-override",
        &records,
        "--admin-token",
        ADMIN_TOKEN,
    ]);
    let server = Server::start("our server", command, port, dir.join(format!("{name}.log")));
    let status = ["status", "--server", &server.address(), "--no-verify", "--admin-token", ADMIN_TOKEN];
    until("our server at work", &[&server], || cli.run(&status).success.then_some(()));
    server
}

/// A reference with its home and key, not yet started.
pub struct Reference {
    domain: &'static str,
    home: PathBuf,
    pub cli: Cli,
    certificate: [String; 2],
    /// Its public key, base64.
    pub key: String,
}

impl Reference {
    /// Makes the home, the key and a certificate, by the reference's own means.
    pub fn prepare(python: &Path, home: PathBuf, domain: &'static str) -> Reference {
        let cli = Cli::theirs(python, &home);
        Reference::prepare_for(python, home, domain, cli)
    }

    /// The same, to be run by a clock that the file `clock` sets: seconds to add to the machine's.
    pub fn prepare_by_clock(python: &Path, home: PathBuf, domain: &'static str, clock: &Path) -> Reference {
        let cli = Cli::theirs_by_clock(python, &home, clock);
        Reference::prepare_for(python, home, domain, cli)
    }

    fn prepare_for(python: &Path, home: PathBuf, domain: &'static str, cli: Cli) -> Reference {
        const MAKE: &str = "import pathlib, sys\n\
                            from atp.security.tls import TLSConfig\n\
                            from atp.storage.keys import KeyStorage\n\
                            TLSConfig.generate_self_signed_cert(*sys.argv[2:])\n\
                            keys = KeyStorage(pathlib.Path(sys.argv[1]))\n\
                            keys.generate()\n\
                            print(keys.get_public_key_b64())";
        let keys = home.join(".atp/keys");
        fs::create_dir_all(&keys).expect("a home");
        let certificate = ["tls.crt", "tls.key"].map(|name| path_text(home.join(name)));
        let [cert, key] = &certificate;
        let mut make = assert_cmd::Command::new(python);
        let made = make.args(["-c", MAKE, &path_text(keys), cert, key, domain]).ok();
        let made = made.unwrap_or_else(|e| panic!("no key and certificate for the reference: {e}"));
        let key = String::from_utf8(made.stdout).expect("base64").trim().to_owned();
        Reference { domain, home, cli, certificate, key }
    }

    /// Where it keeps its private key.
    pub fn private_key(&self) -> PathBuf {
        self.home.join(".atp/keys/default.key")
    }

    /// Starts it, knowing `peers` by domain, port and public key.
    pub fn start(&self, port: u16, peers: &[(&str, u16, &str)]) -> Node {
        let (peers_file, records_file) = write_directory(&self.home, "reference", peers);
        let config = format!(
            "agent_id = \"\"\nkey_selector = \"default\"\nlocal_mode = true\npeers_file = {peers_file:?}\n\
             dns_override_file = {records_file:?}\n[server]\ndomain = \"\"\nport = {port}\n"
        );
        fs::write(self.home.join(".atp/config.toml"), config).expect("its config.toml");
        Node { domain: self.domain, server: self.run(port), cli: self.cli.clone() }
    }

    /// Starts it again over what it has on disk.
    pub fn run(&self, port: u16) -> Server {
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
        Server::start("the reference's server", command, port, self.home.join("server.log"))
    }
}

fn path_text(path: PathBuf) -> String {
    path.into_os_string().into_string().expect("a UTF-8 path")
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
        path_text(path)
    };
    (write("peers", addresses), write("records", records))
}
