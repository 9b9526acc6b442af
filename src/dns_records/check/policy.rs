//! ATS: from where the domain's messages come.

use std::net::IpAddr;

use super::hosts::listed;
use super::look::{Look, Verdict};
use super::{Finding, Needs, Sender, Sources, State};
use crate::dns_records::ats_name;
use crate::dns_records::plan::{DEFAULT_TTL, quoted_strings};
use crate::env::dns::{Answer, Kind, Record};
use crate::proto::ats::{self, Policy, Rule, Source, VERSION, Verdict as Says};

/// Also gives the policy, where it can be read.
pub(super) async fn check(
    sources: Sources<'_>,
    needs: &Needs,
    senders: &[Sender],
) -> (Vec<Finding>, Option<Policy>) {
    let look = Look::at(sources, &ats_name(&needs.domain), Kind::Txt).await;
    let addresses: Vec<IpAddr> = senders.iter().map(|sender| sender.ip).collect();
    let wanted = match addresses.as_slice() {
        [] => "v=atp1 allow=ip:<the server's address> deny=all".to_owned(),
        addresses => Policy::for_addresses(addresses),
    };
    let add = text_line(&look.name, DEFAULT_TTL, &wanted);
    let findings = look.judge(|answer| judge(&look, answer, needs, senders, &add));
    let policy = look.best().ok().and_then(|answer| ats::select(&texts(answer)).ok().flatten());
    (findings, policy.and_then(|text| Policy::parse(&text).ok()))
}

pub(super) fn text_line(name: &str, ttl: u32, text: &str) -> String {
    format!("{name}. {ttl} IN TXT {}", quoted_strings(text))
}

pub(super) fn texts(answer: &Answer) -> Vec<Vec<u8>> {
    let text = |record: &Record| match record {
        Record::Txt(text) => Some(text.clone()),
        _ => None,
    };
    answer.records.iter().filter_map(text).collect()
}

/// The records that are meant to be ours: all that have our version in them, however written.
pub(super) fn meant(look: &Look, answer: &Answer) -> Vec<String> {
    let ours = answer.records.iter().filter(|record| match record {
        Record::Txt(text) => is_meant(text),
        _ => false,
    });
    ours.map(|record| look.line(record, answer)).collect()
}

fn is_meant(text: &[u8]) -> bool {
    text.to_ascii_lowercase().windows(VERSION.len()).any(|window| window == VERSION.as_bytes())
}

/// The text of the one record that counts, or why none does.
pub(super) fn own_text(look: &Look, answer: &Answer, absent: &str) -> Result<String, Verdict> {
    let texts = texts(answer);
    let remove = meant(look, answer);
    match ats::select(&texts) {
        Ok(Some(text)) => Ok(text),
        Err(_) => Err(Verdict::wrong("two v=atp1 records, so none is believed").remove(remove)),
        Ok(None) if texts.iter().any(|text| is_meant(text) && text.contains(&b'"')) => Err(Verdict::wrong(
            "there are quotes inside the text: whatever wrote the record sets them itself, so write it without",
        )
        .remove(remove)),
        Ok(None) if !remove.is_empty() => {
            let text = "the text is split in the wrong place: its parts are joined without a space, and the first \
                        word must be v=atp1";
            Err(Verdict::wrong(text).remove(remove))
        }
        Ok(None) => Err(Verdict::wrong(absent)),
    }
}

fn judge(look: &Look, answer: &Answer, needs: &Needs, senders: &[Sender], add: &str) -> Verdict {
    let add = || [add.to_owned()];
    let text = match own_text(look, answer, "there is none, so nobody need believe that a message is yours") {
        Ok(text) => text,
        Err(verdict) => return verdict.add(add()),
    };
    let remove = || meant(look, answer);
    let policy = match Policy::parse(&text) {
        Ok(policy) => policy,
        Err(error) => {
            let text = format!("{error}, so every message is refused");
            return Verdict::wrong(text).remove(remove()).add(add());
        }
    };
    for Sender { ip, is_sure } in senders {
        let why = match outcome(&policy, *ip) {
            Outcome::Says(Says::Deny) | Outcome::Silent if !is_sure => {
                return Verdict::wrong(disagreement(*ip, &policy, needs));
            }
            Outcome::Says(Says::Allow) => continue,
            Outcome::Says(Says::Deny) => format!("it denies {ip}, from where messages are sent"),
            Outcome::Silent => format!("it says nothing about {ip}, from where messages are sent"),
            Outcome::Elsewhere => {
                format!("whether {ip} may send depends on other names, which not every server follows")
            }
        };
        // What the operator says of others stays.
        let amended = text_line(&look.name, DEFAULT_TTL, &amended(&text, &policy, senders));
        return Verdict::wrong(why).remove(remove()).add([amended]);
    }
    if allows_everybody(&policy) {
        let why = "allow=all lets everybody send in the domain's name";
        return Verdict::new(State::Note, why).remove(remove()).add(add());
    }
    Verdict::good(text)
}

/// Which of two records is wrong cannot be told from them: either may be about another server.
fn disagreement(ip: IpAddr, policy: &Policy, needs: &Needs) -> String {
    let machine = match needs.this_machine.as_slice() {
        [] => String::new(),
        own => {
            let (allowed, other): (Vec<IpAddr>, Vec<IpAddr>) =
                own.iter().partition(|ip| matches!(outcome(policy, **ip), Outcome::Says(Says::Allow)));
            let about = |own: &[IpAddr], what| match own {
                [] => None,
                own => Some(format!("{}, which {what}", listed(own))),
            };
            let about = [about(&allowed, "it allows"), about(&other, "it does not")];
            format!("; this machine has {}", about.into_iter().flatten().collect::<Vec<_>>().join(", and "))
        }
    };
    format!(
        "it does not allow {ip}, which the server's host has in DNS: which of the two is to be changed depends on the \
         server's address{machine}; give that with --ip, and the change is named"
    )
}

/// The policy with every sender allowed, behind the addresses that it allows first.
fn amended(text: &str, policy: &Policy, senders: &[Sender]) -> String {
    let is_address = |word: &str| word.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("allow=ip:"));
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let first = 1 + words.iter().skip(1).take_while(|word| is_address(word)).count();
    let (before, after) = words.split_at_checked(first).unwrap_or((&words, &[]));
    let lacks = |sender: &&Sender| match outcome(policy, sender.ip) {
        Outcome::Says(Says::Allow) => false,
        Outcome::Elsewhere => true,
        Outcome::Says(Says::Deny) | Outcome::Silent => sender.is_sure,
    };
    let lacking = senders.iter().filter(lacks).map(|sender| format!("allow=ip:{}", sender.ip.to_canonical()));
    let words = before.iter().map(ToString::to_string).chain(lacking);
    words.chain(after.iter().map(ToString::to_string)).collect::<Vec<_>>().join(" ")
}

/// Whether an address that nothing else is said about may send.
fn allows_everybody(policy: &Policy) -> bool {
    let first = policy.rules.iter().find_map(|rule| match rule {
        Rule::Source(verdict, Source::All) => Some(*verdict),
        _ => None,
    });
    first == Some(Says::Allow)
}

/// What a policy says without further look-ups.
pub(super) enum Outcome {
    Says(Says),
    Silent,
    /// A rule that needs more look-ups comes first.
    Elsewhere,
}

pub(super) fn outcome(policy: &Policy, ip: IpAddr) -> Outcome {
    for rule in &policy.rules {
        match rule {
            Rule::Source(verdict, Source::All) => return Outcome::Says(*verdict),
            Rule::Source(verdict, Source::Ip(net)) if net.contains(&ip.to_canonical()) => {
                return Outcome::Says(*verdict);
            }
            Rule::Source(_, Source::Ip(_)) => {}
            Rule::Source(_, Source::Domain(_)) | Rule::Include(_) => return Outcome::Elsewhere,
        }
    }
    if policy.redirect.is_some() { Outcome::Elsewhere } else { Outcome::Silent }
}
