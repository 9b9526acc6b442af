//! ATK: the keys of the ring, each under its name.

use super::all::{AT_ONCE, all};
use super::look::{Look, Verdict};
use super::policy::{meant, own_text, text_line, texts};
use super::{Finding, NeededKey, Needs, Sources, State};
use crate::dns_records::plan::DEFAULT_KEY_TTL;
use crate::env::dns::{Answer, Kind};
use crate::proto::atk::KeyRecord;
use crate::proto::ats;
use crate::proto::signature::KeyId;

/// The selector that most programs use.
const USUAL_SELECTOR: &str = "default";
/// Days before a key's end from which it is spoken of.
const WARN_DAYS: i64 = 14;
const SECONDS_PER_DAY: i64 = 86_400;

/// One finding or more for each key that signs, and for others if they are not as the ring has them.
pub(super) async fn check(sources: Sources<'_>, needs: &Needs) -> Vec<Finding> {
    let mut looks = Vec::with_capacity(needs.keys.len());
    for some in needs.keys.chunks(AT_ONCE) {
        let asked = some.iter().map(|key| async move { (key, look(sources, &key.id).await) });
        looks.extend(all(asked).await);
    }
    // Where a key may stand by mistake, or be left over from another server.
    let usual = KeyId::new(USUAL_SELECTOR, needs.domain.clone()).ok();
    let usual = usual.filter(|id| needs.keys.iter().all(|key| key.id != *id));
    let stray = match &usual {
        Some(id) => Some(look(sources, id).await),
        None => None,
    };
    let mut findings = Vec::new();
    for (key, look) in &looks {
        if !key.signs && look.is_absent() {
            continue;
        }
        let others =
            looks.iter().map(|(_, other)| other).chain(&stray).filter(|other| other.name != look.name);
        let elsewhere =
            others.filter(|other| holds(other, &key.record)).map(|other| other.name.clone()).next();
        findings.extend(look.judge(|answer| judge(look, answer, key, elsewhere.as_deref(), needs.now)));
    }
    if let Some(look) = &stray
        && let Ok(answer) = look.best()
        && !meant(look, answer).is_empty()
    {
        let verdict = match record(look) {
            Some(KeyRecord { revoked: true, .. }) => Verdict::good("a key that was taken back (t=s)"),
            _ => {
                let text = "a key that is not in this server's ring: not needed, unless another server signs with it";
                Verdict::new(State::Note, text).remove(meant(look, answer))
            }
        };
        findings.push(look.finding(verdict, Vec::new()));
    }
    findings
}

async fn look(sources: Sources<'_>, id: &KeyId) -> Look {
    let mut look = Look::at(sources, &id.to_string(), Kind::Txt).await;
    look.usual_ttl = DEFAULT_KEY_TTL;
    look
}

/// The one record that counts, if it can be read.
fn record(look: &Look) -> Option<KeyRecord> {
    let found = look.best().ok().and_then(|answer| ats::select(&texts(answer)).ok().flatten());
    found.and_then(|text| KeyRecord::parse(&text).ok())
}

fn holds(look: &Look, wanted: &KeyRecord) -> bool {
    record(look).is_some_and(|found| found.key == wanted.key)
}

fn judge(look: &Look, answer: &Answer, key: &NeededKey, elsewhere: Option<&str>, now: i64) -> Verdict {
    let wanted = &key.record;
    let add = || [text_line(&look.name, DEFAULT_KEY_TTL, &wanted.to_string())];
    let absent = match elsewhere {
        Some(name) => format!("there is none; this key stands at {name}, under another selector"),
        None => "there is none, so every message is refused".to_owned(),
    };
    let text = match own_text(look, answer, &absent) {
        Ok(text) => text,
        Err(verdict) => return verdict.add(add()),
    };
    let wrong = |why: String| Verdict::wrong(why).remove(meant(look, answer));
    let rotate = "make a new one with: atp keys rotate";
    let found = match KeyRecord::parse(&text) {
        Ok(found) => found,
        Err(error) => return wrong(error.to_string()).add(add()),
    };
    let days = found.expires.map(|end| (end - now) / SECONDS_PER_DAY);
    if found.key != wanted.key {
        wrong("it is another key than this server's".into()).add(add())
    } else if found.revoked && !wanted.revoked {
        // No line that gives it back: somebody may have had a reason to take it away.
        let selector = key.id.selector();
        Verdict::wrong(match key.signs {
            true => "it is revoked (t=s), so every message is refused; let another sign with: atp keys rotate --force".into(),
            false => format!("it is revoked (t=s), and not here; revoke it here too with: atp keys revoke {selector}"),
        })
    } else if found.revoked != wanted.revoked {
        wrong("it is revoked here, and not in DNS".into()).add(add())
    } else if found.revoked {
        Verdict::good("a key that is revoked")
    } else if found.expires.is_some_and(|end| end <= now) {
        let still = wanted.expires.is_none_or(|end| end > now);
        let verdict = wrong(format!("it has expired (x=), so every message is refused; {rotate}"));
        if still { verdict.add(add()) } else { verdict }
    } else if found.expires != wanted.expires {
        wrong("its end (x=) is another than the ring's".into()).add(add())
    } else if let Some(days) = days.filter(|days| *days < WARN_DAYS) {
        Verdict::new(State::Note, format!("it expires in {days} days (x=); {rotate}"))
    } else {
        Verdict::good(if key.signs { "this server's key" } else { "a key of this server that does not sign" })
    }
}
