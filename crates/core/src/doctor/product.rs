//! What a server looks like: by its greeting, by what it offers, by the words in which it refuses. A guess: it picks the
//! advice, never a setting.

use std::fmt;

use serde::Serialize;

use super::recipients::{Checking, judge};
use super::{Examined, Seen};

/// A product whose ways are known (FACTS sections 2 to 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// Exchange on premises: front end, hub transport, or both.
    Exchange,
    /// Exchange Edge Transport: recipients checked on 25, no logins.
    ExchangeEdge,
    /// Microsoft 365.
    Microsoft365,
    /// Xeams.
    Xeams,
    /// Postfix, Zimbra and others built on it.
    Postfix,
    /// Exim.
    Exim,
    /// Dovecot's submission service.
    Dovecot,
    /// Proxmox Mail Gateway.
    Proxmox,
    /// None of these.
    Unknown,
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Product::Exchange => "Exchange",
            Product::ExchangeEdge => "an Exchange Edge server",
            Product::Microsoft365 => "Microsoft 365",
            Product::Xeams => "Xeams",
            Product::Postfix => "Postfix",
            Product::Exim => "Exim",
            Product::Dovecot => "Dovecot's submission service",
            Product::Proxmox => "Proxmox Mail Gateway",
            Product::Unknown => "no product that the doctor knows",
        })
    }
}

/// Words that betray a product, most telling first.
const SIGNS: [(&str, Product); 18] = [
    ("mail.protection.outlook.com", Product::Microsoft365),
    (".outlook.com microsoft", Product::Microsoft365),
    ("outlook.office365.com microsoft", Product::Microsoft365),
    ("access denied. as(", Product::Microsoft365),
    ("microsoft esmtp mail service", Product::Exchange),
    ("x-anonymoustls", Product::Exchange),
    ("x-exps", Product::Exchange),
    ("resolver.adr", Product::Exchange),
    ("smtp; unable to relay", Product::Exchange),
    ("client was not authenticated", Product::Exchange),
    ("xeams", Product::Xeams),
    ("proxmox", Product::Proxmox),
    ("esmtp exim", Product::Exim),
    ("dovecot", Product::Dovecot),
    ("esmtp postfix", Product::Postfix),
    ("user unknown in local recipient table", Product::Postfix),
    ("user unknown in virtual mailbox table", Product::Postfix),
    ("user unknown in relay recipient table", Product::Postfix),
];

/// The guess.
pub(super) fn guess(examined: &Examined) -> Product {
    let said: String = examined.ports.iter().flat_map(words).collect::<Vec<_>>().join("\n").to_lowercase();
    let found = SIGNS.iter().find(|(sign, _)| said.contains(sign)).map(|(_, product)| *product);
    let open = || examined.ports.iter().filter(|seen| seen.is_open());
    match found {
        Some(Product::Exchange) if is_edge(examined) => Product::ExchangeEdge,
        Some(product) => product,
        // Stock Exchange with a banner of its own still offers NTLM before TLS; Postfix without one offers this pair.
        None if open().any(|seen| seen.mechanisms_in_clear() == ["NTLM"]) => Product::Exchange,
        None if open().any(|seen| has(seen, "VRFY") && has(seen, "ETRN") && has(seen, "PIPELINING")) => {
            Product::Postfix
        }
        None => Product::Unknown,
    }
}

/// Port 25 alone is open, checks recipients, and takes no logins.
fn is_edge(examined: &Examined) -> bool {
    let mut open = examined.ports.iter().filter(|seen| seen.is_open());
    let alone = |seen: &Seen| {
        seen.port == 25
            && seen.offers().auth.is_empty()
            && matches!(judge(examined, seen), Checking::AtRcpt { .. })
    };
    open.next().is_some_and(alone) && open.next().is_none()
}

fn has(seen: &Seen, keyword: &str) -> bool {
    let hello = if seen.hello.is_empty() { &seen.hello_tls } else { &seen.hello };
    hello.iter().skip(1).any(|line| line.eq_ignore_ascii_case(keyword))
}

/// All that a port said.
fn words(seen: &Seen) -> Vec<String> {
    let refused = seen.trouble.iter().filter_map(|trouble| trouble.said.as_ref());
    let answered = seen.answers.iter().map(|answer| &answer.said);
    let replies = answered.chain(refused).map(ToString::to_string);
    let hello = seen.hello.iter().chain(&seen.hello_tls).cloned();
    seen.banner.iter().cloned().chain(hello).chain(replies).collect()
}
