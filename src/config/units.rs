//! Times and sizes as people write them: `"5m"`, `"1MiB"`.

use std::time::Duration;

/// Why a text is not a time or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number followed by a unit of time.
    #[error("not a time; write a whole number and ms, s, m, h or d, such as \"30s\" or \"72h\"")]
    Time,
    /// Not a number followed by a unit of size.
    #[error("not a size; write a whole number and B, KiB, MiB or GiB, such as \"1MiB\"")]
    Size,
    /// Does not fit 64 bits.
    #[error("the number is too large")]
    TooLarge,
}

/// Units of time, in milliseconds, largest first so that printing picks the roundest.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
/// Units of size, in bytes, largest first.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a time such as `"250ms"`, `"5m"` or `"72h"`. The unit is required and case matters.
///
/// # Errors
/// [`UnitError::Time`] for another form, [`UnitError::TooLarge`] past 64 bits of milliseconds.
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    parse(text, &TIMES, UnitError::Time).map(Duration::from_millis)
}

/// Prints a time in the largest unit that holds it exactly; parts of a millisecond are dropped.
pub fn print_time(time: Duration) -> String {
    print(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIMES, "s")
}

/// Reads a size such as `"4096B"` or `"1MiB"`. The unit is required and case matters.
///
/// # Errors
/// [`UnitError::Size`] for another form, [`UnitError::TooLarge`] past 64 bits of bytes.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, &SIZES, UnitError::Size)
}

/// Prints a size in bytes in the largest unit that holds it exactly.
pub fn print_size(bytes: u64) -> String {
    print(bytes, &SIZES, "B")
}

fn parse(text: &str, units: &[(&str, u64)], otherwise: UnitError) -> Result<u64, UnitError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).ok_or(otherwise)?;
    let (digits, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start()).ok_or(otherwise)?;
    if digits.is_empty() {
        return Err(otherwise);
    }
    let number: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
    number.checked_mul(*factor).ok_or(UnitError::TooLarge)
}

fn print(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    if value == 0 {
        return format!("0{zero}");
    }
    units
        .iter()
        .find(|(_, factor)| value.is_multiple_of(*factor))
        .map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("2s", 2000),
            ("5m", 300_000),
            ("48h", 172_800_000),
            ("3d", 259_200_000),
        ] {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_time("5 m"), Ok(Duration::from_secs(300)));
        for text in ["", "5", "m", "5M", "-5m", "1.5h", "5mm", "5m3s", "٥m"] {
            assert_eq!(parse_time(text), Err(UnitError::Time), "{text}");
        }
        assert_eq!(parse_time("99999999999999999999s"), Err(UnitError::TooLarge));
        assert_eq!(parse_time("18446744073709551615d"), Err(UnitError::TooLarge));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("0B", 0), ("4096B", 4096), ("1MiB", 1_048_576), ("2 GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "1", "1MB", "1mib", "MiB"] {
            assert_eq!(parse_size(text), Err(UnitError::Size), "{text}");
        }
    }

    #[test]
    fn printing_picks_the_roundest_unit() {
        assert_eq!(print_time(Duration::from_secs(90)), "90s");
        assert_eq!(print_time(Duration::from_secs(7200)), "2h");
        assert_eq!(print_time(Duration::ZERO), "0s");
        assert_eq!(print_size(1 << 20), "1MiB");
        assert_eq!(print_size(1500), "1500B");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(number in 0..u64::from(u32::MAX)) {
            prop_assert_eq!(parse_size(&print_size(number)), Ok(number));
            let time = Duration::from_millis(number);
            prop_assert_eq!(parse_time(&print_time(time)), Ok(time));
        }
    }
}
