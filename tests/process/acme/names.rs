//! Name servers that an authority asks: BIND, which takes updates, and the one that comes with Pebble.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atp::env::dns::hickory::HickoryResolver;
use atp::env::dns::{Kind, Record, Resolver as _};

use super::authority::{free_port, is_there};
use crate::place::{Place, text};
use crate::waiting::until;

/// Set to `required` where a missing BIND must fail the tests instead of skipping them.
const BIND_MODE: &str = "ATP_TEST_BIND";

/// A running `named` with one zone; killed when dropped.
pub struct Bind {
    child: Child,
    address: SocketAddr,
    key: String,
    log: PathBuf,
}

impl Bind {
    /// Serves a zone in which every host is 127.0.0.1, and which the key may change. The challenge of `far` is kept
    /// under another name. `None`: this machine has no BIND.
    pub fn start(place: &Place, zone: &str) -> Option<Bind> {
        let what = "dynamic updates of BIND";
        if !is_there("named", "bind9", what, BIND_MODE)
            || !is_there("tsig-keygen", "bind9-utils", what, BIND_MODE)
        {
            return None;
        }
        let key = Command::new("tsig-keygen").args(["-a", "hmac-sha256", "acme"]).output().expect("a key");
        let key = place.file("acme.key", &String::from_utf8(key.stdout).expect("a key"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a file of ours");
        let file = place.file(
            "zone",
            "$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\n* IN A 127.0.0.1\nns IN A 127.0.0.1\n\
             _acme-challenge.far IN CNAME far.challenges\n",
        );
        let directory = PathBuf::from(&file).parent().map(text).expect("a directory");
        let port = free_port();
        let config = place.file(
            "named.conf",
            &format!(
                "include \"{key}\";\ncontrols {{ }};\noptions {{ directory \"{directory}\"; recursion no; \
                 listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none; \
                 session-keyfile none; dnssec-validation no; notify no; }};\n\
                 zone \"{zone}\" {{ type primary; file \"{file}\"; update-policy {{ grant acme zonesub TXT; }}; }};\n"
            ),
        );
        let log = PathBuf::from(place.file("named.log", ""));
        let output = File::create(&log).expect("a log");
        let mut command = Command::new("named");
        command.args(["-g", "-n", "1", "-c", &config]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn().expect("named");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        until("BIND to listen", || TcpStream::connect(address).ok());
        Some(Bind { child, address, key, log })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key's file.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The TXT records it shows, CNAMEs followed.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let resolver =
            HickoryResolver::with_servers(&[self.address], Duration::from_secs(5)).expect("a resolver");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let answer = runtime.block_on(resolver.lookup(name, Kind::Txt)).expect("an answer");
        let texts = answer.records.into_iter().filter_map(|record| match record {
            Record::Txt(text) => String::from_utf8(text).ok(),
            _ => None,
        });
        texts.collect()
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- BIND\n{}", self.log());
        }
    }
}

/// The DNS server that comes with Pebble: every name is 127.0.0.1, and it is told TXT records over HTTP.
pub struct Zones {
    child: Child,
    port: u16,
    management: u16,
}

impl Zones {
    /// `None`: this machine has none.
    pub fn start() -> Option<Zones> {
        if !is_there("pebble-challtestsrv", "pebble", "certificates from an authority", "ATP_TEST_ACME") {
            return None;
        }
        let (port, management) = (free_port(), free_port());
        let mut command = Command::new("pebble-challtestsrv");
        command.args([
            "-dns01",
            &format!("127.0.0.1:{port}"),
            "-management",
            &format!("127.0.0.1:{management}"),
        ]);
        command.args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("pebble-challtestsrv");
        until("the DNS server to listen", || TcpStream::connect(("127.0.0.1", management)).ok());
        until("the DNS server to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Zones { child, port, management })
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// A hook that publishes there, and notes how it was called.
    pub fn hook(&self) -> String {
        format!(
            "#!/bin/bash\nset -eu\necho \"$# $*\" >> \"$0.calls\"\nexec 3<>/dev/tcp/127.0.0.1/{}\n\
             body=\"{{\\\"host\\\": \\\"$2.\\\", \\\"value\\\": \\\"$3\\\"}}\"\n\
             case $1 in present) path=/set-txt ;; cleanup) path=/clear-txt ;; *) exit 64 ;; esac\n\
             printf 'POST %s HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n%s' \"$path\" \"${{#body}}\" \"$body\" >&3\n\
             grep -q '200 OK' <&3\n",
            self.management
        )
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
