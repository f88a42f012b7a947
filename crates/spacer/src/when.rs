//! Points in time, as they are printed and typed.

use eventlog::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::SignedDuration;

/// In UTC, as `2026-11-21T09:30:00.125Z`.
pub fn format(time: Timestamp) -> String {
    match i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(at) => format!("{at:.3}"),
        None => format!("{} ms", time.0),
    }
}

/// What [`parse`] takes.
pub const FORMS: &str =
    "use 2026-11-21T09:30:00Z, 2026-11-21 09:30 (this machine's time zone), 2026-11-21, or a time ago such as 2h30m";

/// A point in time: with its zone, in this machine's, or so long before `now`.
pub fn parse(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let millis = |ms: i64| u64::try_from(ms).ok().map(Timestamp);
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return millis(at.as_millisecond());
    }
    if let Ok(local) = text.parse::<DateTime>() {
        return millis(local.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond());
    }
    let ago = text.parse::<SignedDuration>().ok().filter(|ago| !ago.is_negative())?;
    now.0.checked_sub(u64::try_from(ago.as_millis()).ok()?).map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_printed_and_as_people_write_them() {
        let now = Timestamp(1_800_000_000_000);
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, expected) in [
            ("2027-01-15T08:00:00.125Z", Some(1_800_000_000_125)),
            ("2027-01-15T09:00:00+01:00", Some(1_800_000_000_000)),
            ("2027-01-15 10:00", Some(1_800_000_000_000)),
            ("2027-01-15", Some(1_799_964_000_000)),
            ("1h30m", Some(1_799_994_600_000)),
            ("10s", Some(1_799_999_990_000)),
            ("-10s", None),
            ("yesterday", None),
            ("17", None),
            ("", None),
        ] {
            assert_eq!(parse(text, now, &zone), expected.map(Timestamp), "{text}");
        }
        assert_eq!(format(Timestamp(1_800_000_000_125)), "2027-01-15T08:00:00.125Z");
    }
}
