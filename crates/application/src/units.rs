//! Sizes and times as nginx writes them (its manual, "Configuration file measurement units").

use std::time::Duration;

/// Bytes, or `k`, `m`, `g` of them, in either case.
pub fn size(text: &str) -> Option<usize> {
    let (digits, unit) = split_number(text)?;
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(factor)
}

/// The units of a time, largest first, in milliseconds.
const TIMES: [(&str, u64); 6] = [
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A time such as `500ms`, `1h 30m` or, in seconds, `5`.
pub fn time(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0u64;
    let mut units = &TIMES[..];
    loop {
        let (digits, after) = split_number(rest)?;
        let number: u64 = digits.parse().ok()?;
        let end = after.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(after.len());
        let unit = match &after[..end] {
            "" if after.is_empty() => "s",
            unit => unit,
        };
        // Each unit once, and in this order.
        let at = units.iter().position(|(name, _)| *name == unit)?;
        total = total.checked_add(number.checked_mul(units[at].1)?)?;
        units = &units[at + 1..];
        rest = after[end..].trim_start();
        if rest.is_empty() {
            return Some(Duration::from_millis(total));
        }
    }
}

fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_nginx_s() {
        for (text, expected) in [
            ("0", Some(0)),
            ("512", Some(512)),
            ("512k", Some(512 << 10)),
            ("1M", Some(1 << 20)),
            ("2g", Some(2 << 30)),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        for text in ["", "k", "-1", "1.5m", "1 m", "1mb", "99999999999999999999", "9999999999999g"]
        {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_nginx_s() {
        for (text, millis) in [
            ("0", 0),
            ("5", 5000),
            ("5s", 5000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1h 30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
            ("1m 5", 65_000),
        ] {
            assert_eq!(time(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "-5s", "1.5s", "5 s", "5x", "1s 1m", "1s1s", "99999999999999w"] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
