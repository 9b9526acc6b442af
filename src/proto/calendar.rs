//! Dates of the proleptic Gregorian calendar, in UTC, for people to read.

use std::fmt;

use super::time::UnixMillis;

/// A point in time as date and time of day, UTC. Displays as `2026-11-20 12:34:56 UTC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// From 1970.
    pub year: u64,
    /// 1 to 12.
    pub month: u64,
    /// 1 to 31.
    pub day: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
}

const DAYS_OF_400_YEARS: u64 = 146_097;
const DAYS_OF_100_YEARS: u64 = 36_524;
const DAYS_OF_4_YEARS: u64 = 1_461;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_EPOCH: u64 = 719_468;

impl From<UnixMillis> for Calendar {
    fn from(time: UnixMillis) -> Calendar {
        let seconds = time.0 / 1000;
        // Years that begin in March, so that the leap day is a year's last.
        let days = seconds / 86_400 + DAYS_BEFORE_EPOCH;
        let (era, day_of_era) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
        let leap_days = day_of_era / (DAYS_OF_4_YEARS - 1) + day_of_era / (DAYS_OF_400_YEARS - 1);
        let year_of_era = (day_of_era + day_of_era / DAYS_OF_100_YEARS - leap_days) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // From March on, five months have 153 days, again and again.
        let month = (5 * day_of_year + 2) / 153;
        Calendar {
            year: 400 * era + year_of_era + u64::from(month >= 10),
            month: if month < 10 { month + 3 } else { month - 9 },
            day: day_of_year - (153 * month + 2) / 5 + 1,
            hour: seconds / 3600 % 24,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Calendar { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (253_402_300_799, "9999-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(Calendar::from(UnixMillis::from_seconds(seconds)).to_string(), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = Calendar::from(UnixMillis(0));
        for day in 1..200_000 {
            let date = Calendar::from(UnixMillis::from_seconds(day * 86_400));
            let next_day = (date.year, date.month, date.day) == (before.year, before.month, before.day + 1);
            let next_month = (date.year, date.month, date.day) == (before.year, before.month + 1, 1);
            let next_year = (date.year, date.month, date.day, before.month) == (before.year + 1, 1, 1, 12);
            assert!(next_day || next_month || next_year, "{before} {date}");
            before = date;
        }
    }
}
