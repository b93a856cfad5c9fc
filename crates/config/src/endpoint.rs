//! Servers as the file writes them: `"host:port"`, a table with TLS and login, a list of either.
//! Decides the TLS default by role, and refuses to let a password leave without verified TLS unless told to.
//! Never resolves a name.

use std::net::IpAddr;
use std::path::Path;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use vouchsafe_core::{Endpoint, Protocol, Tell, TlsMode};
use vouchsafe_smtp::Secret;

use crate::Lookup;
use crate::section::{At, Bad, Findings, Section, each, list, text};
use crate::tree::{Node, Value};

/// RFC 8314 §3.2.
const IMAPS: u16 = 993;
/// Where LMTP servers listen; no port is assigned, 25 is forbidden (RFC 2033 §5).
const LMTP: u16 = 24;

/// What a server is used for.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// Port where none is given.
    pub port: u16,
    /// A delegate's auth endpoint: clients' passwords go there.
    pub auth: bool,
    /// A delegate: TLS is verified unless something else is said; a login of our own for recipients only.
    pub delegate: bool,
    /// TLS given once for the whole delegate.
    pub tls: Option<TlsMode>,
    /// `auth_in_clear` given once for the whole delegate.
    pub clear: bool,
}

impl Role {
    /// Port 25, TLS when offered.
    pub fn next_hop() -> Role {
        Role { port: 25, auth: false, delegate: false, tls: None, clear: false }
    }
}

/// A host and the port that was written with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub protocol: Protocol,
    pub name: String,
    pub port: Option<u16>,
}

impl Host {
    /// The machine itself: what is sent there leaves it not.
    fn is_loopback(&self) -> bool {
        self.name.eq_ignore_ascii_case("localhost")
            || self.name.parse::<IpAddr>().is_ok_and(|a| a.to_canonical().is_loopback())
    }
}

/// What applies to all hosts of one table.
struct Terms {
    tls: Option<TlsMode>,
    clear: bool,
    login: Option<(String, Secret)>,
    tell: Tell,
}

impl Terms {
    fn plain(role: &Role) -> Terms {
        Terms { tls: None, clear: role.clear, login: None, tell: Tell::Nothing }
    }
}

/// Reads a whole value; faults go to `findings`.
pub(crate) fn endpoints(
    findings: &Findings,
    path: &str,
    node: &Node,
    role: &Role,
    lookup: &dyn Lookup,
) -> Vec<Endpoint> {
    let mut found = Vec::new();
    for node in list(node) {
        let terms = Terms::plain(role);
        match &node.value {
            Value::Text(_) => match hosts(node) {
                Ok(hosts) => found.extend(build(findings, path, node, &hosts, &terms, role)),
                Err(bad) => tell(findings, path, node, bad),
            },
            Value::Table(_) => found.extend(from_table(findings, path, node, role, lookup)),
            _ => tell(findings, path, node, Bad::new("is not a server")),
        }
    }
    if found.is_empty() && list(node).is_empty() {
        tell(findings, path, node, Bad::new("is an empty list"));
    }
    found
}

/// Endpoints for hosts that were given without a table.
pub(crate) fn build_plain(
    findings: &Findings,
    path: &str,
    node: &Node,
    hosts: &[Host],
    role: &Role,
) -> Vec<Endpoint> {
    build(findings, path, node, hosts, &Terms::plain(role), role)
}

fn from_table(
    findings: &Findings,
    path: &str,
    node: &Node,
    role: &Role,
    lookup: &dyn Lookup,
) -> Vec<Endpoint> {
    let Value::Table(table) = &node.value else { return Vec::new() };
    let section = Section::inside(findings, table, "endpoint", path);
    findings.remember(path, node.line);
    let found = section.value("host", hosts).unwrap_or_default();
    let terms = Terms {
        tls: section.value("tls", tls),
        clear: section.flag("auth_in_clear") || role.clear,
        login: section.value("login", |n| login(n, lookup)),
        tell: tell_client(&section, role),
    };
    if terms.login.is_some() && role.auth {
        let at = At { value: String::new(), ..findings.at(&format!("{path}.login"), "") };
        let advice = "remove it; recipients may have one, for a server that talks of them only after a login";
        findings.fault(&at, "is of no use where clients' own credentials are asked about", advice);
    } else if terms.login.is_some() && role.delegate {
        let what = "Exchange lets whoever has logged in pass its recipient filter: every address looks valid then. Give a login only to a server that answers nobody else, and see with `vouchsafe delegate test recipient` that it refuses a made-up address";
        findings.notice(&findings.at(&format!("{path}.login"), ""), what);
    }
    section.finish();
    build(findings, path, node, &found, &terms, role)
}

/// XCLIENT or XFORWARD, at a next hop.
fn tell_client(section: &Section<'_>, role: &Role) -> Tell {
    let fault = |key: &str, what: &str, advice: &str| {
        let at = At { value: "true".to_owned(), ..section.findings.at(&section.path(key), "") };
        section.findings.fault(&at, what, advice);
        Tell::Nothing
    };
    match (section.flag("xclient"), section.flag("xforward")) {
        (false, false) => Tell::Nothing,
        (true, _) if role.delegate => fault(
            "xclient",
            "is a setting of a next hop",
            "a delegate is told of the client at a login only: set xclient beside auth and recipients",
        ),
        (_, true) if role.delegate => {
            fault("xforward", "is a setting of a next hop", "remove it: a delegate gets no mail")
        }
        (true, true) => fault(
            "xforward",
            "stands beside xclient",
            "choose one: xclient if the next hop is to judge the client, xforward if it is only to know it",
        ),
        // The next hop forgets who logged in when it hears XCLIENT.
        (true, false) if section.has("login") => fault(
            "xclient",
            "ends the login at the next hop",
            "use xforward, or let the next hop trust our address",
        ),
        (true, false) => Tell::XClient,
        (false, true) => Tell::XForward,
    }
}

fn build(
    findings: &Findings,
    path: &str,
    node: &Node,
    hosts: &[Host],
    terms: &Terms,
    role: &Role,
) -> Vec<Endpoint> {
    let secret = role.auth || terms.login.is_some();
    hosts
        .iter()
        .map(|host| {
            let tls = terms.tls.clone().or_else(|| role.tls.clone()).unwrap_or(match host.is_loopback() {
                true => TlsMode::Opportunistic,
                // A next hop on port 25 is a stranger's MX as often as not: verified TLS would stop the mail.
                false if !role.delegate && terms.login.is_none() => TlsMode::Opportunistic,
                false => TlsMode::Verify,
            });
            let verified = matches!(tls, TlsMode::Verify | TlsMode::Pin(_));
            if secret && !verified && !terms.clear && !host.is_loopback() {
                let at = At { line: Some(node.line), key: path.to_owned(), value: host.name.clone() };
                findings.fault(
                    &at,
                    "passwords could leave without verified TLS",
                    r#"use tls = "verify" or a pin, or say auth_in_clear = true"#,
                );
            }
            let (imap, lmtp) = (host.protocol == Protocol::Imap, host.protocol == Protocol::Lmtp);
            let fault = |what: &str, advice: &str| {
                let scheme = if imap { "imaps" } else { "lmtp" };
                let value = format!("{scheme}://{}", host.name);
                findings.fault(&At { line: Some(node.line), key: path.to_owned(), value }, what, advice);
            };
            if imap && !role.auth {
                fault(
                    "is asked about logins only",
                    "give it as auth of a delegate; here, give an SMTP server",
                );
            }
            if imap && tls == TlsMode::Off {
                fault("has TLS always", "remove tls = \"off\"");
            }
            if lmtp && (role.auth || !role.delegate) {
                fault(
                    "is asked about recipients only",
                    "give it as recipients of a delegate; here, give an SMTP server",
                );
            }
            if lmtp && host.port == Some(25) {
                fault("is never spoken on port 25", "give the port of the LMTP service, such as 24");
            }
            let port = host.port.unwrap_or(match host.protocol {
                Protocol::Imap => IMAPS,
                Protocol::Lmtp => LMTP,
                Protocol::Smtp => role.port,
            });
            Endpoint {
                protocol: host.protocol,
                host: host.name.clone(),
                port,
                // RFC 8314 §3.3: port 465 has TLS from the first octet.
                implicit_tls: imap || (port == 465 && tls != TlsMode::Off),
                tls,
                login: terms.login.clone(),
                tell: terms.tell,
            }
        })
        .collect()
}

fn tell(findings: &Findings, path: &str, node: &Node, bad: Bad) {
    let words = format!("give {}", crate::table::Shape::Endpoints.words());
    findings.reject(path, node, bad, &words);
}

/// One host, or a list of them.
pub(crate) fn hosts(node: &Node) -> Result<Vec<Host>, Bad> {
    if list(node).is_empty() {
        return Err(Bad::new("is an empty list"));
    }
    each(node, |n| text(n).and_then(host))
}

/// `host`, `host:port`, `[2001:db8::1]:25`, `2001:db8::1`.
pub(crate) fn host(text: &str) -> Result<Host, Bad> {
    for (scheme, protocol) in [("imaps://", Protocol::Imap), ("lmtp://", Protocol::Lmtp)] {
        if let Some(rest) = text.strip_prefix(scheme) {
            let host = host(rest.strip_suffix('/').unwrap_or(rest))?;
            return Ok(Host { protocol, ..host });
        }
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(match scheme {
            "imap" => {
                Bad::new("would send passwords in clear text").advise(format!("give \"imaps://{rest}\""))
            }
            _ => {
                Bad::new("is not host:port").advise(format!("did you mean {:?}?", rest.trim_end_matches('/')))
            }
        });
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Host { protocol: Protocol::Smtp, name: address.to_string(), port: None });
    }
    let (name, port) = match text.strip_prefix('[').map(|t| t.split_once(']')) {
        Some(Some((inner, rest))) => {
            let address =
                inner.parse::<std::net::Ipv6Addr>().map_err(|_| Bad::new("is not an IPv6 address"))?;
            let port = match rest {
                "" => None,
                _ => Some(rest.strip_prefix(':').ok_or_else(|| Bad::new("is not host:port"))?),
            };
            (address.to_string(), port)
        }
        Some(None) => return Err(Bad::new("has no closing bracket")),
        None => match text.split_once(':') {
            Some((name, port)) => (host_name(name)?, Some(port)),
            None => (host_name(text)?, None),
        },
    };
    let port = port.map(|p| match p.parse() {
        Ok(0) | Err(_) => Err(Bad::new(format!("{p:?} is not a port")).advise("give a port from 1 to 65535")),
        Ok(port) => Ok(port),
    });
    Ok(Host { protocol: Protocol::Smtp, name, port: port.transpose()? })
}

/// A name that DNS can hold (RFC 1123 §2.1; underscores occur), lower case, or an IPv4 address.
pub(crate) fn host_name(text: &str) -> Result<String, Bad> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if !name.is_ascii() {
        return Err(Bad::new("has letters outside ASCII").advise("write its A-label form, xn--..."));
    }
    let label = |l: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&l.len()) && l.bytes().all(allowed) && !l.starts_with('-') && !l.ends_with('-')
    };
    if name.is_empty() || name.len() > 253 || !name.split('.').all(label) {
        return Err(Bad::new("is not a host name"));
    }
    let numeric = name.split('.').all(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if numeric && name.parse::<IpAddr>().is_err() {
        return Err(Bad::new("is not an IP address"));
    }
    Ok(name.to_ascii_lowercase())
}

/// A TLS mode.
pub(crate) fn tls(node: &Node) -> Result<TlsMode, Bad> {
    match text(node)? {
        "verify" => Ok(TlsMode::Verify),
        "opportunistic" => Ok(TlsMode::Opportunistic),
        "off" => Ok(TlsMode::Off),
        other => match other.strip_prefix("pin:sha256/") {
            Some(pin) => pin_of(pin),
            None => Err(Bad::new("is no TLS mode")),
        },
    }
}

fn pin_of(text: &str) -> Result<TlsMode, Bad> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let octets = GeneralPurpose::new(&STANDARD, lenient).decode(text).ok();
    match octets.and_then(|o| <[u8; 32]>::try_from(o).ok()) {
        Some(pin) => Ok(TlsMode::Pin(pin)),
        None => Err(Bad::new("the pin is not 32 octets in base64")
            .advise("give the SHA-256 of the certificate's public key: pin:sha256/ and 44 characters")),
    }
}

/// `{ user = "...", password = { file | env } }`.
pub(crate) fn login(node: &Node, lookup: &dyn Lookup) -> Result<(String, Secret), Bad> {
    let hide = |b: Bad| Bad { secret: true, ..b };
    let Value::Table(table) = &node.value else {
        return Err(hide(Bad::new("is not a table")));
    };
    if let Some((key, _)) = table.entries.iter().find(|(k, _)| k != "user" && k != "password") {
        return Err(hide(Bad::new(format!("{key} is not a part of a login"))));
    }
    let part = |key: &str| table.get(key).ok_or_else(|| hide(Bad::new(format!("{key} is missing"))));
    let user = text(part("user")?).map_err(|b| hide(Bad::new(format!("user {}", b.what))))?;
    let password = secret(part("password")?, lookup).map_err(hide)?;
    Ok((user.to_owned(), password))
}

/// A secret by reference. In the file itself it would end in backups, tickets and `settings show`.
pub(crate) fn secret(node: &Node, lookup: &dyn Lookup) -> Result<Secret, Bad> {
    let Value::Table(table) = &node.value else {
        return Err(Bad::new("the password stands in the settings")
            .advise(r#"put it into a file or the environment: { file = "path" } or { env = "NAME" }"#));
    };
    let (mut found, from) = match table.entries.as_slice() {
        [(key, n)] if key == "file" => {
            let path = text(n)?;
            let found = lookup.file(Path::new(path)).map_err(|why| {
                Bad::new(format!("{path} cannot be read: {why}"))
                    .advise("create it, readable by this program only")
            })?;
            (found, path)
        }
        [(key, n)] if key == "env" => {
            let name = text(n)?;
            let found = lookup.env(name).ok_or_else(|| {
                Bad::new(format!("the environment has no {name}")).advise("set it before the start")
            })?;
            (found, name)
        }
        _ => return Err(Bad::new("is no secret").advise(r#"give { file = "path" } or { env = "NAME" }"#)),
    };
    // One line end belongs to the editor, not to the password.
    let line = found.strip_suffix('\n').map_or(&*found, |l| l.strip_suffix('\r').unwrap_or(l));
    found.truncate(line.len());
    if found.is_empty() || found.contains(['\r', '\n', '\0']) {
        return Err(Bad::new(format!("the secret in {from} is empty or more than a line"))
            .advise("write the password alone on one line"));
    }
    Ok(Secret::new(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_read_names_and_both_kinds_of_addresses() {
        let of = |t: &str| host(t).ok().map(|h| (h.name, h.port));
        assert_eq!(of("Mail.Example.com"), Some(("mail.example.com".into(), None)));
        assert_eq!(of("mail.example.com.:587"), Some(("mail.example.com".into(), Some(587))));
        assert_eq!(of("192.0.2.1:25"), Some(("192.0.2.1".into(), Some(25))));
        assert_eq!(of("2001:db8::1"), Some(("2001:db8::1".into(), None)));
        assert_eq!(of("[2001:db8::1]:25"), Some(("2001:db8::1".into(), Some(25))));
        let imap = host("imaps://Mail.example.com").ok().map(|h| (h.protocol, h.name, h.port));
        assert_eq!(imap, Some((Protocol::Imap, "mail.example.com".into(), None)));
        for bad in
            ["", ":25", "a:0", "a:70000", "a:b:c", "[::1", "[x]:1", "a b", "-a", "300.1.1.1", "smtp://a"]
        {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
