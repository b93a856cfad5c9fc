//! Names and end of a certificate, for the doctor to show (RFC 5280 §4.1). Judges nothing: rustls does. Reads no more than
//! the way to the two fields; octets that do not fit end in an empty answer. Proof: the tests below.

/// What a person wants to know of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// DNS names, in its order.
    pub names: Vec<String>,
    /// The last day on which it is valid, `2027-03-31`.
    pub expires: Option<String>,
}

const SEQUENCE: u8 = 0x30;
/// `[0]` version and `[3]` extensions of a TBSCertificate.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[2]` dNSName of a GeneralName.
const DNS_NAME: u8 = 0x82;
/// The OBJECT IDENTIFIER 2.5.29.17, subjectAltName.
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];

/// Reads a certificate in DER.
pub fn read(der: &[u8]) -> Certificate {
    let mut certificate = Certificate::default();
    // What was found before octets that do not fit stays.
    let _ = fill(der, &mut certificate);
    certificate
}

fn fill(der: &[u8], certificate: &mut Certificate) -> Option<()> {
    let mut whole = Der(inside(der, SEQUENCE)?);
    let mut fields = Der(inside_of(whole.next()?, SEQUENCE)?);
    let has_version = fields.next()?.0 == VERSION;
    // Past serial number, algorithm and issuer.
    fields.nth(if has_version { 2 } else { 1 })?;
    let mut validity = Der(inside_of(fields.next()?, SEQUENCE)?);
    let _from = validity.next()?;
    certificate.expires = date(validity.next()?);
    let extensions = fields.find(|(tag, _)| *tag == EXTENSIONS)?;
    for extension in Der(inside(extensions.1, SEQUENCE)?) {
        let mut parts = Der(inside_of(extension, SEQUENCE)?);
        if parts.next()?.1 != SUBJECT_ALT_NAME {
            continue;
        }
        let value = parts.find(|(tag, _)| *tag != BOOLEAN)?;
        let names = Der(inside(inside_of(value, OCTET_STRING)?, SEQUENCE)?);
        let names = names.filter(|(tag, _)| *tag == DNS_NAME);
        certificate.names = names.map(|(_, name)| String::from_utf8_lossy(name).into_owned()).collect();
    }
    Some(())
}

/// `YYMMDD...` or `YYYYMMDD...` (RFC 5280 §4.1.2.5: two digits below 50 are of this century).
fn date((tag, text): (u8, &[u8])) -> Option<String> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
    let text = match tag {
        UTC_TIME => format!("{}{text}", if text.get(..2)? < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    Some(format!("{}-{}-{}", text.get(..4)?, text.get(4..6)?, text.get(6..8)?))
}

/// Values one after the other: tag and content.
struct Der<'a>(&'a [u8]);

impl<'a> Iterator for Der<'a> {
    type Item = (u8, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // Up to 16 MiB: longer than any handshake carries.
            0x81..=0x83 => {
                let (length, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
                (length.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

fn inside(der: &[u8], tag: u8) -> Option<&[u8]> {
    inside_of(Der(der).next()?, tag)
}

fn inside_of((found, content): (u8, &[u8]), tag: u8) -> Option<&[u8]> {
    (found == tag).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Vec<u8> {
        let names = vec!["mail.example.com".to_owned(), "mx.example.com".to_owned()];
        let mut wanted = rcgen::CertificateParams::new(names).unwrap();
        wanted.not_after = rcgen::date_time_ymd(2031, 3, 9);
        let key = rcgen::KeyPair::generate().unwrap();
        wanted.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_and_the_last_day_are_read() {
        let found = read(&made());
        assert_eq!(found.names, ["mail.example.com", "mx.example.com"]);
        assert_eq!(found.expires.as_deref(), Some("2031-03-09"));
    }

    #[test]
    fn cut_or_spoilt_octets_never_panic() {
        let whole = made();
        for at in 0..whole.len() {
            read(&whole[..at]);
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0xff;
            read(&spoilt);
        }
    }
}
