//! Alert rules and the dashboard, asked of a real Prometheus that watches two servers.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::{MAY_BE_ABSENT, ask, with_mail};
use crate::place::{Place, text};
use crate::tools;
use crate::waiting::until;

/// Set to `required` where a missing promtool or prometheus must fail the tests instead of skipping them.
const REQUIRED: &str = "ATP_TEST_PROMTOOL";
const RULES: &str = include_str!("../../../conf/prometheus-rules.yml");
const DASHBOARD: &str = include_str!("../../../conf/grafana-dashboard.json");

#[test]
fn alerts_and_dashboard_ask_for_what_there_is() {
    if !installed() {
        return;
    }
    let place = Place::new();
    let [(_alice, admin), (_bob, other)] = with_mail(&place);
    let rules = place.file("rules.yml", RULES);
    let checked = Command::new("promtool").args(["check", "rules", &rules]).output().expect("promtool");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let prometheus = Prometheus::start(&place, &[admin, other]);
    prometheus.await_scrapes();

    let mut queries: Vec<String> =
        RULES.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(String::from).collect();
    assert!(queries.len() >= 15, "{queries:#?}");
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let targets = dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .flat_map(|panel| panel["targets"].as_array())
        .flatten();
    let before = queries.len();
    queries.extend(targets.map(|target| {
        let query = target["expr"].as_str().expect("a query");
        query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$job", ".*")
    }));
    assert!(queries.len() >= before + 30, "{queries:#?}");
    for query in &queries {
        // Whether an alert fires is another matter; but whatever it looks at must be there.
        prometheus.ask(query);
        for series in series(query) {
            let name = series.split('{').next().unwrap_or_default();
            let found = prometheus.ask(&series);
            assert!(
                !found.is_empty() || MAY_BE_ABSENT.contains(&name),
                "{series} of {query}: no server prints that"
            );
        }
    }
    assert!(prometheus.ask("atp_ready == 1").len() == 2, "both servers are ready");
}

/// The series that a query looks at, without the time over which it does.
fn series(query: &str) -> Vec<String> {
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(is_name) {
        let end =
            rest[start..].find(|character| !is_name(character)).map_or(rest.len(), |length| start + length);
        let (name, after) = (&rest[start..end], &rest[end..]);
        let selector =
            if after.starts_with('{') { after.find('}').map_or("", |close| &after[..=close]) } else { "" };
        if name == "up" || name.starts_with("atp_") || name.starts_with("process_") {
            found.push(format!("{name}{selector}"));
        }
        rest = &after[selector.len()..];
    }
    found
}

#[test]
fn the_series_of_a_query_are_found() {
    let query =
        r#"rate(atp_a_total{x="up, y"}[30m]) > 0.1 * sum by (instance) (atp_b) and up{job="atp"} == 0"#;
    assert_eq!(series(query), [r#"atp_a_total{x="up, y"}"#, "atp_b", r#"up{job="atp"}"#]);
}

pub(super) fn installed() -> bool {
    let is = ["promtool", "prometheus"]
        .iter()
        .all(|program| tools::available(program, "prometheus", "METRICS WITH PROMETHEUS"));
    let required = std::env::var(REQUIRED).is_ok_and(|value| value == "required");
    assert!(is || !required, "{REQUIRED}=required: promtool and prometheus must be there");
    is
}

/// A Prometheus that watches servers.
struct Prometheus {
    process: Child,
    address: SocketAddr,
    targets: usize,
}

impl Prometheus {
    fn start(place: &Place, targets: &[SocketAddr]) -> Prometheus {
        let named: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: atp\n    static_configs: [{{ targets: [{}] }}]\n",
            named.join(", ")
        );
        let config = place.file("prometheus.yml", &config);
        // Free a moment ago; nobody else of this test wants it.
        let address =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let data = text(&place.home().join("prometheus"));
        let log = fs::File::create(place.home().join("prometheus.log")).expect("a log");
        let process = Command::new("prometheus")
            .args([
                format!("--config.file={config}"),
                format!("--storage.tsdb.path={data}"),
                format!("--web.listen-address={address}"),
            ])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus");
        let prometheus = Prometheus { process, address, targets: targets.len() };
        until("prometheus to listen", || TcpStream::connect(address).ok().map(drop));
        prometheus
    }

    /// Rates need two looks.
    fn await_scrapes(&self) {
        until("two looks at each server", || {
            let looks = self.ask("min by (instance) (count_over_time(atp_ready[5m]))");
            let enough = |look: &&Value| look["value"][1].as_str().is_some_and(|count| count != "1");
            (looks.iter().filter(enough).count() == self.targets).then_some(())
        });
    }

    /// What it answers to a query.
    fn ask(&self, query: &str) -> Vec<Value> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let (status, body) = ask(self.address, "GET", &format!("/api/v1/query?query={encoded}"), &[]);
        let answer: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
        if status == 503 {
            return Vec::new();
        }
        assert!(status == 200 && answer["status"] == "success", "{query}: {body}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
