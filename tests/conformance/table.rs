//! `docs/conformance.md`: what each case asks, what this server and the reference do, and why that differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde::Deserialize;

use crate::suite::Case;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/conformance.md");
/// The targets with a column of their own.
const COLUMNS: [&str; 2] = ["ours", "reference"];
/// Why cases that need retries within seconds are not asked of the reference.
const NO_RETRY: &str = "not asked";
const SECTIONS: [&str; 13] = [
    "Identity",
    "Message",
    "Signature",
    "Peers, recipients, identity of a delivery",
    "DNS",
    "Transport",
    "HTTP",
    "Registration",
    "Answers",
    "Accepted, once, and what the sender learns",
    "Consent",
    "Local federation without DNS",
    "Webhooks",
];

/// Why targets do something else, as `differences.toml` has it.
pub struct Differences {
    list: Vec<Difference>,
    /// By target and case: the place in the list.
    of: BTreeMap<(String, String), usize>,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    difference: Vec<Difference>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Difference {
    target: String,
    why: String,
    cases: Vec<String>,
}

impl Differences {
    /// Reads the file; every case in it must exist, and be there once for a target.
    pub fn read(cases: &[Case]) -> Result<Differences, String> {
        let File { difference: list } =
            toml::from_str(include_str!("differences.toml")).map_err(|e| format!("differences.toml: {e}"))?;
        let mut of = BTreeMap::new();
        for (place, difference) in list.iter().enumerate() {
            for id in &difference.cases {
                if !cases.iter().any(|case| case.id == *id) {
                    return Err(format!("differences.toml: there is no case {id:?}"));
                }
                if of.insert((difference.target.clone(), id.clone()), place).is_some() {
                    return Err(format!("differences.toml has {id:?} twice"));
                }
            }
        }
        Ok(Differences { list, of })
    }

    /// Under which number the table explains it. `None`: the target does what is asked.
    pub fn number(&self, target: &str, id: &str) -> Option<usize> {
        self.of.get(&(target.to_owned(), id.to_owned())).map(|place| place + 1)
    }

    /// Whether a target has a column, so that everything about it is known.
    pub fn knows(&self, target: &str) -> bool {
        COLUMNS.contains(&target)
    }
}

/// That the committed table is the one that these cases and differences make; writes it where that is wanted.
pub fn check(cases: &[Case], differences: &Differences) -> Result<bool, String> {
    let wanted = render(cases, differences);
    if std::env::var("ATP_CONFORMANCE_WRITE").is_ok_and(|value| value == "1") {
        fs::write(PATH, &wanted).map_err(|e| format!("{PATH}: {e}"))?;
    }
    if fs::read_to_string(PATH).is_ok_and(|text| text == wanted) {
        return Ok(true);
    }
    println!("docs/conformance.md is not what these cases make; ATP_CONFORMANCE_WRITE=1 writes it");
    Ok(false)
}

fn render(cases: &[Case], differences: &Differences) -> String {
    let mut out = include_str!("table.head.md").replace("{count}", &cases.len().to_string());
    for column in COLUMNS {
        let [pass, differ, not] = tally(cases, differences, column);
        let _ = writeln!(out, "| {column} | {pass} | {differ} | {not} |");
    }
    for (number, title) in (1u8..).zip(SECTIONS) {
        let mut of_section = cases.iter().filter(|case| case.section == number).peekable();
        if of_section.peek().is_none() {
            continue;
        }
        let _ = write!(
            out,
            "\n## {number} {title}\n\n| case | | asks | ours | reference |\n|---|---|---|---|---|\n"
        );
        for case in of_section {
            let [ours, reference] = COLUMNS.map(|column| cell(case, differences, column));
            let asks = case.asks.replace('|', "\\|");
            let _ =
                writeln!(out, "| `{}` | {} | {asks} | {ours} | {reference} |", case.id, case.level.as_str());
        }
    }
    out.push_str("\n## Why they differ\n\n");
    for (place, difference) in differences.list.iter().enumerate() {
        let _ = writeln!(out, "{}. ({}) {}", place + 1, difference.target, difference.why.trim());
    }
    out
}

fn cell(case: &Case, differences: &Differences, column: &str) -> String {
    match differences.number(column, &case.id) {
        Some(number) => format!("differs ({number})"),
        None if case.needs.is_some() && column == "reference" => NO_RETRY.to_owned(),
        None => "pass".to_owned(),
    }
}

fn tally(cases: &[Case], differences: &Differences, column: &str) -> [usize; 3] {
    let cells: Vec<String> = cases.iter().map(|case| cell(case, differences, column)).collect();
    let count = |is: fn(&str) -> bool| cells.iter().filter(|cell| is(cell)).count();
    [count(|c| c == "pass"), count(|c| c.starts_with("differs")), count(|c| c == NO_RETRY)]
}
