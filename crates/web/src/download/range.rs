//! Which part of a file a request wants, if any: RFC 9110 §13 (conditions) and §14 (ranges). Pure.
//!
//! One range is served; several are answered by the whole, as §14.2 allows. Files have strong entity tags and no dates.

use std::ops::Range;

use axum::http::{HeaderMap, HeaderName, header};

/// How a request for a file is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 200
    Whole,
    /// 206
    Part(Range<u64>),
    /// 304
    NotModified,
    /// 412
    Failed,
    /// 416
    Unsatisfiable,
}

/// Judges the fields in the order of RFC 9110 §13.2.2. `tag` with its quotes; `get`: a range counts (§14.2).
pub(crate) fn answer(headers: &HeaderMap, tag: &str, size: u64, get: bool) -> Answer {
    if headers.contains_key(header::IF_MATCH) && !names(headers, header::IF_MATCH, tag, false) {
        return Answer::Failed;
    }
    if names(headers, header::IF_NONE_MATCH, tag, true) {
        return Answer::NotModified;
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    // A date is never that of our file: it has none (§13.1.5).
    let unchanged = text(header::IF_RANGE).is_none_or(|said| said.trim() == tag);
    match text(header::RANGE)
        .filter(|_| get && unchanged && headers.get_all(header::RANGE).iter().count() == 1)
    {
        Some(range) => one(range, size),
        None => Answer::Whole,
    }
}

/// Whether a list of tags has this one; `weak`: a weak tag counts as well (§8.8.3.2).
fn names(headers: &HeaderMap, name: HeaderName, tag: &str, weak: bool) -> bool {
    let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(',')).map(str::trim).any(|said| {
        let bare = said.strip_prefix("W/").filter(|_| weak).unwrap_or(said);
        said == "*" || bare == tag
    })
}

fn one(range: &str, size: u64) -> Answer {
    let Some((unit, spec)) = range.split_once('=') else { return Answer::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Answer::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Answer::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Answer::Whole,
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some()) => {
            Answer::Unsatisfiable
        }
        (Some(first), Some(last)) => Answer::Part(first..last.saturating_add(1).min(size)),
        (Some(first), None) if last.is_empty() => Answer::Part(first..size),
        (None, Some(count)) if first.is_empty() => match count.min(size) {
            0 => Answer::Unsatisfiable,
            count => Answer::Part(size - count..size),
        },
        _ => Answer::Whole,
    }
}

/// Digits alone; past what fits, the largest number.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(list: &[(&'static str, &'static str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        answer(&headers, "\"abc\"", 1000, true)
    }

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (range, want) in [
            ("bytes=0-0", Answer::Part(0..1)),
            ("bytes=0-", Answer::Part(0..1000)),
            ("bytes=500-2000", Answer::Part(500..1000)),
            ("bytes=999-", Answer::Part(999..1000)),
            ("bytes=-1", Answer::Part(999..1000)),
            ("bytes=-5000", Answer::Part(0..1000)),
            ("Bytes = 1-2", Answer::Part(1..3)),
            ("bytes=0-99999999999999999999999", Answer::Part(0..1000)),
            ("bytes=1000-", Answer::Unsatisfiable),
            ("bytes=99999999999999999999999-", Answer::Unsatisfiable),
            ("bytes=2000-3000", Answer::Unsatisfiable),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=5-3", Answer::Whole),
            ("bytes=0-1,5-6", Answer::Whole),
            ("bytes=", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("bytes=+1-2", Answer::Whole),
            ("lines=1-2", Answer::Whole),
            ("1-2", Answer::Whole),
        ] {
            assert_eq!(said(&[("range", range)]), want, "{range}");
        }
        assert_eq!(said(&[("range", "bytes=0-1"), ("range", "bytes=3-4")]), Answer::Whole);
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-0".parse().unwrap());
        assert_eq!(answer(&headers, "\"abc\"", 1000, false), Answer::Whole);
        assert_eq!(answer(&headers, "\"abc\"", 0, true), Answer::Unsatisfiable);
    }

    #[test]
    fn conditions_come_before_the_range() {
        let range = ("range", "bytes=0-9");
        assert_eq!(said(&[range, ("if-range", "\"abc\"")]), Answer::Part(0..10));
        assert_eq!(said(&[range, ("if-range", "W/\"abc\"")]), Answer::Whole);
        assert_eq!(said(&[range, ("if-range", "\"old\"")]), Answer::Whole);
        assert_eq!(said(&[range, ("if-range", "Tue, 01 Dec 2026 00:00:00 GMT")]), Answer::Whole);
        assert_eq!(said(&[range, ("if-match", "\"old\", \"abc\"")]), Answer::Part(0..10));
        assert_eq!(said(&[range, ("if-match", "*")]), Answer::Part(0..10));
        assert_eq!(said(&[range, ("if-match", "\"old\"")]), Answer::Failed);
        assert_eq!(said(&[range, ("if-match", "W/\"abc\"")]), Answer::Failed);
        assert_eq!(said(&[range, ("if-none-match", "W/\"abc\"")]), Answer::NotModified);
        assert_eq!(said(&[("if-none-match", "\"old\"")]), Answer::Whole);
        assert_eq!(said(&[("if-match", "\"abc\""), ("if-none-match", "*")]), Answer::NotModified);
    }
}
