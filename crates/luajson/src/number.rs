//! Numbers between text and doubles: what C's `strtod` reads and `%.{precision}g` prints, without
//! calling them where that is slow; and the text with the fewest digits that reads back as the same double.

use std::io::Write;

const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Integers up to here are doubles exactly.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// Stands for as many digits as a double needs, in place of their number.
pub(crate) const SHORTEST: usize = 17;

/// Below these, integers are printed as such: by the number of digits asked for.
const INTEGER_LIMITS: [f64; SHORTEST + 1] = [
    1e0,
    1e1,
    1e2,
    1e3,
    1e4,
    1e5,
    1e6,
    1e7,
    1e8,
    1e9,
    1e10,
    1e11,
    1e12,
    1e13,
    1e14,
    1e15,
    1e16,
    EXACT as f64,
];

/// Reads the number at `start` of `data`, which ends with a NUL; gives it and the position after it,
/// or nothing if there is no number.
///
/// It takes what `strtod` takes: hexadecimal, infinity and NaN too, and as much as makes a number.
#[inline]
pub(crate) fn parse(data: &[u8], start: usize) -> Option<(f64, usize)> {
    let byte = |at: usize| data.get(at).copied().unwrap_or(0);
    let negative = byte(start) == b'-';
    let mut at = start + usize::from(negative);
    let mut mantissa = 0_u64;
    let mut digits = 0;
    let mut exponent = 0_i32;

    while byte(at).is_ascii_digit() {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte(at) - b'0'));
        digits += 1;
        at += 1;
    }
    match byte(at) {
        _ if digits == 0 => return parse_unusual(data, start),
        b'x' | b'X' => return parse_unusual(data, start),
        b'.' => {
            at += 1;
            while byte(at).is_ascii_digit() {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte(at) - b'0'));
                digits += 1;
                exponent = exponent.wrapping_sub(1);
                at += 1;
            }
        }
        _ => {}
    }
    if matches!(byte(at), b'e' | b'E') {
        let sign = usize::from(matches!(byte(at + 1), b'+' | b'-'));
        if byte(at + 1 + sign).is_ascii_digit() {
            let below_one = byte(at + 1) == b'-';
            at += 1 + sign;
            let mut written = 0_i32;
            while byte(at).is_ascii_digit() {
                written = written.saturating_mul(10).saturating_add(i32::from(byte(at) - b'0'));
                at += 1;
            }
            exponent = exponent.saturating_add(if below_one { -written } else { written });
        }
    }

    // One rounding only: both factors are exact.
    let power = POWERS_OF_TEN.get(exponent.unsigned_abs() as usize);
    let magnitude = match power {
        Some(_) if exponent == 0 && digits <= 18 => mantissa as i64 as f64,
        Some(power) if digits <= 19 && mantissa <= EXACT => {
            let mantissa = mantissa as i64 as f64;
            if exponent < 0 {
                mantissa / power
            } else {
                mantissa * power
            }
        }
        _ => {
            let text = std::str::from_utf8(data.get(start..at)?).ok()?;
            return Some((text.parse().ok()?, at));
        }
    };
    Some((if negative { -magnitude } else { magnitude }, at))
}

/// Has `strtod` read the number: hexadecimal, infinity, NaN, or none at all.
#[cold]
pub(crate) fn parse_unusual(data: &[u8], start: usize) -> Option<(f64, usize)> {
    debug_assert_eq!(data.last(), Some(&0));
    let text = data.get(start..)?;
    let mut end = std::ptr::null_mut();
    // SAFETY: `data` ends with a NUL, where `strtod` stops at the latest.
    let number = unsafe { libc::strtod(text.as_ptr().cast(), &mut end) };
    let length = end as usize - text.as_ptr() as usize;
    (length > 0).then_some((number, start + length))
}

/// Appends a finite number as `%.{precision}g` prints it, with a `precision` of 1 to 16, or, with [`SHORTEST`], as
/// [`append_shortest`] says.
#[inline]
pub(crate) fn append(out: &mut Vec<u8>, number: f64, precision: usize) {
    let integer = number as i64;
    let limit = INTEGER_LIMITS.get(precision).copied().unwrap_or(1.0);
    if integer as f64 == number
        && number.abs() < limit
        && (integer != 0 || number.is_sign_positive())
    {
        out.extend_from_slice(itoa::Buffer::new().format(integer).as_bytes());
    } else if precision > 15 || !append_short_fraction(out, number, limit) {
        append_fraction(out, number, precision, limit);
    }
}

/// What [`append_short_fraction`] can vouch for.
const SHORT_FRACTION_LIMIT: f64 = 1e15;

/// Appends a number with up to four decimals, like an amount of money; false if it is not such a one.
///
/// If dividing an integer of up to 15 digits gives the number, then that is its shortest decimal: the
/// division is rounded as reading that decimal would be. `limit` is ten to the power of the precision.
#[inline]
fn append_short_fraction(out: &mut Vec<u8>, number: f64, limit: f64) -> bool {
    const SCALE: f64 = 1e4;
    let magnitude = number.abs();
    let scaled = (magnitude * SCALE + 0.5) as u64;
    let units = scaled as i64 as f64;
    if units / SCALE != magnitude || units >= limit || scaled == 0 {
        return false;
    }
    let digit = |power: u64| b'0' + (scaled / power % 10) as u8;
    let fraction = [b'.', digit(1000), digit(100), digit(10), digit(1)];
    let zeros = fraction.iter().rev().take_while(|&&digit| digit == b'0').count();
    if number < 0.0 {
        out.push(b'-');
    }
    out.extend_from_slice(itoa::Buffer::new().format(scaled / 10_000).as_bytes());
    out.extend_from_slice(&fraction);
    out.truncate(out.len() - zeros);
    true
}

/// What isn't a short integer, by way of the shortest decimal that reads back as the same double.
///
/// Up to 15 digits, rounding that decimal is rounding the double: a half-way point between them
/// would be a decimal at least as short and as near. What is left to the slow way are decimals that
/// are themselves such a half-way point, 16 digits, and subnormals, whose spacing is wider.
fn append_fraction(out: &mut Vec<u8>, number: f64, precision: usize, limit: f64) {
    if precision == SHORTEST {
        return append_shortest(out, number);
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(number).as_bytes();
    if number.is_subnormal() || precision > 15 {
        return append_exactly(out, number, precision);
    }
    let in_place = number.abs() >= 1e-4 && number.abs() < limit;
    if in_place && shortest.len() <= precision + 1 && !shortest.ends_with(b".0") {
        // Sign, point and leading zeros included it has no more digits than asked for.
        return out.extend_from_slice(shortest);
    }
    let mut decimal = Decimal::read(shortest);
    if decimal.round(precision) {
        decimal.append(out, precision);
    } else {
        append_exactly(out, number, precision);
    }
}

/// Appends the text with the fewest digits that reads back as the same double, laid out as ECMAScript's
/// `Number::toString` does (and RFC 8785, the canonical form of JSON): whole up to 21 digits, with an exponent beyond and
/// below `1e-6`. Only the zero below zero keeps its sign, which makes it another double.
fn append_shortest(out: &mut Vec<u8>, number: f64) {
    if append_short_fraction(out, number, SHORT_FRACTION_LIMIT) {
        return;
    }
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format_finite(number).as_bytes();
    if (1e-5..1e15).contains(&number.abs()) && !shortest.ends_with(b".0") {
        // In that range it is laid out as wanted.
        return out.extend_from_slice(shortest);
    }
    Decimal::read(shortest).append_shortest(out);
}

#[cold]
fn append_exactly(out: &mut Vec<u8>, number: f64, precision: usize) {
    let mut text = [0; 40];
    let mut rest = text.as_mut_slice();
    // It always fits: a sign, 16 digits, a point and the exponent.
    let _ = write!(rest, "{number:.*e}", precision - 1);
    let length = 40 - rest.len();
    let written = text.get(..length).unwrap_or_default();
    Decimal::read(written).append(out, precision);
}

/// `0.DIGITS` times ten to the power `point`.
struct Decimal {
    negative: bool,
    digits: [u8; 24],
    count: usize,
    point: i32,
}

impl Decimal {
    /// Reads `-12.5`, `0.003` or `1.5e-7`, without the zeros at either end.
    fn read(text: &[u8]) -> Self {
        let mut decimal = Self { negative: false, digits: [0; 24], count: 0, point: 0 };
        let mut after_point = false;
        let mut significant = 0;
        let mut bytes = text.iter();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'-' => decimal.negative = true,
                b'.' => after_point = true,
                b'e' => {
                    let (sign, digits) = match bytes.as_slice() {
                        [b'-', digits @ ..] => (-1, digits),
                        digits => (1, digits),
                    };
                    let digits = digits.iter().filter(|byte| byte.is_ascii_digit());
                    let power = digits.fold(0, |power, byte| power * 10 + i32::from(byte - b'0'));
                    decimal.point += sign * power;
                    break;
                }
                b'0' if decimal.count == 0 => decimal.point -= i32::from(after_point),
                _ => {
                    if let Some(digit) = decimal.digits.get_mut(decimal.count) {
                        *digit = byte;
                    }
                    decimal.count = (decimal.count + 1).min(decimal.digits.len());
                    decimal.point += i32::from(!after_point);
                    if byte != b'0' {
                        significant = decimal.count;
                    }
                }
            }
        }
        decimal.count = significant;
        decimal
    }

    /// Rounds to at most `precision` digits; false if it lies half-way.
    fn round(&mut self, precision: usize) -> bool {
        let (kept, cut) = self.digits.split_at_mut(precision);
        let Some(cut) = self.count.checked_sub(precision).and_then(|count| cut.get(..count)) else {
            return true;
        };
        let up = match cut {
            [] => return true,
            [b'5'] => return false,
            [first, ..] => *first >= b'5',
        };
        self.count = precision;
        if up {
            while let Some(last) = self.count.checked_sub(1).and_then(|last| kept.get_mut(last)) {
                if *last < b'9' {
                    *last += 1;
                    return true;
                }
                self.count -= 1;
            }
            kept[0] = b'1';
            self.count = 1;
            self.point += 1;
        }
        while self.count > 1 && kept.get(self.count - 1) == Some(&b'0') {
            self.count -= 1;
        }
        true
    }

    /// Appends in ECMAScript's layout.
    fn append_shortest(&self, out: &mut Vec<u8>) {
        let digits = self.digits.get(..self.count).unwrap_or_default();
        match self.point {
            // Whole, or with the point within the digits: as `%g` with room for them.
            1..=21 => self.append(out, 21),
            -5..=0 if !digits.is_empty() => {
                if self.negative {
                    out.push(b'-');
                }
                out.extend_from_slice(b"0.");
                out.resize(out.len() + self.point.unsigned_abs() as usize, b'0');
                out.extend_from_slice(digits);
            }
            point => {
                if self.negative {
                    out.push(b'-');
                }
                let Some((first, fraction)) = digits.split_first() else {
                    return out.push(b'0');
                };
                out.push(*first);
                if !fraction.is_empty() {
                    out.push(b'.');
                    out.extend_from_slice(fraction);
                }
                let exponent = point - 1;
                out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
                out.extend_from_slice(
                    itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes(),
                );
            }
        }
    }

    /// Appends in the layout of `%g`.
    fn append(&self, out: &mut Vec<u8>, precision: usize) {
        let digits = self.digits.get(..self.count).unwrap_or_default();
        if self.negative {
            out.push(b'-');
        }
        let exponent = self.point - 1;
        match usize::try_from(self.point) {
            _ if digits.is_empty() => out.push(b'0'),
            Ok(point) if (1..=precision).contains(&point) => {
                let (whole, fraction) = digits.split_at(point.min(digits.len()));
                out.extend_from_slice(whole);
                out.resize(out.len() + point - whole.len(), b'0');
                if !fraction.is_empty() {
                    out.push(b'.');
                    out.extend_from_slice(fraction);
                }
            }
            _ if (-4..0).contains(&exponent) => {
                out.extend_from_slice(b"0.");
                out.resize(out.len() + self.point.unsigned_abs() as usize, b'0');
                out.extend_from_slice(digits);
            }
            _ => {
                let (first, fraction) = digits.split_at(1);
                out.extend_from_slice(first);
                if !fraction.is_empty() {
                    out.push(b'.');
                    out.extend_from_slice(fraction);
                }
                out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
                if exponent.unsigned_abs() < 10 {
                    out.push(b'0');
                }
                out.extend_from_slice(
                    itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes(),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*
    fn random(state: &mut u64) -> u64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn by_printf(number: f64, precision: usize) -> Vec<u8> {
        let mut text = vec![0; 64];
        // SAFETY: the buffer's length is passed, and the format asks for an int and a double.
        let length = unsafe {
            libc::snprintf(text.as_mut_ptr().cast(), 64, c"%.*g".as_ptr(), precision as i32, number)
        };
        text.truncate(length as usize);
        text
    }

    fn check(number: f64) {
        for precision in 1..=16 {
            let mut out = Vec::new();
            append(&mut out, number, precision);
            let (ours, theirs) =
                (String::from_utf8(out), String::from_utf8(by_printf(number, precision)));
            assert_eq!(ours, theirs, "{number:?} with {precision}");
        }
    }

    #[test]
    fn numbers_print_as_by_printf() {
        let mut state = 7;
        for number in [0.0, -0.0, 0.5, 2.5, 0.125, 1e14, 1e15, 99999999999999.5, 1e-4, 9.9999e-5] {
            check(number);
        }
        for number in [f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1 + 0.2, 9.5, 99.5, 1e22, 1e23] {
            check(number);
        }
        for _ in 0..20_000 {
            let bits = random(&mut state);
            let number = f64::from_bits(bits);
            if number.is_finite() {
                check(number);
            }
            check(bits as i64 as f64 / 1024.0);
            check((bits >> 40) as f64 / 1000.0);
            check((bits % 1_000_000) as f64 * 0.5);
            check((bits % 100_000) as f64 / 100.0);
        }
    }

    fn shortest(number: f64) -> String {
        let mut out = Vec::new();
        append(&mut out, number, SHORTEST);
        String::from_utf8(out).unwrap()
    }

    /// What is written reads back as the same double, and has as many digits as by Rust's own formatting.
    fn check_shortest(number: f64) {
        let text = shortest(number);
        let (read, end) = parse(format!("{text}\0").as_bytes(), 0).unwrap();
        assert_eq!((read.to_bits(), end), (number.to_bits(), text.len()), "{number:?} as {text}");
        let digits = |text: &str| {
            let mantissa = text.split('e').next().unwrap_or_default();
            let digits = mantissa.chars().filter(char::is_ascii_digit).collect::<String>();
            digits.trim_start_matches('0').trim_end_matches('0').len()
        };
        assert_eq!(digits(&text), digits(&format!("{number:e}")), "{number:?} as {text}");
        if number.fract() == 0.0 && number.abs() < EXACT as f64 && number.to_bits() != 1 << 63 {
            assert_eq!(text, format!("{}", number as i64));
        }
        // RFC 8259, section 6.
        let whole = text.trim_start_matches('-').split(['.', 'e']).next().unwrap();
        assert!(!whole.is_empty() && (whole == "0" || !whole.starts_with('0')), "{text}");
        assert!(
            !text.contains('.') || text.split('.').nth(1).unwrap().as_bytes()[0].is_ascii_digit()
        );
    }

    #[test]
    fn shortest_numbers_are_laid_out_as_ecmascript_lays_them_out() {
        let two = |power| 2_f64.powi(power);
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (-0.5, "-0.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.3333333333333333"),
            (19.99, "19.99"),
            (123456789012345.0, "123456789012345"),
            (-1234567890123456.0, "-1234567890123456"),
            (1e14, "100000000000000"),
            (two(53) - 1.0, "9007199254740991"),
            (two(53), "9007199254740992"),
            (-two(53), "-9007199254740992"),
            (two(53) + 2.0, "9007199254740994"),
            (two(63), "9223372036854776000"),
            (-two(63), "-9223372036854776000"),
            (two(64), "18446744073709552000"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (123456.789e-9, "0.000123456789"),
            (1e-6, "0.000001"),
            (1.5e-6, "0.0000015"),
            (1e-7, "1e-7"),
            (-1.25e-7, "-1.25e-7"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (99999999999999.9, "99999999999999.9"),
            (1234567890123.4568, "1234567890123.4568"),
        ] {
            assert_eq!(shortest(number), text);
            check_shortest(number);
        }
    }

    #[test]
    fn shortest_numbers_read_back_as_the_same_doubles() {
        let mut state = 5;
        for power in -1074..1024 {
            let number = 2_f64.powi(power);
            check_shortest(number);
            check_shortest(f64::from_bits(number.to_bits() + 1));
            check_shortest(-f64::from_bits(number.to_bits().saturating_sub(1)));
        }
        for power in -323..309 {
            check_shortest(format!("1e{power}").parse().unwrap());
        }
        for offset in -3000..3000 {
            check_shortest((EXACT as i64 + offset) as f64);
            check_shortest(-((EXACT as i64 + offset) as f64));
        }
        for _ in 0..30_000 {
            let bits = random(&mut state);
            let number = f64::from_bits(bits);
            if number.is_finite() {
                check_shortest(number);
            }
            check_shortest(bits as i64 as f64);
            check_shortest((bits as i64 >> (bits % 60)) as f64);
            check_shortest((bits >> 40) as f64 / 1000.0);
            check_shortest((bits % 100_000) as f64 / 100.0);
            check_shortest((bits >> 12) as f64 / 1e4);
            check_shortest((bits % 1_000_000) as f64 / 1e10);
        }
    }

    #[test]
    fn numbers_read_as_by_strtod() {
        let mut state = 9;
        let alphabet = b"0123456789012345678900..eE+-xaXinfp";
        for _ in 0..200_000 {
            let length = random(&mut state) % 26;
            let mut text = vec![b'1'];
            text.extend(
                (0..length).map(|_| alphabet[random(&mut state) as usize % alphabet.len()]),
            );
            text.push(0);
            let (ours, theirs) = (parse(&text, 0), parse_unusual(&text, 0));
            let key =
                |parsed: Option<(f64, usize)>| parsed.map(|(number, at)| (number.to_bits(), at));
            assert_eq!(key(ours), key(theirs), "{:?}", String::from_utf8_lossy(&text));
        }
    }
}
