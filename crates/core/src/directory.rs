//! Addresses out of a directory's export, CSV or LDIF (RFC 2849): what becomes a recipient list (`list:FILE`), so that a
//! site can run without its delegate. Pure: octets in, addresses out. Reads no attribute but those that hold addresses,
//! and takes nothing for an address that does not parse as one.

mod csv;
mod ldif;

use std::collections::BTreeSet;

use vouchsafe_smtp::Mailbox;
use vouchsafe_smtp::reply::printable;

/// Values that are told when they are no addresses; more are counted.
const TOLD: usize = 20;

/// Columns and attributes that hold addresses, in lower case: Active Directory and Exchange, OpenLDAP's schemas, Zimbra,
/// and what people write at the head of a table.
const ATTRIBUTES: [&str; 17] = [
    "proxyaddresses",
    "mail",
    "emailaddresses",
    "emailaddress",
    "primarysmtpaddress",
    "windowsemailaddress",
    "targetaddress",
    "mailalternateaddress",
    "maillocaladdress",
    "rfc822mailbox",
    "mgrprxyaddress",
    "zimbramailalias",
    "zimbramaildeliveryaddress",
    "email",
    "e-mail",
    "e-mail address",
    "address",
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Addresses, case-folded, each once.
    pub addresses: BTreeSet<String>,
    /// Values that are no addresses, with their lines: the first of them.
    pub odd: Vec<(usize, String)>,
    /// How many values are no addresses.
    pub odd_count: usize,
}

/// Reads an export. `Err` says why nothing in it can be understood.
pub fn read(octets: &[u8]) -> Result<Found, String> {
    let text = decode(octets)?;
    let mut found = Found::default();
    match ldif::is_ldif(&text) {
        true => ldif::read(&text, &mut found),
        false => csv::read(&text, &mut found)?,
    }
    Ok(found)
}

/// The list as a file: `list:FILE` reads it. `about` is told in a comment at its head.
pub fn list<'a>(addresses: impl IntoIterator<Item = &'a str>, about: &str) -> String {
    let mut out = format!("# {}\n", printable(about.as_bytes(), 200));
    for address in addresses {
        out.push_str(address);
        out.push('\n');
    }
    out
}

/// UTF-8, with or without its mark, or UTF-16 with its mark, as PowerShell writes it.
fn decode(octets: &[u8]) -> Result<String, String> {
    let wide = |octets: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = octets.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map_err(|_| "is no good UTF-16".to_owned())
    };
    match octets {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => Ok(text.to_owned()),
            // Names may be in an old code page; addresses that are not ASCII then do not parse, and are told.
            Err(_) => Ok(String::from_utf8_lossy(rest).into_owned()),
        },
    }
}

/// Whether an attribute or column holds addresses.
fn holds_addresses(name: &str) -> bool {
    ATTRIBUTES.contains(&name.trim().to_ascii_lowercase().as_str())
}

impl Found {
    /// Takes one value: an address, or `SMTP:` and an address. Other kinds (`X500:`, `SIP:`) are no mail.
    fn take(&mut self, value: &str, line: usize) {
        let value = value.trim().trim_start_matches('<').trim_end_matches('>');
        if value.is_empty() {
            return;
        }
        let address = match value.split_once(':') {
            Some((kind, address)) if kind.eq_ignore_ascii_case("smtp") => address,
            Some((kind, _)) if kind.bytes().all(|octet| octet.is_ascii_alphanumeric()) => return,
            _ => value,
        };
        match Mailbox::parse(address.trim(), true) {
            // A comment's sign would end the line of a list.
            Ok(mailbox) if !address.contains('#') => {
                self.addresses.insert(mailbox.key());
            }
            _ => {
                self.odd_count += 1;
                if self.odd.len() < TOLD {
                    self.odd.push((line, printable(value.as_bytes(), 100)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(octets: &[u8]) -> Vec<String> {
        read(octets).unwrap().addresses.into_iter().collect()
    }

    #[test]
    fn exchange_exports_are_read_in_their_odd_encoding() {
        let text = "#TYPE Selected.User\r\n\"Name\",\"ProxyAddresses\"\r\n\"Bob, the boss\",\"SMTP:Bob@Example.com smtp:b@example.com X500:/o=Corp/cn=bob\"\r\n";
        let mut octets = vec![0xff, 0xfe];
        octets.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(addresses(&octets), ["b@example.com", "bob@example.com"]);
        assert_eq!(addresses(format!("\u{feff}{text}").as_bytes()), ["b@example.com", "bob@example.com"]);
    }

    #[test]
    fn what_is_no_address_is_told_with_its_line() {
        let found = read(b"mail\na@example.com\nnobody\nb#c@example.com\n").unwrap();
        assert_eq!(found.addresses.len(), 1);
        assert_eq!(found.odd, [(3, "nobody".to_owned()), (4, "b#c@example.com".to_owned())]);
        assert_eq!(found.odd_count, 2);
    }

    #[test]
    fn a_list_is_read_back_as_it_was_written() {
        let found = read(b"mail\nb@example.com\na@example.com\n").unwrap();
        let text = list(found.addresses.iter().map(String::as_str), "two\nof them");
        assert_eq!(text, "# two?of them\na@example.com\nb@example.com\n");
        assert_eq!(read(text.as_bytes()).unwrap().addresses, found.addresses);
    }
}
