//! Who is logging in, read from the client's response: the guard must know before the response goes any further.
//!
//! A response is taken apart strictly: one that two readers could understand differently is refused, so that nobody is
//! counted as somebody else. To act as another than oneself is refused, as with PLAIN.
//! Proof: the tests below; `crates/smtp/tests/properties.rs`.

use super::mechanism::Mechanism;

/// Why a response is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Not what its mechanism says.
    Malformed,
    /// It names an authorization identity that is not the login itself.
    OtherIdentity,
}

/// Reads the responses of one exchange until somebody is named.
#[derive(Debug)]
pub struct Names {
    mechanism: Mechanism,
    /// Whether the first message of NTLM offered Unicode.
    unicode: Option<bool>,
}

impl Names {
    /// For one exchange.
    pub fn new(mechanism: Mechanism) -> Names {
        Names { mechanism, unicode: None }
    }

    /// The name in this response, where none came before. `None`: it holds nothing that identifies anybody and another
    /// one follows (the first message of NTLM).
    pub fn read(&mut self, response: &[u8]) -> Result<Option<String>, Unfit> {
        let name = match self.mechanism {
            Mechanism::Plain | Mechanism::Login => return Err(Unfit::Malformed),
            Mechanism::XOAuth2 => xoauth2(response)?,
            Mechanism::OAuthBearer => oauthbearer(response)?,
            Mechanism::CramMd5 => cram_md5(response)?,
            Mechanism::DigestMd5 => digest_md5(response)?,
            Mechanism::ScramSha1 | Mechanism::ScramSha256 => scram(response)?,
            Mechanism::Ntlm => match ntlm(response, &mut self.unicode)? {
                Some(name) => name,
                None => return Ok(None),
            },
        };
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Unfit::Malformed);
        }
        Ok(Some(name))
    }
}

fn text(octets: &[u8]) -> Result<&str, Unfit> {
    std::str::from_utf8(octets).map_err(|_| Unfit::Malformed)
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
fn xoauth2(response: &[u8]) -> Result<String, Unfit> {
    let text = text(response)?;
    let rest = text.strip_prefix("user=").ok_or(Unfit::Malformed)?;
    let (name, rest) = rest.split_once('\u{1}').ok_or(Unfit::Malformed)?;
    let rest = rest.strip_suffix("\u{1}\u{1}").ok_or(Unfit::Malformed)?;
    match rest.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("auth=bearer")
                && !token.is_empty()
                && !token.contains('\u{1}') =>
        {
            Ok(name.to_owned())
        }
        _ => Err(Unfit::Malformed),
    }
}

/// RFC 7628 §3.1: a GS2 header that must name somebody here, then fields that each end in ^A, then another ^A.
fn oauthbearer(response: &[u8]) -> Result<String, Unfit> {
    let (name, rest) = gs2(text(response)?)?;
    let fields = rest.strip_prefix('\u{1}').and_then(|rest| rest.strip_suffix("\u{1}\u{1}"));
    let mut tokens = fields.ok_or(Unfit::Malformed)?.split('\u{1}').filter_map(|field| field.split_once('='));
    let token = |(key, value): (&str, &str)| {
        key == "auth"
            && value.len() > 7
            && value.is_char_boundary(7)
            && value[..7].eq_ignore_ascii_case("bearer ")
    };
    match tokens.any(token) {
        true => Ok(name.unwrap_or_default()),
        false => Err(Unfit::Malformed),
    }
}

/// RFC 5801 §4: the authorization identity, and what stands behind the header. Channel binding is for `-PLUS` only.
fn gs2(text: &str) -> Result<(Option<String>, &str), Unfit> {
    let rest = text.strip_prefix("n,").or_else(|| text.strip_prefix("y,")).ok_or(Unfit::Malformed)?;
    let (identity, rest) = rest.split_once(',').ok_or(Unfit::Malformed)?;
    match identity.strip_prefix("a=") {
        Some(name) => Ok((Some(saslname(name)?), rest)),
        None if identity.is_empty() => Ok((None, rest)),
        None => Err(Unfit::Malformed),
    }
}

/// RFC 5802 §5.1: `=2C` is a comma, `=3D` an equals sign, no other `=`.
fn saslname(text: &str) -> Result<String, Unfit> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(Unfit::Malformed),
        };
        name.push(sign);
        name.push_str(rest);
    }
    Ok(name)
}

/// RFC 2195 §2: the name, a blank, 32 hexadecimal digits. Names may hold blanks.
fn cram_md5(response: &[u8]) -> Result<String, Unfit> {
    match text(response)?.rsplit_once(' ') {
        Some((name, digest))
            if digest.len() == 32 && digest.bytes().all(|octet| octet.is_ascii_hexdigit()) =>
        {
            Ok(name.to_owned())
        }
        _ => Err(Unfit::Malformed),
    }
}

/// RFC 5802 §7: the client's first message. An extension (`m=`) in front of the name is not known to anybody.
fn scram(response: &[u8]) -> Result<String, Unfit> {
    let (identity, rest) = gs2(text(response)?)?;
    let (name, rest) =
        rest.strip_prefix("n=").and_then(|rest| rest.split_once(',')).ok_or(Unfit::Malformed)?;
    let name = saslname(name)?;
    if !rest.starts_with("r=") {
        return Err(Unfit::Malformed);
    }
    match identity {
        Some(identity) if identity != name => Err(Unfit::OtherIdentity),
        _ => Ok(name),
    }
}

/// RFC 2831 §2.1.2. Servers know `alice` of the realm `example.com` as `alice@example.com`: so is she counted.
fn digest_md5(response: &[u8]) -> Result<String, Unfit> {
    let (mut name, mut realm, mut identity) = (None, None, None);
    for (key, value) in directives(text(response)?)? {
        let place = match &*key {
            "username" => &mut name,
            "realm" => &mut realm,
            "authzid" => &mut identity,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Unfit::Malformed);
        }
    }
    let name = name.ok_or(Unfit::Malformed)?;
    let whole = match realm {
        Some(realm) if !realm.is_empty() && !name.contains('@') => format!("{name}@{realm}"),
        _ => name.clone(),
    };
    match identity {
        Some(identity) if !identity.is_empty() && identity != name && identity != whole => {
            Err(Unfit::OtherIdentity)
        }
        _ => Ok(whole),
    }
}

/// `key=value, key="quoted \" value"`, keys in lower case.
fn directives(text: &str) -> Result<Vec<(String, String)>, Unfit> {
    let mut found = Vec::new();
    let mut rest = text.trim_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=').ok_or(Unfit::Malformed)?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = behind.find(',').unwrap_or(behind.len());
                (behind[..end].trim_end().to_owned(), &behind[end..])
            }
        };
        let key = key.trim().to_ascii_lowercase();
        let token = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
        if key.is_empty() || !key.bytes().all(token) {
            return Err(Unfit::Malformed);
        }
        found.push((key, value));
        let behind = behind.trim_start_matches([' ', '\t']);
        if !behind.is_empty() && !behind.starts_with(',') {
            return Err(Unfit::Malformed);
        }
        rest = behind.trim_start_matches([' ', '\t', ',']);
    }
    Ok(found)
}

/// A quoted string behind its opening quote, and what follows the closing one.
fn unquote(text: &str) -> Result<(String, &str), Unfit> {
    let mut value = String::new();
    let mut signs = text.char_indices();
    while let Some((at, sign)) = signs.next() {
        match sign {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => value.push(signs.next().ok_or(Unfit::Malformed)?.1),
            _ => value.push(sign),
        }
    }
    Err(Unfit::Malformed)
}

/// MS-NLMP §2.2.1: the first message tells nothing, the third one domain and user. Servers read them in the character
/// set that the first message asked for: one that then says otherwise would be counted as somebody else.
fn ntlm(message: &[u8], offered: &mut Option<bool>) -> Result<Option<String>, Unfit> {
    const UNICODE: u32 = 1;
    if !message.starts_with(b"NTLMSSP\0") {
        return Err(Unfit::Malformed);
    }
    let unicode = match (number(message, 8)?, *offered) {
        (1, None) => {
            *offered = Some(number(message, 12)? & UNICODE != 0);
            return Ok(None);
        }
        (3, Some(unicode)) if (number(message, 60)? & UNICODE != 0) == unicode => unicode,
        _ => return Err(Unfit::Malformed),
    };
    let (domain, user) = (ntlm_field(message, 28, unicode)?, ntlm_field(message, 36, unicode)?);
    if user.is_empty() || user.contains('\\') {
        return Err(Unfit::Malformed);
    }
    Ok(Some(if domain.is_empty() { user } else { format!("{domain}\\{user}") }))
}

fn number(message: &[u8], at: usize) -> Result<u32, Unfit> {
    let octets = message.get(at..at + 4).and_then(|octets| octets.try_into().ok());
    octets.map(u32::from_le_bytes).ok_or(Unfit::Malformed)
}

/// The text that a length and an offset at `at` point to.
fn ntlm_field(message: &[u8], at: usize, unicode: bool) -> Result<String, Unfit> {
    let length = usize::from((number(message, at)? & 0xffff) as u16);
    let start = usize::try_from(number(message, at + 4)?).map_err(|_| Unfit::Malformed)?;
    let end = start.checked_add(length).ok_or(Unfit::Malformed)?;
    let octets = message.get(start..end).ok_or(Unfit::Malformed)?;
    if unicode {
        let pairs: Vec<u16> =
            octets.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect();
        if octets.len() % 2 == 1 {
            return Err(Unfit::Malformed);
        }
        return String::from_utf16(&pairs).map_err(|_| Unfit::Malformed);
    }
    // The OEM character set is not told: only its ASCII half is the same for all readers.
    match text(octets) {
        Ok(name) if name.is_ascii() => Ok(name.to_owned()),
        _ => Err(Unfit::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(mechanism: Mechanism, response: &str) -> Result<String, Unfit> {
        Names::new(mechanism).read(response.as_bytes()).map(Option::unwrap_or_default)
    }

    #[test]
    fn tokens_name_their_user() {
        let ok = |name: &str| Ok(name.to_owned());
        let x = |text: &str| name(Mechanism::XOAuth2, text);
        assert_eq!(x("user=alice@example.com\u{1}auth=Bearer vF9dft4qmT\u{1}\u{1}"), ok("alice@example.com"));
        let o = |text: &str| name(Mechanism::OAuthBearer, text);
        let token = "\u{1}host=h\u{1}port=587\u{1}auth=Bearer x\u{1}\u{1}";
        assert_eq!(o(&format!("n,a=alice@example.com,{token}")), ok("alice@example.com"));
        assert_eq!(o(&format!("n,a=a=2Cb=3D,{token}")), ok("a,b="));
    }

    #[test]
    fn tokens_without_a_name_or_a_token_are_malformed() {
        for bad in [
            "",
            "user=\u{1}auth=Bearer x\u{1}\u{1}",
            "user=a\u{1}auth=Basic x\u{1}\u{1}",
            "user=a\u{1}auth=Bearer x\u{1}",
            "user=a\u{1}auth=Bearer \u{1}\u{1}",
            "user=a\u{1}auth=Bearer x\u{1}y\u{1}\u{1}",
            "user=a\r\n\u{1}auth=Bearer x\u{1}\u{1}",
        ] {
            assert_eq!(name(Mechanism::XOAuth2, bad), Err(Unfit::Malformed), "{bad:?}");
        }
        for bad in [
            "n,,\u{1}auth=Bearer x\u{1}\u{1}",
            "p=tls-unique,a=a,\u{1}auth=Bearer x\u{1}\u{1}",
            "n,a=a,\u{1}\u{1}",
            "n,a=a=2Fb,\u{1}auth=Bearer x\u{1}\u{1}",
            "n,a=a,\u{1}auth=Bearer x\u{1}",
            "n,a=a",
        ] {
            assert_eq!(name(Mechanism::OAuthBearer, bad), Err(Unfit::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn cram_names_stand_before_the_last_blank() {
        let digest = "b913a602c7eda7a495b4e6e7334d3890";
        let of = |text: String| name(Mechanism::CramMd5, &text);
        assert_eq!(of(format!("tim {digest}")), Ok("tim".to_owned()));
        assert_eq!(of(format!("tim the tester {digest}")), Ok("tim the tester".to_owned()));
        for bad in [digest.to_owned(), format!(" {digest}"), "tim abc".to_owned(), format!("tim {digest} ")] {
            assert_eq!(of(bad.clone()), Err(Unfit::Malformed), "{bad}");
        }
    }

    #[test]
    fn digest_names_are_the_only_username_with_its_realm() {
        let of = |text: &str| name(Mechanism::DigestMd5, text);
        let ok = |name: &str| Ok(name.to_owned());
        let rest = r#"nonce="a,b\"c",nc=00000001,cnonce="x",digest-uri="smtp/h",response=00,qop=auth"#;
        assert_eq!(of(&format!(r#"charset=utf-8,username="chris",realm="",{rest}"#)), ok("chris"));
        assert_eq!(of(&format!(r#"username="chris",realm="example.com",{rest}"#)), ok("chris@example.com"));
        assert_eq!(of(&format!(r#"username="chris@example.com",realm="x",{rest}"#)), ok("chris@example.com"));
        assert_eq!(of(&format!(r#"{rest}, username="a\\\"b""#)), ok("a\\\"b"));
        assert_eq!(of(&format!(r#"username="a",authzid="b",{rest}"#)), Err(Unfit::OtherIdentity));
        for bad in [
            rest.to_owned(),
            format!(r#"username="a",username="b",{rest}"#),
            r#"username="a"#.to_owned(),
            r#"username="a"x,realm="b""#.to_owned(),
            "username".to_owned(),
        ] {
            assert_eq!(of(&bad), Err(Unfit::Malformed), "{bad}");
        }
    }

    #[test]
    fn scram_names_are_unescaped_and_act_as_themselves() {
        let of = |text: &str| name(Mechanism::ScramSha256, text);
        assert_eq!(of("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), Ok("user".to_owned()));
        assert_eq!(of("y,,n=a=2Cb=3D,r=x"), Ok("a,b=".to_owned()));
        assert_eq!(of("n,a=user,n=user,r=x"), Ok("user".to_owned()));
        assert_eq!(of("n,a=admin,n=user,r=x"), Err(Unfit::OtherIdentity));
        for bad in [
            "",
            "n,,n=user",
            "p=tls-exporter,,n=user,r=x",
            "n,,m=1,n=user,r=x",
            "n,,n==41,r=x",
            "n,,n=,r=x",
            "c=biws,r=x,p=y",
        ] {
            assert_eq!(of(bad), Err(Unfit::Malformed), "{bad}");
        }
    }

    /// The third message with these fields.
    fn type_3(domain: &[u8], user: &[u8], flags: u32) -> Vec<u8> {
        let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
        let mut at = 64_u32;
        for field in [&[][..], &[], domain, user, &[], &[]] {
            let length = u16::try_from(field.len()).unwrap();
            message.extend(length.to_le_bytes());
            message.extend(length.to_le_bytes());
            message.extend(at.to_le_bytes());
            at += u32::from(length);
        }
        message.extend(flags.to_le_bytes());
        message.extend_from_slice(domain);
        message.extend_from_slice(user);
        message
    }

    #[test]
    fn ntlm_names_come_with_the_third_message() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let type_1 = |flags: u32| [&b"NTLMSSP\0\x01\0\0\0"[..], &flags.to_le_bytes()].concat();
        let of = |offered: u32, message: &[u8]| {
            let mut names = Names::new(Mechanism::Ntlm);
            assert_eq!(names.read(&type_1(offered)), Ok(None));
            names.read(message)
        };
        assert_eq!(of(3, &type_3(&wide("CORP"), &wide("ålice"), 1)), Ok(Some("CORP\\ålice".to_owned())));
        assert_eq!(of(2, &type_3(b"", b"alice", 2)), Ok(Some("alice".to_owned())));
        let mut outside = type_3(b"CORP", b"alice", 2);
        outside[40] = 0xff;
        for bad in [
            &b"NTLMSSP\0\x02\0\0\0"[..],
            b"NTLMSSP\0\x03\0\0\0",
            b"TlRMTVNTUAAB",
            &outside,
            &type_1(2),
            &type_3(b"", b"", 2),
            &type_3(b"", b"\xe5lice", 2),
            &type_3(b"A", b"B\\c", 2),
            // "alice!" to a server that goes by the first message, three other signs to one that goes by the third.
            &type_3(b"", b"alice!", 1),
        ] {
            assert_eq!(of(2, bad), Err(Unfit::Malformed), "{bad:?}");
        }
        assert_eq!(of(1, &type_3(b"", b"\xd8\xd8\xd8", 1)), Err(Unfit::Malformed));
        let first = type_3(b"", b"alice", 2);
        assert_eq!(
            Names::new(Mechanism::Ntlm).read(&first),
            Err(Unfit::Malformed),
            "the third message first"
        );
    }
}
