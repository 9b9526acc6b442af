//! What mailboxes keep, as people write it: in the configuration, and for one mailbox on the command line.

use std::time::Duration;

use super::units;

/// The shortest time that can be set: whoever reads a mailbox now and then must find what has come.
const SHORTEST_KEEP: Duration = Duration::from_secs(60);
/// The longest. Who wants more wants `never`.
const LONGEST_KEEP: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Reads how long messages are kept: a time, or `never` for no end (`None`).
///
/// # Errors
/// What to write instead.
pub fn keep(text: &str) -> Result<Option<Duration>, String> {
    if text == "never" {
        return Ok(None);
    }
    let time = units::parse_time(text)
        .map_err(|error| format!("{text:?} is {error}; \"never\" keeps messages for good"))?;
    if (SHORTEST_KEEP..=LONGEST_KEEP).contains(&time) {
        Ok(Some(time))
    } else {
        Err("must be 1m to 3660d, or \"never\" to keep messages for good".into())
    }
}

/// Reads how many bytes of messages a mailbox takes: a size, or `unlimited` (`None`).
///
/// # Errors
/// What to write instead.
pub fn quota(text: &str) -> Result<Option<u64>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let bytes = units::parse_size(text);
    bytes.map(Some).map_err(|error| format!("{text:?} is {error}; \"unlimited\" sets no bound"))
}

/// As [`keep`] reads it.
pub fn print_keep(keep: Option<Duration>) -> String {
    keep.map_or_else(|| "never".into(), units::print_time)
}

/// As [`quota`] reads it.
pub fn print_quota(quota: Option<u64>) -> String {
    quota.map_or_else(|| "unlimited".into(), units::print_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_printed() {
        for text in ["never", "1m", "7d", "3660d"] {
            assert_eq!(print_keep(keep(text).unwrap()), text);
        }
        for text in ["unlimited", "0B", "10GiB"] {
            assert_eq!(print_quota(quota(text).unwrap()), text);
        }
        for text in ["", "0s", "59s", "3661d", "unlimited", "7"] {
            assert!(keep(text).unwrap_err().contains("never"), "{text}");
        }
        assert_eq!(quota("10 GiB"), Ok(Some(10 << 30)));
        assert!(quota("never").unwrap_err().contains("unlimited"));
    }
}
