//! The zone itself: whether it is delegated, signed, and answers only for what is in it.

use super::look::{Look, Verdict};
use super::policy::meant;
use super::{Finding, Needs, Sources, State, unknown};
use crate::dns_records::{ats_name, discovery_name};
use crate::env::dns::dnssec::Dnssec;
use crate::env::dns::{DnsTrouble, Kind};
use crate::proto::address::Domain;

/// A label nobody uses: whatever answers for it answers for everything.
const NOBODYS_LABEL: &str = "no-such-selector";

pub(super) async fn check(sources: Sources<'_>, needs: &Needs) -> Vec<Finding> {
    let domain = &needs.domain;
    let mut findings = vec![delegation(sources, domain).await];
    findings.push(signatures(sources, domain).await);
    let name = format!("{NOBODYS_LABEL}.atk.{}", discovery_name(domain));
    let look = Look::at(sources, &name, Kind::Txt).await;
    if let Ok(answer) = look.best()
        && !answer.records.is_empty()
    {
        let remove = look.lines(answer).into_iter().map(|line| line.replacen(NOBODYS_LABEL, "*", 1));
        let (state, why) = match meant(&look, answer).is_empty() {
            true => (State::Note, "a wildcard answers for names that are not there"),
            false => (
                State::Wrong,
                "a wildcard answers for every selector, so that a revoked key cannot be taken away",
            ),
        };
        findings.push(look.finding(Verdict::new(state, why).remove(remove), Vec::new()));
    }
    findings
}

async fn delegation(sources: Sources<'_>, domain: &Domain) -> Finding {
    let finding = |state, text: String| Finding::new(domain.as_str(), "NS", state, text);
    match sources.authorities.survey(domain.as_str(), Kind::A).await {
        // Only registries have zones of one label: what is there, the domain is not.
        Ok(survey) if !survey.zone.contains('.') && survey.zone != domain.as_str() => Finding {
            add: vec![format!("{domain}. IN NS <a name server of the domain>.")],
            ..finding(
                State::Wrong,
                format!("the domain does not exist: the zone {} does not delegate it; see your registrar", shown(&survey.zone)),
            )
        },
        Ok(survey) => {
            let mut names: Vec<&str> = survey.servers.iter().map(|told| told.server.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            finding(State::Good, format!("in the zone {}, served by {}", survey.zone, names.join(", ")))
        }
        Err(DnsTrouble::ServFail) => finding(
            State::Unknown,
            "SERVFAIL while looking for its name servers: none of them works, or the delegation is broken; try again, or \
             see your registrar"
                .into(),
        ),
        Err(trouble) => finding(State::Unknown, format!("its name servers cannot be found: {}", unknown(trouble))),
    }
}

fn shown(zone: &str) -> &str {
    if zone.is_empty() { "." } else { zone }
}

async fn signatures(sources: Sources<'_>, domain: &Domain) -> Finding {
    let finding = |state, text: &str| Finding::new(domain.as_str(), "DNSSEC", state, text);
    match sources.validation.dnssec(&ats_name(domain)).await {
        Ok(Dnssec::Unsigned) => finding(State::Good, "not signed"),
        Ok(Dnssec::Secure) => finding(State::Good, "signed, and valid"),
        Ok(Dnssec::Unvalidated) => finding(
            State::Good,
            "signed; the resolver does not say that it has checked it: it checks none, or the parent zone has no DS record",
        ),
        Ok(Dnssec::Bogus) => Finding {
            remove: vec![format!("{domain}. IN DS <at the registrar>")],
            ..finding(
                State::Wrong,
                "its signatures are wrong, so many resolvers answer SERVFAIL: sign the zone anew, or remove its DS \
                 records until then",
            )
        },
        Err(trouble) => finding(State::Unknown, &unknown(trouble)),
    }
}
