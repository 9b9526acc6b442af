//! The configuration is read again while a server runs: at SIGHUP and by `atp reload`.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::place::{PASSWORD, PROGRAM, Place, Said, nonces};
use crate::server::Server;
use crate::waiting::{pause, until};

/// A place with a configuration in it.
pub struct Configured {
    pub place: Place,
    path: String,
}

impl Configured {
    pub fn new(text: &str) -> Configured {
        let place = Place::new();
        // Nobody listens there.
        place.file("peers.toml", "[\"away.test\"]\nhost = \"127.0.0.1\"\nport = 1\n");
        let path = place.file("atp.toml", text);
        Configured { place, path }
    }

    pub fn start(&self) -> Server {
        let command = self.place.command(&["server", "start", "--config", &self.path, "--port", "0"]);
        Server::start(command, self.place.log())
    }

    pub fn write(&self, text: &str) {
        fs::write(&self.path, text).expect("a configuration");
    }

    pub fn reload(&self) -> Said {
        self.place.run(&["reload", "--domain", "a.local"])
    }

    /// Writes a configuration and puts it in force; what was told.
    pub fn change(&self, text: &str) -> String {
        self.write(text);
        let said = self.reload();
        assert_eq!(said.code, 0, "{said:#?}");
        said.stdout
    }

    /// Has a message tried again at once; what came of its last attempt.
    pub fn tried_again(&self, nonce: &str) -> String {
        let at = ["--domain", "a.local"];
        // The destination may be given a rest, and the message may be under way.
        self.place.run(&[&["queue", "resume", "away.test"], at.as_slice()].concat());
        self.place.run(&[&["queue", "retry", nonce], at.as_slice()].concat());
        let shown = self.place.json(&[&["queue", "show", nonce, "--json"], at.as_slice()].concat());
        let story = shown["messages"][0]["recipients"][0]["story"].as_array().cloned().unwrap_or_default();
        let attempt = story.iter().rfind(|step| step["code"].as_str().is_some_and(|code| !code.is_empty()));
        attempt.map_or_else(String::new, Value::to_string)
    }

    fn refused(&self, server: &Server, agent: &str) -> bool {
        let name = server.name();
        let words = ["recv", "--agent-id", agent, "-P", PASSWORD, "--server", &name, "--no-verify"];
        let said = self.place.run(&words);
        said.code == 1 && said.stderr.contains("535 5.7.8")
    }
}

pub const ONE: &str =
    "domains = [\"a.local\"]\n[dns]\npeers = \"peers.toml\"\n[queue]\nschedule = [\"1s\"]\n";
pub const TWO: &str =
    "domains = [\"a.local\", \"b.local\"]\n[dns]\npeers = \"peers.toml\"\n[queue]\nschedule = [\"1s\"]\n";

#[test]
fn an_unchanged_configuration_changes_nothing() {
    let configured = Configured::new(ONE);
    let server = configured.start();
    assert_eq!(configured.change(ONE), "nothing has changed\n");
    let commented = format!("# said otherwise\n{ONE}max_attempts = 1024\n");
    assert_eq!(configured.change(&commented), "nothing has changed\n");
    server.stop();
}

#[test]
fn a_broken_configuration_changes_nothing_and_says_why() {
    let configured = Configured::new(ONE);
    let server = configured.start();
    configured.place.register(&server, "ann");
    let broken =
        ONE.replace("\"1s\"", "\"1 second\"") + "max_attempts = 0\n[server]\nmax_message_size = \"8KiB\"\n";
    configured.write(&broken);
    let said = configured.reload();
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert_eq!((said.code, lines.len(), said.stdout.as_str()), (1, 2, ""), "{said:#?}");
    assert!(lines[0].contains("atp.toml, line 5: queue.schedule: \"1 second\" is not a time"), "{said:#?}");
    assert!(lines[1].contains("line 6: queue.max_attempts: must be 8 to 16384; the old"), "{said:#?}");

    server.signal("HUP");
    until("the reason in the log", || server.log().contains("the old one stays").then_some(()));
    // Nothing of it is in force, not even what was right.
    let long = "x".repeat(9000);
    configured.place.send(&server, "ann", "ann@a.local", &long);

    let missing = format!("{ONE}[tls]\nextra_roots = \"none.pem\"\n");
    configured.write(&missing);
    let said = configured.reload();
    assert_eq!(said.code, 1, "{said:#?}");
    assert!(said.stderr.contains("line 7: tls.extra_roots: cannot read"), "{said:#?}");
    configured.write("domains = [\"b.local\", \"a.local\"]\n");
    let said = configured.reload();
    assert!(said.code == 1 && said.stderr.contains("stays a.local while it runs"), "{said:#?}");
    assert_eq!(configured.change(ONE), "nothing has changed\n");
}

#[test]
fn a_storm_of_signals_is_answered_by_few_reloads() {
    let configured = Configured::new(ONE);
    let mut server = configured.start();
    let storm = |server: &Server| {
        let script = format!("for i in $(seq 1000); do kill -HUP {} || exit 1; done", server.pid());
        assert!(Command::new("sh").args(["-c", &script]).status().expect("a shell").success());
    };
    storm(&server);
    // A signal that is answered late may have brought the change before it is asked for.
    let said = configured.change(TWO);
    let changed = "changed: domains: [\"a.local\"] is now [\"a.local\", \"b.local\"]\n";
    assert!([changed, "nothing has changed\n"].contains(&said.as_str()), "{said}");
    configured.place.register(&server, "bob@b.local");
    let reloads = server.log().matches("the configuration was read again").count();
    assert!((1..500).contains(&reloads), "{reloads}");
    // Neither does it keep the server from stopping.
    storm(&server);
    server.signal("TERM");
    assert!(server.ended().success());
}

#[test]
fn a_pipe_in_the_configuration_holds_no_reload_up() {
    let configured = Configured::new(ONE);
    let server = configured.start();
    let pipe = configured.place.state().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    for key in ["[tls]\nextra_roots", "[server]\nkey = \"peers.toml\"\ncert"] {
        configured.write(&format!("{ONE}{key} = \"{}\"\n", pipe.display()));
        let said = configured.reload();
        assert!(said.code == 1 && said.stderr.contains("it is not a regular file"), "{said:#?}");
    }
    assert_eq!(configured.change(ONE), "nothing has changed\n");
    server.stop();
}

#[test]
fn what_takes_a_restart_is_named_and_holds_nothing_up() {
    let configured = Configured::new(ONE);
    let server = configured.start();
    configured.place.register(&server, "ann");
    let next = format!(
        "{ONE}[admin]\nlisten = \"127.0.0.1:7999\"\n[server]\nmax_message_size = \"16KiB\"\nport = 1\n"
    );
    for told in [configured.change(&next), configured.change(&next)] {
        assert!(told.contains("needs a restart: admin.listen: \"127.0.0.1:7999\"\n"), "{told}");
        // The command line decides over the port, whatever the file says.
        assert!(!told.contains("server.port"), "{told}");
    }
    let name = server.name();
    let long = "x".repeat(17_000);
    let words = [
        "send",
        "ann@a.local",
        "--from",
        "ann@a.local",
        "-P",
        PASSWORD,
        "-b",
        &long,
        "--server",
        &name,
        "--no-verify",
    ];
    let said = configured.place.run(&words);
    assert!(said.code == 1 && said.stderr.contains("552 5.3.4"), "{said:#?}");
}

#[test]
fn the_log_changes_its_level_and_its_form() {
    let configured = Configured::new(ONE);
    let server = configured.start();
    configured.place.register(&server, "ann");
    configured.place.send(&server, "ann", "ann@a.local", "quiet");
    assert!(!server.log().contains("DEBUG"), "{}", server.log());
    let told = configured.change(&format!("{ONE}[log]\nlevel = \"debug\"\n"));
    assert_eq!(told, "changed: log.level: \"info\" is now \"debug\"\n");
    let nonce = configured.place.send(&server, "ann", "ann@a.local", "loud");
    until("the submission in the log", || {
        let log = server.log();
        log.lines().any(|line| line.contains("DEBUG") && line.contains(&nonce)).then_some(())
    });
    configured.change(&format!("{ONE}[log]\nlevel = \"debug\"\nformat = \"json\"\n"));
    let nonce = configured.place.send(&server, "ann", "ann@a.local", "as JSON");
    until("a line of JSON", || {
        let log = server.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| line["message"] == "accepted" && line["nonce"] == nonce.as_str()).then_some(())
    });
    server.stop();
}

#[test]
fn a_domain_comes_and_goes_and_comes_back() {
    let configured = Configured::new(ONE);
    let place = &configured.place;
    let server = configured.start();
    let carol = place.server("c.local", &[]);
    place.register(&server, "ann@a.local");
    place.register(&carol, "carol");
    let told = configured.change(TWO);
    assert_eq!(told, "changed: domains: [\"a.local\"] is now [\"a.local\", \"b.local\"]\n");

    // Mail to it is taken at once: from this daemon's own agents, and from elsewhere.
    place.register(&server, "bob@b.local");
    let name = server.name();
    let words =
        ["send", "bob@b.local", "--cc", "ann@a.local", "--from", "ann@a.local", "-P", PASSWORD, "-b", "hi"];
    place.ok(&[words.as_slice(), &["--server", &name, "--no-verify"]].concat());
    assert_eq!(place.mailbox(&server, "bob@b.local").len(), 1);
    assert_eq!(place.mailbox(&server, "ann@a.local").len(), 1);
    place.send(&carol, "carol@c.local", "bob@b.local", "from afar");
    until("carol's message", || (place.mailbox(&server, "bob@b.local").len() == 2).then_some(()));
    // It signs with keys of its own.
    let answer = place.send(&server, "bob@b.local", "carol@c.local", "an answer");
    until("bob's answer", || {
        let messages = place.mailbox(&carol, "carol@c.local");
        nonces(&messages).contains(&answer.as_str()).then_some(())
    });
    let waiting = place.send(&server, "bob@b.local", "x@away.test", "this waits");

    // Gone: nobody gets in, and its mail waits.
    configured.change(ONE);
    assert!(configured.refused(&server, "bob@b.local"));
    until("the reason why it waits", || {
        let last = configured.tried_again(&waiting);
        last.contains("does not serve b.local at present").then_some(())
    });
    place.send(&server, "ann@a.local", "ann@a.local", "the others go on");

    // Back: everything is still there.
    configured.change(TWO);
    assert_eq!(place.mailbox(&server, "bob@b.local").len(), 2);
    until("the attempts to go on", || {
        let last = configured.tried_again(&waiting);
        (!last.contains("does not serve")).then_some(())
    });
    server.stop();
}

#[test]
fn a_domain_has_limits_of_its_own() {
    let text = format!(
        "{TWO}[domain.\"b.local\"]\nmax_message_size = \"16KiB\"\nquota = \"20KiB\"\nregistration = \"open\"\n"
    );
    let configured = Configured::new(&text);
    let place = &configured.place;
    let server = configured.start();
    place.register(&server, "ann@a.local");
    place.register(&server, "bob@b.local");
    let (name, long) = (server.name(), "x".repeat(17_000));
    let send = |from, to, body| {
        place.run(&["send", to, "--from", from, "-P", PASSWORD, "-b", body, "--server", &name, "--no-verify"])
    };
    // What b.local takes counts for whoever sends to it, and for what its own agents send.
    let said = send("ann@a.local", "bob@b.local", &long);
    assert!(said.code == 1 && said.stderr.contains("552 5.3.4"), "{said:#?}");
    let said = send("bob@b.local", "ann@a.local", &long);
    assert!(said.code == 1 && said.stderr.contains("552 5.3.4"), "{said:#?}");
    assert_eq!(send("ann@a.local", "ann@a.local", &long).code, 0);
    let long = "x".repeat(11_000);
    assert_eq!(send("ann@a.local", "bob@b.local", &long).code, 0);
    let said = send("ann@a.local", "bob@b.local", &long);
    assert!(said.code == 1 && said.stderr.contains("452 4.2.2"), "{said:#?}");

    // And as soon as the quota is another one, there is room.
    configured.change(&text.replace("20KiB", "1MiB"));
    assert_eq!(send("ann@a.local", "bob@b.local", &long).code, 0);
    assert_eq!(place.mailbox(&server, "bob@b.local").len(), 2);
}

#[test]
fn mail_goes_on_while_the_configuration_is_read_again() {
    let configured = Configured::new(ONE);
    let place = &configured.place;
    let server = configured.start();
    let carol = place.server("c.local", &[]);
    place.register(&server, "ann@a.local");
    place.register(&carol, "carol");
    let (home, path, done) = (place.home(), configured.path.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (home, path, done) = (&home, &path, &done);
        let reloads = scope.spawn(move || {
            let mut reloads = 0;
            while !done.load(Ordering::Relaxed) {
                fs::write(path, if reloads % 2 == 0 { TWO } else { ONE }).expect("a configuration");
                let said = Command::new(PROGRAM)
                    .args(["reload", "--domain", "a.local"])
                    .env("HOME", home)
                    .output()
                    .expect("an answer");
                assert!(said.status.success(), "{said:?}");
                reloads += 1;
            }
            reloads
        });
        for number in 0..20 {
            place.send(&server, "ann@a.local", "carol@c.local", &format!("{number}"));
        }
        done.store(true, Ordering::Relaxed);
        assert!(reloads.join().expect("the reloads") > 1);
    });
    until("every message", || (place.mailbox(&carol, "carol").len() == 20).then_some(()));
    assert_eq!(place.mailbox(&server, "ann@a.local").len(), 0, "no bounces");
}

#[test]
fn a_key_changes_over_however_often_the_configuration_is_read_again() {
    // Keys are looked at every 5 s.
    const LONG: Duration = Duration::from_secs(20);
    let configured = Configured::new(ONE);
    let server = configured.start();
    let keys = ["keys", "rotate", "--selector", "next", "--domain", "a.local"];
    configured.place.ok(&keys);
    let (begun, mut texts) = (Instant::now(), [TWO, ONE].iter().cycle());
    while !server.log().contains("signing with this key from now on") {
        assert!(begun.elapsed() < LONG, "the key never changed:\n{}", server.log());
        configured.change(texts.next().expect("a configuration"));
        pause(Duration::from_millis(200));
    }
}
