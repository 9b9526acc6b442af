//! The server that is tested: how it is started, or where it runs already, and how it gets agents.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tokio::net::TcpStream;

use crate::site::Site;
use crate::suite::{Need, Outcome, until};
use crate::wire::dns::Dns;
use crate::wire::dns_message::{Svcb, kind};
use crate::wire::http::Call;
use crate::wire::tls::Authority;

/// Lines of a server's log that are shown when it does not start.
const SHOWN_LINES: usize = 30;
/// How often a server's key is asked for before it is there.
const KEY_TRIES: usize = 50;

/// A server to be tested. Texts are commands for `sh`; what stands in braces is filled in (README.md).
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Its name in what is printed.
    pub name: String,
    /// Starts it, and ends when it ends. Absent: it runs already at `running`.
    pub start: Option<String>,
    /// Where it runs already.
    pub running: Option<SocketAddr>,
    /// Prints its public key. Absent: what it signs is not checked against a key.
    pub key: Option<String>,
    /// Makes an agent. Absent: `POST register` (docs/protocol.md §8) does.
    pub register: Option<String>,
    pub domain: String,
    /// Where the suite's DNS listens.
    pub dns: Option<SocketAddr>,
    pub lacks: Vec<Need>,
    /// Cases at once at one server.
    pub parallel: usize,
    /// Servers at once; with more than one, each subject has a server of its own.
    pub servers: usize,
}

impl Target {
    /// The server of this build.
    pub fn ours(program: &str) -> Target {
        let start = format!(
            "printf '[queue]\\nschedule = [\"1s\"]\\n[guard]\\nmin_free_disk = \"0B\"\\nmin_free_disk_percent = 0\\n' \
             > '{{state}}/fast.toml' && exec '{program}' server start --domain {{domain}} --host {{host}} \
             --port {{port}} --state-dir '{{state}}/atp' --dns-server {{dns}} --ca '{{ca}}' --cert '{{cert}}' \
             --key '{{key}}' --config '{{state}}/fast.toml'"
        );
        Target {
            name: "ours".to_owned(),
            start: Some(start),
            key: Some(format!(
                "'{program}' keys show --public --json --domain {{domain}} --state-dir '{{state}}/atp'"
            )),
            domain: "tested.test".to_owned(),
            parallel: 24,
            servers: 1,
            ..Target::default()
        }
    }

    /// The published Python package.
    pub fn reference(python: &Path) -> Target {
        let python = python.display();
        let adapter = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/reference.py");
        let start = format!(
            "SSL_CERT_FILE='{{ca}}' exec '{python}' '{adapter}' {{dns}} server start --domain {{domain}} \
             --host {{host}} --port {{port}} --cert '{{cert}}' --key '{{key}}' --log-level WARNING"
        );
        Target {
            name: "reference".to_owned(),
            start: Some(start),
            key: Some("cat '{state}/.atp/keys/default.pub'".to_owned()),
            domain: "tested.test".to_owned(),
            lacks: vec![Need::Retry],
            // At a single server its database was found locked from the middle of a run to its end.
            parallel: 4,
            servers: 4,
            ..Target::default()
        }
    }

    /// What the environment describes; see README.md.
    pub fn from_environment() -> Result<Option<Target>, String> {
        let get =
            |name: &str| std::env::var(format!("ATP_CONFORMANCE_{name}")).ok().filter(|v| !v.is_empty());
        let address = |name: &str| {
            let parse = |text: String| {
                text.parse().map_err(|_| format!("ATP_CONFORMANCE_{name} is no IP:PORT: {text}"))
            };
            get(name).map(parse).transpose()
        };
        let (start, running) = (get("START"), address("SERVER")?);
        if start.is_none() && running.is_none() {
            return Ok(None);
        }
        let without = get("WITHOUT").unwrap_or_default();
        let lacks = without.split([',', ' ']).filter(|word| !word.is_empty()).map(|word| {
            let known = Need::ALL.into_iter().find(|need| need.as_str() == word);
            known.ok_or_else(|| format!("ATP_CONFORMANCE_WITHOUT names {word:?}, which is none of: retry"))
        });
        Ok(Some(Target {
            name: get("NAME").unwrap_or_else(|| "the server".to_owned()),
            start,
            running,
            key: get("KEY"),
            register: get("REGISTER"),
            domain: get("DOMAIN").unwrap_or_else(|| "tested.test".to_owned()),
            dns: address("DNS")?,
            lacks: lacks.collect::<Result<_, _>>()?,
            parallel: get("PARALLEL").and_then(|text| text.parse().ok()).unwrap_or(8),
            servers: 1,
        }))
    }
}

/// A target at work.
pub struct Running {
    pub domain: String,
    /// The name in its certificate.
    pub host: String,
    pub address: SocketAddr,
    /// Its public key; zeros if it is not known.
    pub key: [u8; 32],
    register: Option<String>,
    words: Words,
    child: Option<Child>,
    log: PathBuf,
}

impl Running {
    /// Starts a target, `state` being an empty directory for it.
    pub async fn start(
        target: &Target,
        dns: &Dns,
        authority: &Authority,
        state: &Path,
    ) -> Result<Running, String> {
        let host = format!("atp.{}", target.domain);
        let words = Words::prepare(&target.domain, &host, dns, authority, state)?;
        let log = state.join("server.log");
        let mut running = Running {
            domain: target.domain.clone(),
            address: target.running.unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, words.port))),
            host,
            key: [0; 32],
            register: target.register.clone(),
            words,
            child: None,
            log,
        };
        running.publish(dns);
        if let Some(command) = &target.start {
            running.child = Some(running.spawn(command)?);
        }
        running.await_listening().await?;
        if let Some(command) = &target.key {
            running.key = running.read_key(command).await?;
        }
        let text = format!("v=atp1 k=ed25519 p={}", BASE64_STANDARD.encode(running.key));
        dns.txt(&format!("default.atk._atp.{}", running.domain), &text);
        Ok(running)
    }

    /// Makes an agent.
    pub async fn register(&self, site: &Site, address: &str, password: &str) -> Outcome {
        let Some(command) = &self.register else {
            let body = json!({"agent_id": address, "password": password});
            let reply = site.send(Call::json("POST", "register", &body)).await?;
            return reply.has_status(201).map_err(|got| format!("{address} is not registered: {got}"));
        };
        let command = command.replace("{agent}", address).replace("{password}", password);
        self.run(&command).map(|_| ())
    }

    /// The end of what it wrote.
    pub fn story(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
    }

    /// What DNS says of it while others ask.
    fn publish(&self, dns: &Dns) {
        dns.addresses(&self.host, &[self.address.ip()]);
        let service = Svcb::new(1, &self.host).port(self.address.port());
        dns.set(&format!("_atp.{}", self.domain), kind::SVCB, vec![service.data()]);
        dns.txt(&format!("ats._atp.{}", self.domain), "v=atp1 allow=ip:127.0.0.1 deny=all");
    }

    fn command(&self, text: &str) -> Command {
        let mut command = Command::new("sh");
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.arg("-c").arg(self.words.fill(text)).env("HOME", &self.words.state).env("PATH", path);
        command.env("PYTHONUTF8", "1").stdin(Stdio::null());
        command
    }

    fn spawn(&self, text: &str) -> Result<Child, String> {
        let log = File::create(&self.log).map_err(|e| format!("{}: {e}", self.log.display()))?;
        let err = log.try_clone().map_err(|e| e.to_string())?;
        let mut command = self.command(text);
        command.stdout(log).stderr(err).spawn().map_err(|e| format!("sh cannot be started: {e}"))
    }

    fn run(&self, text: &str) -> Result<String, String> {
        let output = self.command(text).output().map_err(|e| format!("sh cannot be started: {e}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{text}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
    }

    async fn await_listening(&mut self) -> Outcome {
        let address = self.address;
        let connects = || async move { Ok(TcpStream::connect(address).await.ok()) };
        let listening = until(&format!("a server at {address}"), connects).await.map(|_| ());
        listening.map_err(|why| format!("{why}\n{}", self.story()))
    }

    async fn read_key(&self, command: &str) -> Result<[u8; 32], String> {
        let mut last = String::new();
        for _ in 0..KEY_TRIES {
            match self.run(command) {
                Ok(text) => return key_in(&text).ok_or_else(|| format!("no ed25519 key in {text:?}")),
                Err(why) => last = why,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(last)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first word that is a key: base64 of 32 bytes or of their DER, by itself, in quotes or behind `p=`.
fn key_in(text: &str) -> Option<[u8; 32]> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '"' | ','));
    words.map(|word| word.strip_prefix("p=").unwrap_or(word)).find_map(|word| {
        let bytes = BASE64_STANDARD.decode(word).ok()?;
        let raw = if bytes.len() == 44 { bytes.get(12..)? } else { &bytes };
        raw.try_into().ok()
    })
}

/// What can stand in braces in a target's commands.
struct Words {
    state: PathBuf,
    port: u16,
    pairs: Vec<(&'static str, String)>,
}

impl Words {
    /// Writes the files that a server needs and takes a port for it.
    fn prepare(
        domain: &str,
        host: &str,
        dns: &Dns,
        authority: &Authority,
        state: &Path,
    ) -> Result<Words, String> {
        let certificate = authority.issue(&[host]).map_err(|e| e.to_string())?;
        let write = |name: &str, text: String| {
            let path = state.join(name);
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok::<_, String>(path.display().to_string())
        };
        let port = free_port()?;
        let pairs = vec![
            ("{domain}", domain.to_owned()),
            ("{name}", host.to_owned()),
            ("{host}", IpAddr::from(Ipv4Addr::LOCALHOST).to_string()),
            ("{port}", port.to_string()),
            ("{dns}", dns.address().to_string()),
            ("{dns_ip}", dns.address().ip().to_string()),
            ("{dns_port}", dns.address().port().to_string()),
            ("{ca}", write("ca.pem", authority.pem())?),
            ("{cert}", write("server.crt", certificate.certificate_pem())?),
            ("{key}", write("server.key", certificate.key_pem())?),
            ("{state}", state.display().to_string()),
        ];
        Ok(Words { state: state.to_owned(), port, pairs })
    }

    fn fill(&self, text: &str) -> String {
        self.pairs.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
    Ok(listener.local_addr().map_err(|e| e.to_string())?.port())
}
