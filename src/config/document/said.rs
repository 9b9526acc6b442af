//! What the parser says, in words for people. A value that it repeats may be a secret and is left out.

/// Most letters that may be wrong in a name for another to be what was meant.
const MAX_TYPOS: usize = 2;

/// A finding on one line.
pub(super) fn one_line(finding: &str) -> String {
    without_value(&finding.lines().collect::<Vec<_>>().join(" "))
}

/// What is wrong with an entry, and what to write.
pub(super) fn remedy(finding: &str) -> String {
    let finding = finding.lines().collect::<Vec<_>>().join(" ");
    let unknown = finding.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    if let Some((name, expected)) = unknown {
        return unknown_key(name, expected);
    }
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|words| finding.strip_prefix(words));
    match wrong.and_then(|wrong| wrong.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
            format!("must be {}, not {}", wanted(expected), article(kind))
        }
        None => without_value(&finding),
    }
}

fn unknown_key(name: &str, expected: &str) -> String {
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match known.iter().min_by_key(|known| distance(known, name)) {
        Some(nearest) if distance(nearest, name) <= MAX_TYPOS => {
            format!("there is no such key; did you mean {nearest}?")
        }
        _ => format!("there is no such key here; there are {}", known.join(", ")),
    }
}

/// What a type is called by those who write it.
fn wanted(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text in quotes",
        "a sequence" => "a list in brackets, [ ]",
        other if other.starts_with("struct ") || other == "a map" => "a section",
        other => other,
    }
}

fn article(kind: &str) -> String {
    match kind {
        "string" => "a text".into(),
        "integer" => "the number given".into(),
        "floating point" => "a number with a point".into(),
        "boolean" => "true or false".into(),
        "sequence" => "a list".into(),
        "map" => "a section".into(),
        other => format!("a {other}"),
    }
}

/// A finding like `invalid type: string "…", expected u16` without the value that it repeats.
fn without_value(finding: &str) -> String {
    let wrong = ["invalid type: ", "invalid value: "].into_iter().find(|words| finding.starts_with(words));
    let Some((found, expected)) = wrong.and_then(|_| finding.rsplit_once(", expected ")) else {
        return finding.to_owned();
    };
    let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}")
}

/// In how many letters two names differ (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let change = before + usize::from(a != *b);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_people() {
        for (said, wanted) in [
            ("unknown field `prot`, expected one of `host`, `port`", "did you mean port?"),
            ("unknown field `x`, expected `alpha` or `beta`", "there are alpha, beta"),
            ("invalid type: string \"hunter2\", expected u16", "from 0 to 65535, not a text"),
            ("invalid value: integer `70000`, expected u16", "from 0 to 65535, not the number given"),
            ("invalid type: integer `1`, expected a boolean", "must be true or false, not the number given"),
            (
                "invalid type: string \"a, expected b\", expected struct Admin",
                "must be a section, not a text",
            ),
        ] {
            let remedy = remedy(said);
            assert!(remedy.contains(wanted) && !remedy.contains("hunter2"), "{said}: {remedy}");
        }
        assert_eq!((distance("", "ab"), distance("port", "prot"), distance("a", "a")), (2, 2, 0));
    }
}
