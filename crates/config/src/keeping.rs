//! Where detached files are kept, with what they are encrypted, and who looks at them for viruses.
//! Reads single values; whether a bucket or a scanner is there is for the program to find out.
//! Proof: `tests/bad/keeping.toml`, and the tests below.

use std::path::PathBuf;

use vouchsafe_core::scan::{ScannerAt, Unscanned};

use crate::Lookup;
use crate::endpoint::{login, secret};
use crate::section::{Bad, Findings, Section, each, text};
use crate::settings::{Attachments, Bucket, Inbound, Keeping};
use crate::tree::Node;

/// Words of `unscanned`.
pub(crate) const UNSCANNED: [(&str, Unscanned); 3] =
    [("hold", Unscanned::Hold), ("hold_inbound", Unscanned::HoldInbound), ("notice", Unscanned::Notice)];

/// Reads `store`, the `s3_` settings and `encryption_key`.
pub(crate) fn keeping(s: &Section<'_>, lookup: &dyn Lookup) -> Keeping {
    let place = s.value("store", place).flatten();
    let endpoint = s.value("s3_endpoint", origin);
    let region = s.text("s3_region").unwrap_or_default();
    let login = s.value("s3_login", |node| login(node, lookup));
    let keys = s
        .value("encryption_key", |node| {
            each(node, |node| secret(node, lookup)).map_err(|bad| Bad { secret: true, ..bad })
        })
        .unwrap_or_default();
    if place.is_none()
        && let Some(key) = ["s3_endpoint", "s3_region", "s3_login"].into_iter().find(|key| s.has(key))
    {
        s.findings
            .notice(&s.findings.at(&s.path(key), ""), "has no effect: attachments.store names no bucket");
    }
    let bucket = place.map(|(name, prefix)| Bucket { name, prefix, endpoint, region, login });
    Keeping { bucket, keys }
}

/// `file`, or `s3://bucket/prefix`.
fn place(node: &Node) -> Result<Option<(String, String)>, Bad> {
    let given = text(node)?;
    if given == "file" {
        return Ok(None);
    }
    let rest = given.strip_prefix("s3://").ok_or_else(|| Bad::new("is neither"))?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    // What S3 allows as a bucket's name.
    let is_good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_good) {
        return Err(Bad::new("has no bucket's name of 3 to 63 small letters, digits, dots and dashes"));
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/');
    let prefix = prefix.trim_matches('/');
    if !prefix.chars().all(is_good) || prefix.contains("//") {
        return Err(Bad::new(
            "has a prefix of other characters than letters, digits, dots, dashes and slashes",
        ));
    }
    Ok(Some((bucket.to_owned(), prefix.to_owned())))
}

/// `https://host:port`, nothing behind it.
fn origin(node: &Node) -> Result<String, Bad> {
    let given = text(node)?.trim_end_matches('/');
    let rest = given.strip_prefix("https://").or_else(|| given.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['/', '?', '#', '@', ' ']) => Ok(given.to_owned()),
        _ => Err(Bad::new("is no address of a server")),
    }
}

/// `none`, `host:port` or `unix:/path`.
pub(crate) fn scanner(node: &Node) -> Result<Option<ScannerAt>, Bad> {
    let given = text(node)?;
    if given == "none" {
        return Ok(None);
    }
    if let Some(path) = given.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        return match path.is_absolute() {
            true => Ok(Some(ScannerAt::Unix(path))),
            false => Err(Bad::new("names no path from the root")),
        };
    }
    let (host, port) = given.rsplit_once(':').ok_or_else(|| Bad::new("has no port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok(Some(ScannerAt::Tcp(host.to_owned(), port))),
        _ => Err(Bad::new("has no port")),
    }
}

/// What these settings must agree on with others.
pub(crate) fn check(s: &Attachments, f: &Findings) {
    if s.inbound == Inbound::Scanned && s.clamd.is_none() && !f.reported("attachments.clamd") {
        f.fault(
            &f.at("attachments.inbound", "\"scanned\""),
            "nobody is there to scan",
            r#"add clamd, such as clamd = "unix:/run/clamav/clamd.ctl""#,
        );
    }
    let Some(bucket) = &s.keeping.bucket else { return };
    let plain = bucket.endpoint.as_deref().and_then(|endpoint| endpoint.strip_prefix("http://"));
    let host = plain.map(|rest| rest.rsplit_once(':').map_or(rest, |(host, _)| host));
    if host.is_some_and(|host| host != "localhost" && host != "[::1]" && !host.starts_with("127.")) {
        f.notice(&f.at("attachments.s3_endpoint", ""), "files cross the network in clear text");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    fn node(text: &str) -> Node {
        tree::parse_value(&format!("{text:?}")).unwrap()
    }

    #[test]
    fn places_and_scanners_are_read() {
        let bucket = |text: &str| place(&node(text)).ok().flatten();
        let pair = |one: &str, other: &str| Some((one.to_owned(), other.to_owned()));
        assert_eq!(bucket("s3://files"), pair("files", ""));
        assert_eq!(bucket("s3://my.files-1/gw/eu/"), pair("my.files-1", "gw/eu"));
        assert!(place(&node("file")).is_ok_and(|place| place.is_none()));
        for bad in [
            "",
            "s3://",
            "s3://ab",
            "s3://A_b",
            "s3:/files",
            "https://files",
            "s3://files/a b",
            "s3://files/a//b",
        ] {
            assert!(place(&node(bad)).is_err(), "{bad}");
        }
        let at = |text: &str| scanner(&node(text)).ok().flatten();
        assert_eq!(at("127.0.0.1:3310"), Some(ScannerAt::Tcp("127.0.0.1".to_owned(), 3310)));
        assert_eq!(at("[::1]:3310"), Some(ScannerAt::Tcp("::1".to_owned(), 3310)));
        assert_eq!(at("unix:/run/clamd.ctl"), Some(ScannerAt::Unix("/run/clamd.ctl".into())));
        assert!(scanner(&node("none")).is_ok_and(|at| at.is_none()));
        for bad in ["", "clamd", "clamd:", ":3310", "clamd:0", "unix:clamd.ctl"] {
            assert!(scanner(&node(bad)).is_err(), "{bad}");
        }
        assert!(origin(&node("https://minio.example:9000/")).is_ok());
        for bad in ["minio", "https://", "https://a/b", "https://user@a"] {
            assert!(origin(&node(bad)).is_err(), "{bad}");
        }
    }
}
