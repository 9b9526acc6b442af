//! How many of something may happen in which time, as people write it: in the configuration, and for one agent on the
//! command line.

use super::checked::Limit;

/// The most that can be allowed in one span of time: who wants more wants no limit.
const MAX_COUNT: u32 = 1_000_000;
/// What stands for no limit.
pub const UNLIMITED: &str = "unlimited";

/// Reads limits such as `60/m 1000/h 10000/d`, each for another of second, minute, hour and day; or `unlimited`.
///
/// # Errors
/// What to write instead.
pub fn parse(text: &str) -> Result<Limit, String> {
    let mut limit = Limit::default();
    if text == UNLIMITED {
        return Ok(limit);
    }
    let wrong = || format!("{text:?} is no rate; write \"60/m\", \"60/m 1000/h 10000/d\" or \"{UNLIMITED}\"");
    for part in text.split_ascii_whitespace() {
        let (count, unit) = part.split_once('/').ok_or_else(wrong)?;
        let place = match unit {
            "s" => &mut limit.per_second,
            "m" => &mut limit.per_minute,
            "h" => &mut limit.per_hour,
            "d" => &mut limit.per_day,
            _ => return Err(wrong()),
        };
        let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
        let count = count.parse().ok().filter(|count| is_number && (1..=MAX_COUNT).contains(count));
        let count = count.ok_or_else(|| format!("{part:?} must be 1 to {MAX_COUNT} in s, m, h or d"))?;
        if place.replace(count).is_some() {
            return Err(format!("{text:?} has two rates for one span of time"));
        }
    }
    if limit.is_none() { Err(wrong()) } else { Ok(limit) }
}

/// As [`parse`] reads it.
pub fn print(limit: &Limit) -> String {
    let spans =
        [(limit.per_second, 's'), (limit.per_minute, 'm'), (limit.per_hour, 'h'), (limit.per_day, 'd')];
    let parts: Vec<String> =
        spans.into_iter().filter_map(|(count, unit)| Some(format!("{}/{unit}", count?))).collect();
    if parts.is_empty() { UNLIMITED.into() } else { parts.join(" ") }
}

/// Reads how many there may be in a day, such as `500/d`; or `unlimited` (`None`).
///
/// # Errors
/// What to write instead.
pub fn parse_daily(text: &str) -> Result<Option<u32>, String> {
    let limit = parse(text)?;
    if limit.short().is_none() {
        return Ok(limit.per_day);
    }
    Err(format!("{text:?} must be for a day; write \"500/d\" or \"{UNLIMITED}\""))
}

/// As [`parse_daily`] reads it.
pub fn print_daily(limit: Option<u32>) -> String {
    print(&Limit { per_day: limit, ..Limit::default() })
}

/// Reads limits of which none is for a day.
///
/// # Errors
/// What to write instead.
pub fn parse_short(text: &str) -> Result<Limit, String> {
    let limit = parse(text)?;
    match limit.per_day {
        None => Ok(limit),
        Some(_) => {
            Err(format!("{text:?} must be for a second, a minute or an hour; this is not counted by the day"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_printed() {
        for text in ["unlimited", "1/s", "60/m", "60/m 1000/h", "10/s 60/m 1000/h 10000/d", "1000000/d"] {
            assert_eq!(print(&parse(text).unwrap()), text);
        }
        for text in [
            "",
            " ",
            "60",
            "60/",
            "/m",
            "0/m",
            "-1/m",
            "+1/m",
            "60/w",
            "60/m 70/m",
            "1000001/h",
            "1.5/s",
            "60/m,",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert_eq!((parse_daily("500/d"), parse_daily("unlimited")), (Ok(Some(500)), Ok(None)));
        assert!(parse_daily("500/h").unwrap_err().contains("500/d"));
        assert!(parse_short("500/d").is_err() && parse_short("5/h").is_ok());
    }
}
