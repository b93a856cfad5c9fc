//! Sizes and times as people write them: `5 MB`, `64 KiB`, `30s`, `1h30m`, `7d`.
//! Proof: the tests below; `tests/bad/` for what is refused.

use std::time::Duration;

const SIZES: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

const TIMES: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Octets; `None` when it is not a size or does not fit.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text.trim())?;
    let unit = unit.trim();
    let (_, factor) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

/// One or more numbers, each with its unit; `None` when it is not a time or does not fit.
pub fn parse_time(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = split_number(rest)?;
        let tail = tail.trim_start();
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (_, factor) = TIMES.iter().find(|(name, _)| *name == &tail[..end])?;
        total = total.checked_add(number.checked_mul(*factor)?)?;
        rest = tail[end..].trim_start();
    }
    Some(Duration::from_millis(total))
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// A time in its largest whole unit, for messages.
pub fn show_time(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let fits = |(_, factor): &&(&str, u64)| ms >= *factor && ms.is_multiple_of(*factor);
    // Weeks are taken but not given: people say 14d.
    match TIMES[..5].iter().rev().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", ms / factor),
        None => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_decimal_and_binary_units() {
        assert_eq!(parse_size("5 MB"), Some(5_000_000));
        assert_eq!(parse_size("64 KiB"), Some(65_536));
        assert_eq!(parse_size("200MB"), Some(200_000_000));
        for bad in ["", "5", "5 M", "MB", "-5 MB", "1.5 GB", "99999999999 TB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_read_one_or_more_units() {
        assert_eq!(parse_time("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse_time("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_time("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_time("0s"), Some(Duration::ZERO));
        for bad in ["", "30", "5 minutes", "s", "-1s", "1h30", "18446744073709551615w"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_time_is_shown_in_its_largest_whole_unit() {
        for text in ["0s", "500ms", "90s", "15m", "36h", "7d"] {
            assert_eq!(show_time(parse_time(text).unwrap()), text);
        }
    }
}
