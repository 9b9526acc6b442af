//! One question to everybody, and what the answers are worth together.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Finding, Sources, State, unknown};
use crate::dns_records::plan::{DEFAULT_TTL, escaped, quoted_strings};
use crate::env::dns::authorities::{Survey, Told};
use crate::env::dns::{Answer, DnsTrouble, Kind, Record};
use crate::proto::svcb::{Svcb, key};

/// Longest TTL nobody wonders at: a change is seen by everybody a day later.
const LONG_TTL: Duration = Duration::from_secs(86_400);
/// Shortest likewise: with less, every message costs questions.
const SHORT_TTL: Duration = Duration::from_secs(60);

/// What one answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub state: State,
    pub text: String,
    pub remove: Vec<String>,
    pub add: Vec<String>,
}

impl Verdict {
    pub fn new(state: State, text: impl Into<String>) -> Verdict {
        Verdict { state, text: text.into(), remove: Vec::new(), add: Vec::new() }
    }

    pub fn good(text: impl Into<String>) -> Verdict {
        Verdict::new(State::Good, text)
    }

    pub fn wrong(text: impl Into<String>) -> Verdict {
        Verdict::new(State::Wrong, text)
    }

    pub fn remove(mut self, lines: impl IntoIterator<Item = String>) -> Verdict {
        self.remove.extend(lines);
        self
    }

    pub fn add(mut self, lines: impl IntoIterator<Item = String>) -> Verdict {
        self.add.extend(lines);
        self
    }
}

/// What everybody answers to one question.
pub(super) struct Look {
    pub name: String,
    pub kind: Kind,
    /// Seconds that such a record should be kept for.
    pub usual_ttl: u32,
    survey: Result<Survey, DnsTrouble>,
    resolved: Result<Answer, DnsTrouble>,
}

impl Look {
    pub async fn at(sources: Sources<'_>, name: &str, kind: Kind) -> Look {
        let (survey, resolved) =
            tokio::join!(sources.authorities.survey(name, kind), sources.resolver.lookup(name, kind));
        Look { name: name.to_owned(), kind, usual_ttl: DEFAULT_TTL, survey, resolved }
    }

    /// What the first name server says that says anything, else the resolver.
    pub fn best(&self) -> Result<&Answer, DnsTrouble> {
        self.told()
            .next()
            .map_or(self.resolved.as_ref().map_err(|trouble| *trouble), |(_, answer)| Ok(answer))
    }

    /// Whether nobody has such a record.
    pub fn is_absent(&self) -> bool {
        self.best().is_ok_and(|answer| answer.records.is_empty())
    }

    fn told(&self) -> impl Iterator<Item = (&Told, &Answer)> {
        let servers = self.survey.iter().flat_map(|survey| &survey.servers);
        servers.filter_map(|told| told.answer.as_ref().ok().map(|answer| (told, answer)))
    }

    /// Judges every answer, and says at which servers each verdict holds.
    pub fn judge(&self, judge: impl Fn(&Answer) -> Verdict) -> Vec<Finding> {
        let mut groups: Vec<(Verdict, Vec<String>)> = Vec::new();
        for (told, answer) in self.told() {
            let verdict = self.with_ttl(judge(answer), answer);
            match groups.iter_mut().find(|(known, _)| *known == verdict) {
                Some((_, at)) => at.push(told_by(told)),
                None => groups.push((verdict, vec![told_by(told)])),
            }
        }
        let mut findings = self.of_groups(groups);
        let settled = !findings.is_empty() && findings.iter().all(Finding::is_settled);
        match &self.resolved {
            Ok(answer) if findings.is_empty() => findings.push(self.finding(judge(answer), Vec::new())),
            Ok(answer) if settled => findings.extend(self.outdated(&judge(answer), answer)),
            Err(trouble) if findings.is_empty() || settled => {
                let text = format!("the resolver: {}", unknown(*trouble));
                findings.push(self.finding(Verdict::new(State::Unknown, text), Vec::new()));
            }
            _ => {}
        }
        findings.extend(self.silent());
        findings
    }

    fn of_groups(&self, mut groups: Vec<(Verdict, Vec<String>)>) -> Vec<Finding> {
        if let [(_, at)] = groups.as_mut_slice() {
            at.clear();
        }
        let is_good = |(verdict, _): &(Verdict, Vec<String>)| verdict.state <= State::Note;
        let some_are_good = groups.iter().any(is_good);
        if groups.iter().all(is_good) {
            return groups.into_iter().map(|(verdict, at)| self.finding(verdict, at)).collect();
        }
        // What is right at some servers needs no line beside what is wrong at others.
        let wrong = groups.into_iter().filter(|group| !is_good(group));
        let finding = |(mut verdict, at): (Verdict, Vec<String>)| {
            if some_are_good {
                verdict
                    .text
                    .push_str("; the zone's other servers have it right, so see why this one has not");
            }
            self.finding(verdict, at)
        };
        wrong.map(finding).collect()
    }

    /// A resolver that has not heard of a change.
    fn outdated(&self, verdict: &Verdict, answer: &Answer) -> Option<Finding> {
        (verdict.state > State::Note).then(|| {
            let seconds = answer.ttl.as_secs();
            let text = format!(
                "the name servers have it right, but the resolver still has an old answer ({}); change nothing \
                 and wait {seconds} s",
                answer.summary()
            );
            self.finding(Verdict::new(State::Waiting, text), Vec::new())
        })
    }

    /// Name servers that do not answer.
    fn silent(&self) -> Vec<Finding> {
        let survey = match &self.survey {
            Ok(survey) => survey,
            Err(trouble) => {
                let text = format!("its name servers cannot be asked: {}", unknown(*trouble));
                return vec![Finding::new(&self.name, "NS", State::Unknown, text)];
            }
        };
        let serves =
            |told: &Told| !matches!(told.answer, Err(DnsTrouble::NotAuthoritative | DnsTrouble::Refused));
        let some_serve = survey.servers.iter().any(serves);
        let finding = |told: &Told| {
            let trouble = told.answer.as_ref().err()?;
            let (server, by) = (&told.server, told_by(told));
            let finding = |state, text| Finding::new(&survey.zone, "NS", state, text);
            Some(match trouble {
                // Without any server the zone would be gone altogether.
                DnsTrouble::NotAuthoritative | DnsTrouble::Refused if !some_serve => finding(
                    State::Wrong,
                    format!(
                        "{by} does not serve the zone, nor does any other of its name servers: see your DNS provider"
                    ),
                ),
                DnsTrouble::NotAuthoritative | DnsTrouble::Refused => Finding {
                    remove: vec![format!("{}. IN NS {server}.", survey.zone)],
                    ..finding(
                        State::Wrong,
                        format!(
                            "{by} is listed as a name server of the zone and does not serve it: let it, or remove it here and at the registrar"
                        ),
                    )
                },
                other => finding(State::Unknown, format!("{by}: {}", unknown(*other))),
            })
        };
        survey.servers.iter().filter_map(finding).collect()
    }

    fn with_ttl(&self, verdict: Verdict, answer: &Answer) -> Verdict {
        let odd = !answer.records.is_empty() && !(SHORT_TTL..=LONG_TTL).contains(&answer.ttl);
        if verdict.state != State::Good || !odd {
            return verdict;
        }
        let (seconds, why) = (
            answer.ttl.as_secs(),
            match answer.ttl > LONG_TTL {
                true => "a change is seen by everybody only after that",
                false => "nearly every message costs questions",
            },
        );
        let better = |record: &Record| {
            format!("{}. {} IN {} {}", self.name, self.usual_ttl, self.kind.as_str(), zone_text(record))
        };
        let text = format!("{}; its TTL is {seconds} s, so {why}", verdict.text);
        Verdict::new(State::Note, text).remove(self.lines(answer)).add(answer.records.iter().map(better))
    }

    /// Every record of an answer as a line of zone text.
    pub fn lines(&self, answer: &Answer) -> Vec<String> {
        answer.records.iter().map(|record| self.line(record, answer)).collect()
    }

    /// A record as a line of zone text.
    pub fn line(&self, record: &Record, answer: &Answer) -> String {
        format!("{}. {} IN {} {}", self.name, answer.ttl.as_secs(), self.kind.as_str(), zone_text(record))
    }

    pub fn finding(&self, verdict: Verdict, at: Vec<String>) -> Finding {
        let Verdict { state, text, remove, add } = verdict;
        Finding { name: self.name.clone(), kind: self.kind.as_str(), state, at, text, remove, add }
    }
}

fn told_by(told: &Told) -> String {
    format!("{} ({})", told.server, told.address)
}

/// A record's data as in zone text.
fn zone_text(record: &Record) -> String {
    match record {
        Record::Svcb(svcb) => svcb_text(svcb),
        Record::Txt(text) => quoted_strings(text),
        Record::Cname(target) => format!("{target}."),
        other => other.to_string(),
    }
}

fn svcb_text(svcb: &Svcb) -> String {
    let mut text = format!("{} {}.", svcb.priority, svcb.target);
    let joined = |list: Vec<String>| list.join(",");
    if !svcb.mandatory.is_empty() {
        let keys = svcb.mandatory.iter().map(|number| key_name(*number)).collect();
        let _ = write!(text, " mandatory={}", joined(keys));
    }
    if let Some(alpn) = &svcb.alpn {
        let _ = write!(text, " alpn=\"{}\"", joined(alpn.iter().map(|id| escaped(id)).collect()));
    }
    if let Some(port) = svcb.port {
        let _ = write!(text, " port={port}");
    }
    if !svcb.ipv4_hints.is_empty() {
        let _ =
            write!(text, " ipv4hint={}", joined(svcb.ipv4_hints.iter().map(ToString::to_string).collect()));
    }
    if !svcb.ipv6_hints.is_empty() {
        let _ =
            write!(text, " ipv6hint={}", joined(svcb.ipv6_hints.iter().map(ToString::to_string).collect()));
    }
    if let Some(capabilities) = &svcb.capabilities {
        let _ = write!(text, " key{}=\"{}\"", key::CAPABILITIES, escaped(capabilities));
    }
    for number in &svcb.other_keys {
        let _ = write!(text, " {}", key_name(*number));
    }
    text
}

fn key_name(number: u16) -> String {
    match number {
        key::ALPN => "alpn".into(),
        key::NO_DEFAULT_ALPN => "no-default-alpn".into(),
        key::PORT => "port".into(),
        key::IPV4_HINT => "ipv4hint".into(),
        key::IPV6_HINT => "ipv6hint".into(),
        other => format!("key{other}"),
    }
}
