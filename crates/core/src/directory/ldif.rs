//! LDIF (RFC 2849): folded lines, comments, values in base64. Values by URL are not fetched.

use vouchsafe_smtp::sasl::decode_base64;

use super::{Found, holds_addresses};

/// An LDIF begins with its version or with an entry's name.
pub(super) fn is_ldif(text: &str) -> bool {
    let first =
        text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    let name = first.split(':').next().unwrap_or_default();
    first.contains(':') && (name.eq_ignore_ascii_case("dn") || name.eq_ignore_ascii_case("version"))
}

pub(super) fn read(text: &str, found: &mut Found) {
    for (line, content) in unfold(text) {
        let Some((name, value)) = content.split_once(':') else { continue };
        // `mail;lang-en` is `mail`.
        if content.starts_with('#') || !holds_addresses(name.split(';').next().unwrap_or_default()) {
            continue;
        }
        match value.strip_prefix(':') {
            Some(base64) => match decode_base64(base64.trim().as_bytes()) {
                Ok(octets) => found.take(&String::from_utf8_lossy(octets.expose()), line),
                Err(_) => found.take(base64, line),
            },
            None if value.starts_with('<') => {}
            None => found.take(value, line),
        }
    }
}

/// Lines with their continuations, each with the number of the line on which it begins.
fn unfold(text: &str) -> Vec<(usize, String)> {
    let mut unfolded: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix(' '), unfolded.last_mut()) {
            (Some(rest), Some((_, content))) => content.push_str(rest),
            _ => unfolded.push((number + 1, line.to_owned())),
        }
    }
    unfolded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_lines_base64_and_options_are_understood() {
        let text = "version: 1\n\
                    # mail: not@example.com\n\
                    dn: CN=Bob,DC=example,DC=com\n\
                    mail: bob@exam\n ple.com\n\
                    proxyAddresses:: U01UUDpiQGV4YW1wbGUuY29t\n\
                    proxyAddresses: X400:c=de;a= ;p=corp\n\
                    mail;lang-en: robert@example.com\n\
                    description: desc@example.com\n\
                    mail:< file:///etc/passwd\n\
                    \n\
                    dn: CN=Odd\n\
                    mail: odd\n";
        assert!(is_ldif(text));
        let mut found = Found::default();
        read(text, &mut found);
        let addresses: Vec<_> = found.addresses.into_iter().collect();
        assert_eq!(addresses, ["b@example.com", "bob@example.com", "robert@example.com"]);
        assert_eq!(found.odd, [(13, "odd".to_owned())]);
    }

    #[test]
    fn tables_are_no_ldif() {
        assert!(!is_ldif("mail\na@example.com\n"));
        assert!(!is_ldif("dn,mail\nx,a@example.com\n"));
    }
}
