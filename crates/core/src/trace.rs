//! What we put on top of every message: the trace header (RFC 5321 §4.4) and, on submission, a missing Date and
//! Message-ID (RFC 6409 §8.2, §8.3).
//!
//! Never names the login; names the client only where the listener's `received_client` says so. A peer's words are
//! cleaned before they stand in a header. Proof: tests below.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::Bytes;
use vouchsafe_smtp::Mailbox;

use crate::envelope::MessageId;
use crate::headers::{Fix, HeaderFacts};
use crate::time::Timestamp;

/// Characters of a HELO name that are kept (RFC 5321 §4.5.3.1.2: a domain has at most 255).
const HELO: usize = 255;

/// What the trace header tells.
#[derive(Clone, Debug)]
pub struct TraceFacts<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The client's HELO or EHLO argument, as it came.
    pub helo: &'a str,
    /// The client's address; `None` with `received_client = "omit"`.
    pub client: Option<IpAddr>,
    /// The session began with EHLO.
    pub esmtp: bool,
    /// TLS version and cipher suite, e.g. `("TLSv1.3", "TLS_AES_256_GCM_SHA384")`.
    pub tls: Option<(&'a str, &'a str)>,
    /// The client has logged in.
    pub authenticated: bool,
    /// The transaction said SMTPUTF8.
    pub smtputf8: bool,
    /// Message id.
    pub id: MessageId,
    /// The recipient if it is the only one: with several a `for` would tell one of another (RFC 5321 §7.2).
    pub only_recipient: Option<&'a Mailbox>,
    /// Now.
    pub now: Timestamp,
}

/// All that is put on top of a message: `Authentication-Results`, whole, if there are any (RFC 8601 §4.1: above the trace
/// of the host that made them); `Received`; then what a submission lacks. Ends with CRLF; with an empty line
/// if the message has no header of its own, so that its first line cannot become part of ours.
pub fn head(trace: &TraceFacts<'_>, results: Option<&str>, header: &HeaderFacts, fix: Fix) -> Bytes {
    let mut head = results.unwrap_or_default().to_owned() + &received_header(trace);
    if fix == Fix::Submission && !header.has_date {
        let _ = write!(head, "Date: {}\r\n", trace.now.rfc5322());
    }
    if fix == Fix::Submission && !header.has_message_id {
        let _ = write!(head, "Message-ID: <{}@{}>\r\n", trace.id, trace.hostname);
    }
    if header.no_header {
        head.push_str("\r\n");
    }
    Bytes::from(head)
}

/// What every `Received` field of the gateway of this name holds, and no other's.
pub fn mark(hostname: &str) -> String {
    format!("by {hostname} (Vouchsafe) with ")
}

/// The `Received` field, folded, ending in CRLF.
pub fn received_header(trace: &TraceFacts<'_>) -> String {
    let mut field = format!("Received: from {}", from(trace));
    if let Some(client) = trace.client {
        // RFC 5321 §4.1.3: address literals.
        let _ = match client.to_canonical() {
            IpAddr::V4(v4) => write!(field, " ([{v4}])"),
            IpAddr::V6(v6) => write!(field, " ([IPv6:{v6}])"),
        };
    }
    let _ = write!(field, "\r\n\t{}{}", mark(trace.hostname), protocol(trace));
    if let Some((version, cipher)) = trace.tls {
        let _ = write!(field, "\r\n\t({version} {cipher})");
    }
    let _ = write!(field, "\r\n\tid {}", trace.id);
    if let Some(recipient) = trace.only_recipient {
        let _ = write!(field, "\r\n\tfor <{recipient}>");
    }
    let _ = write!(field, ";\r\n\t{}\r\n", trace.now.rfc5322());
    field
}

/// The HELO name without anything that could open a comment or end the line. Where the client is not to be told, an
/// address literal is not told either.
fn from(trace: &TraceFacts<'_>) -> String {
    let fits = |c: char| {
        c.is_ascii_alphanumeric()
            || "-._:[]".contains(c)
            || (trace.smtputf8 && !c.is_ascii() && c.is_alphanumeric())
    };
    let clean: String = trace.helo.chars().take(HELO).map(|c| if fits(c) { c } else { '_' }).collect();
    let address = |name: &str| name.starts_with('[') || name.parse::<IpAddr>().is_ok();
    match clean.as_str() {
        "" => "unknown".to_owned(),
        name if trace.client.is_none() && address(name) => "unknown".to_owned(),
        _ => clean,
    }
}

/// RFC 3848 and, for SMTPUTF8, RFC 6531 §4.3.
fn protocol(trace: &TraceFacts<'_>) -> &'static str {
    match (trace.esmtp, trace.smtputf8, trace.tls.is_some(), trace.authenticated) {
        (false, ..) => "SMTP",
        (true, false, false, false) => "ESMTP",
        (true, false, false, true) => "ESMTPA",
        (true, false, true, false) => "ESMTPS",
        (true, false, true, true) => "ESMTPSA",
        (true, true, false, false) => "UTF8SMTP",
        (true, true, false, true) => "UTF8SMTPA",
        (true, true, true, false) => "UTF8SMTPS",
        (true, true, true, true) => "UTF8SMTPSA",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>() -> TraceFacts<'a> {
        TraceFacts {
            hostname: "gate.example",
            helo: "pc.example",
            client: Some(IpAddr::from([192, 0, 2, 7])),
            esmtp: true,
            tls: None,
            authenticated: false,
            smtputf8: false,
            id: "0190a8c5b8f07c2f8b5d3f1f2a6b7c8d".parse().unwrap(),
            only_recipient: None,
            now: Timestamp(1_795_415_738_000_000),
        }
    }

    #[test]
    fn received_names_from_by_with_id_for_and_date() {
        let bob = Mailbox::parse("bob@example.com", false).unwrap();
        let tls = Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384"));
        let trace = TraceFacts { tls, authenticated: true, only_recipient: Some(&bob), ..facts() };
        assert_eq!(
            received_header(&trace),
            "Received: from pc.example ([192.0.2.7])\r\n\tby gate.example (Vouchsafe) with ESMTPSA\r\n\t\
             (TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n\tid 0190a8c5b8f07c2f8b5d3f1f2a6b7c8d\r\n\t\
             for <bob@example.com>;\r\n\tMon, 23 Nov 2026 06:35:38 +0000\r\n"
        );
    }

    #[test]
    fn with_says_how_it_came() {
        let with = |esmtp, smtputf8, tls: bool, authenticated| {
            let tls = tls.then_some(("TLSv1.3", "X"));
            protocol(&TraceFacts { esmtp, smtputf8, tls, authenticated, ..facts() })
        };
        assert_eq!(with(false, false, false, false), "SMTP");
        assert_eq!(with(true, false, false, false), "ESMTP");
        assert_eq!(with(true, false, true, false), "ESMTPS");
        assert_eq!(with(true, false, false, true), "ESMTPA");
        assert_eq!(with(true, true, true, true), "UTF8SMTPSA");
        assert_eq!(with(true, true, false, false), "UTF8SMTP");
    }

    #[test]
    fn an_omitted_client_leaves_neither_address_nor_literal() {
        let omitted = TraceFacts { client: None, ..facts() };
        assert!(received_header(&omitted).starts_with("Received: from pc.example\r\n"));
        for helo in ["[192.0.2.7]", "192.0.2.7", "[IPv6:::1]"] {
            let field = received_header(&TraceFacts { helo, ..omitted.clone() });
            assert!(field.starts_with("Received: from unknown\r\n"), "{field}");
        }
    }

    #[test]
    fn a_helo_name_cannot_add_a_field_or_a_comment() {
        let field =
            received_header(&TraceFacts { helo: "a)(b\r\nX-Evil: 1;\u{202e}<é", client: None, ..facts() });
        assert!(field.starts_with("Received: from a__b__X-Evil:_1____\r\n"), "{field}");
        let long = "x".repeat(4000);
        assert!(received_header(&TraceFacts { helo: &long, ..facts() }).len() < 500);
        assert!(received_header(&TraceFacts { helo: "", ..facts() }).starts_with("Received: from unknown ("));
    }

    #[test]
    fn a_mapped_client_is_told_as_ipv4_and_ipv6_as_a_literal() {
        let field =
            |client: &str| received_header(&TraceFacts { client: Some(client.parse().unwrap()), ..facts() });
        assert!(field("::ffff:192.0.2.7").contains(" ([192.0.2.7])"));
        assert!(field("2001:db8::1").contains(" ([IPv6:2001:db8::1])"));
    }

    #[test]
    fn only_a_submission_gets_a_missing_date_and_message_id() {
        let text = |header: &HeaderFacts, fix| {
            String::from_utf8(head(&facts(), None, header, fix).to_vec()).unwrap()
        };
        let none = HeaderFacts::default();
        let all = text(&none, Fix::Submission);
        assert!(all.contains("\r\nDate: Mon, 23 Nov 2026 06:35:38 +0000\r\n"));
        assert!(all.ends_with("\r\nMessage-ID: <0190a8c5b8f07c2f8b5d3f1f2a6b7c8d@gate.example>\r\n"));
        assert_eq!(text(&none, Fix::Untouched), received_header(&facts()));
        let both = HeaderFacts { has_date: true, has_message_id: true, ..none.clone() };
        assert_eq!(text(&both, Fix::Submission), received_header(&facts()));
        let bare = HeaderFacts { no_header: true, ..none };
        assert!(text(&bare, Fix::Untouched).ends_with("+0000\r\n\r\n"));
        let results = "Authentication-Results: gate.example; spf=pass\r\n";
        let all = head(&facts(), Some(results), &HeaderFacts::default(), Fix::Untouched);
        assert_eq!(all, (results.to_owned() + &received_header(&facts())).as_bytes());
    }
}
