//! Points in time, as they are printed.

use eventlog::Timestamp;

/// In UTC, as `2026-11-21T09:30:00.125Z`.
pub fn format(time: Timestamp) -> String {
    match i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(at) => format!("{at:.3}"),
        None => format!("{} ms", time.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_in_utc() {
        assert_eq!(format(Timestamp(1_800_000_000_125)), "2027-01-15T08:00:00.125Z");
        assert_eq!(format(Timestamp(u64::MAX)), "18446744073709551615 ms");
    }
}
