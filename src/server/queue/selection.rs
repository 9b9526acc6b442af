//! Which rows a call is about, from its parameters.

use std::time::Duration;

use crate::error::Fault;
use crate::proto::address::{Address, Domain};
use crate::proto::nonce::Nonce;
use crate::proto::status::Reason;
use crate::proto::time::UnixMillis;
use crate::server::state::Parameters;
use crate::spool::contract::{RowFilter, RowStateName};
use crate::spool::entry::RowId;

/// Longest text that is looked for in errors, in bytes.
const MAX_ERROR_BYTES: usize = 500;
/// The parameters that choose rows.
const CONDITIONS: [&str; 6] = ["message", "to_domain", "from", "older_than", "state", "error"];

/// Which rows: those that meet all of these.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by Selection::read")]
pub(super) struct RowsMeant {
    /// This row, or those of the message with this nonce.
    message: Option<String>,
    /// To this domain.
    to_domain: Option<String>,
    /// From this address.
    from: Option<String>,
    /// Accepted more than so many seconds ago.
    older_than: Option<u64>,
    /// In this state: `queued`, `delivering` or `held`.
    #[param(pattern = "^(queued|delivering|held)$")]
    state: Option<String>,
    /// Whose last failure has this text in it.
    #[param(min_length = 1, max_length = 500)]
    error: Option<String>,
    /// Behind this row: `next` of an earlier page.
    after: Option<String>,
}

/// How calls that change rows are held to what was meant.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "described here, read by Selection::bounded")]
pub(super) struct EveryRow {
    /// Without a condition: that every row is meant.
    all: Option<bool>,
    /// Only counts what would be done.
    dry_run: Option<bool>,
}

/// Rows behind a place that meet conditions.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) filter: RowFilter,
    pub(super) after: Option<RowId>,
}

impl Selection {
    /// Reads the conditions. `others`: what else the call takes; a parameter nobody knows is refused, so that a
    /// condition which is misspelt does not mean every row.
    pub(super) fn read(
        parameters: &Parameters,
        now: UnixMillis,
        others: &[&str],
    ) -> Result<Selection, Fault> {
        let known = |name: &str| CONDITIONS.contains(&name) || name == "after" || others.contains(&name);
        if let Some(name) = parameters.keys().filter(|name| !known(name)).min() {
            return Err(malformed(format!("There is no parameter {name:?} here.")));
        }
        let mut filter = RowFilter {
            to_domain: wanted(parameters, "to_domain", "a domain", |text| Domain::parse(text).ok())?,
            from: wanted(parameters, "from", "an address", |text| Address::parse(text).ok())?,
            accepted_before: wanted(parameters, "older_than", "a number of seconds", |text| {
                before(text, now)
            })?,
            state: wanted(parameters, "state", "queued, delivering or held", state)?,
            error: wanted(parameters, "error", "a text", |text| {
                (!text.is_empty() && text.len() <= MAX_ERROR_BYTES).then(|| text.to_owned())
            })?,
            ..RowFilter::default()
        };
        // What looks like a row is one: a nonce is its author's choice, and must not catch a row's command.
        if let Some(text) = parameters.get("message") {
            filter.row = RowId::parse(text);
            if filter.row.is_none() {
                filter.nonce =
                    wanted(parameters, "message", "a nonce or a row", |text| Nonce::parse(text).ok())?;
            }
        }
        Ok(Selection { filter, after: wanted(parameters, "after", "a row", RowId::parse)? })
    }

    /// Like [`Selection::read`] for calls that change rows: every row is meant only where `all` is true.
    pub(super) fn bounded(
        parameters: &Parameters,
        now: UnixMillis,
        others: &[&str],
    ) -> Result<Selection, Fault> {
        let selection = Selection::read(parameters, now, &[others, &["all"]].concat())?;
        if selection.filter == RowFilter::default() && !flag(parameters, "all")? {
            return Err(malformed("Which rows are meant? Name a condition, or say all=true.".into()));
        }
        Ok(selection)
    }
}

/// A parameter in its parsed form. `None`: it is not there.
pub(in crate::server) fn wanted<T>(
    parameters: &Parameters,
    name: &str,
    what: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| malformed(format!("The parameter {name} must be {what}.")))
}

pub(super) fn number(parameters: &Parameters, name: &str) -> Result<Option<usize>, Fault> {
    wanted(parameters, name, "a whole number", |text| text.parse().ok())
}

pub(super) fn flag(parameters: &Parameters, name: &str) -> Result<bool, Fault> {
    Ok(wanted(parameters, name, "true or false", |text| text.parse().ok())?.unwrap_or(false))
}

fn before(text: &str, now: UnixMillis) -> Option<UnixMillis> {
    let age = Duration::from_secs(text.parse().ok()?);
    Some(UnixMillis(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))))
}

fn state(text: &str) -> Option<RowStateName> {
    match text {
        "queued" => Some(RowStateName::Queued),
        "delivering" => Some(RowStateName::Delivering),
        "held" => Some(RowStateName::Held),
        _ => None,
    }
}

fn malformed(text: String) -> Fault {
    Fault::new(Reason::Malformed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Selection, Fault> {
        let parameters =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Selection::bounded(&parameters, UnixMillis(10_000), &["action"])
    }

    #[test]
    fn conditions_are_read() {
        let selection = read(&[
            ("to_domain", "B.test"),
            ("from", "a@a.test"),
            ("older_than", "3"),
            ("state", "held"),
            ("error", "refused"),
            ("after", "7.1"),
        ]);
        let Selection { filter, after } = selection.unwrap();
        assert_eq!(filter.to_domain, Domain::parse("b.test").ok());
        assert_eq!(filter.accepted_before, Some(UnixMillis(7_000)));
        assert_eq!((filter.state, after), (Some(RowStateName::Held), Some(RowId { entry: 7, recipient: 1 })));
    }

    #[test]
    fn what_looks_like_a_row_is_one() {
        let of = |text: &str| read(&[("message", text)]).unwrap().filter;
        assert_eq!(of("12.3").row, Some(RowId { entry: 12, recipient: 3 }));
        for nonce in ["msg-1", "12.03", "12.70000", "1.2.3"] {
            assert_eq!((of(nonce).row, of(nonce).nonce), (None, Nonce::parse(nonce).ok()), "{nonce}");
        }
    }

    #[test]
    fn every_row_is_meant_only_if_it_is_said() {
        for (name, value) in [
            ("action", "hold"),
            ("all", "false"),
            ("to_domian", "b.test"),
            ("to_domain", "a b"),
            ("older_than", "2h"),
            ("state", "done"),
            ("error", ""),
            ("message", "a b"),
            ("after", "x"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().reason, Reason::Malformed, "{name}={value}");
        }
        assert_eq!(read(&[("all", "true")]).unwrap().filter, RowFilter::default());
    }
}
