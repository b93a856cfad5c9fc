//! From the file's tree to typed settings, section by section, in the order of the example file.
//! Single values are judged here; what two settings must agree on is in [`crate::check`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use vouchsafe_core::attachments::Access;
use vouchsafe_core::detach::{self, Domains, Pattern};
use vouchsafe_core::guard::{Budget, Budgets};
use vouchsafe_core::send_as::Aliases;
use vouchsafe_core::stub::Language;
use vouchsafe_core::{Endpoint, Protocol, TlsMode};
use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::sasl::Mechanism;
use vouchsafe_smtp::{Mailbox, ReversePath};

use crate::endpoint::{self, Role};
use crate::section::{At, Bad, Findings, Section, each, gather, list, text};
use crate::settings::*;
use crate::tree::{Node, Table, Value};
use crate::{Lookup, any_domain, check, keeping};

/// Reads everything; faults are in `findings`.
pub(crate) fn settings(root: &Table, findings: &Findings, lookup: &dyn Lookup) -> Settings {
    let top = Section::root(findings, root);
    let hostname = top.value("hostname", |n| text(n).and_then(endpoint::host_name));
    let data_dir = top.text("data_dir").map(PathBuf::from).unwrap_or_default();
    let log = log(&top);
    let listeners = blocks(&top, "listener").iter().map(listener).collect();
    let tls = certificate(&top);
    let delegates = delegates(&top, lookup);
    let only = match delegates.len() {
        1 => delegates.keys().next().cloned(),
        _ => None,
    };
    let guard = guard(&top);
    let domains = blocks(&top, "domain").iter().filter_map(|s| domain(s, only.as_deref(), lookup)).collect();
    let relay = relay(&top, only, lookup);
    let (web, public_url) = web(&top);
    let mut settings = Settings {
        hostname: hostname.unwrap_or_else(|| own_name(lookup)),
        data_dir,
        log,
        listeners,
        tls,
        delegates,
        guard,
        domains,
        relay,
        queue: queue(&top),
        limits: limits(&top),
        web,
        attachments: attachments(&top, public_url, lookup),
        authentication: authentication(&top),
        dkim: blocks(&top, "dkim").iter().filter_map(dkim_key).collect(),
    };
    top.finish();
    check::cross(&settings, findings);
    any_domain::hand_over(&mut settings);
    settings
}

/// The machine's name, where it is a host name at all.
fn own_name(lookup: &dyn Lookup) -> String {
    let name = lookup.hostname().and_then(|n| endpoint::host_name(&n).ok());
    name.unwrap_or_else(|| "localhost.localdomain".to_owned())
}

/// The blocks of `[[key]]`, labelled with their names.
fn blocks<'a>(top: &Section<'a>, key: &str) -> Vec<Section<'a>> {
    let Some(node) = top.take(key) else { return Vec::new() };
    let tables = match &node.value {
        Value::Array(list) => list.as_slice(),
        _ => &[],
    };
    let good = |n: &Node| matches!(n.value, Value::Table(_));
    if tables.is_empty() || !tables.iter().all(good) {
        let at = At { line: Some(node.line), key: key.to_owned(), value: String::new() };
        top.findings.fault(&at, "is not a block", format!("write it as [[{key}]], with two brackets"));
        return Vec::new();
    }
    let sections = tables.iter().enumerate().filter_map(|(at, node)| {
        let Value::Table(table) = &node.value else { return None };
        let name = match table.get("name") {
            Some(Node { value: Value::Text(name), .. }) => name.clone(),
            _ => format!("#{}", at + 1),
        };
        let label = format!("{key}[{name}]");
        top.findings.remember(&label, node.line);
        Some(Section::new(top.findings, table, key, &label, &format!("[[{key}]]")))
    });
    sections.collect()
}

fn log(top: &Section<'_>) -> Log {
    let s = top.below("log", None);
    let format = s.chosen("format", &[("plain", LogFormat::Plain), ("json", LogFormat::Json)]);
    let levels = ["error", "warn", "info", "debug", "trace"].map(|l| (l, l));
    let level = s.chosen("level", &levels).to_owned();
    s.finish();
    Log { format, level }
}

fn listener(s: &Section<'_>) -> Listener {
    let name = s.text("name").unwrap_or_default();
    let kinds = [
        ("mx", ListenerKind::Mx),
        ("submission", ListenerKind::Submission),
        ("trusted", ListenerKind::Trusted),
    ];
    let kind = s.choice("kind", &kinds).unwrap_or(ListenerKind::Mx);
    s.set_kind(kind);
    let tls =
        [("off", ListenerTls::Off), ("starttls", ListenerTls::StartTls), ("implicit", ListenerTls::Implicit)];
    let bare = [("reject", BareNewline::Reject), ("normalize", BareNewline::Normalize)];
    let client = [("full", ReceivedClient::Full), ("omit", ReceivedClient::Omit)];
    let auth = [
        ("never", AuthWithoutTls::Never),
        ("loopback", AuthWithoutTls::Loopback),
        ("always", AuthWithoutTls::Always),
    ];
    let header =
        [("auto", ProxyProtocol::Auto), ("required", ProxyProtocol::Required), ("off", ProxyProtocol::Off)];
    let listener = Listener {
        name,
        kind,
        addresses: s.value("address", addresses).unwrap_or_default(),
        tls: s.chosen("tls", &tls),
        message_size: s.size_or_none("message_size"),
        bare_newline: s.chosen("bare_newline", &bare),
        bare_newline_exclude: s.value("bare_newline_exclude", networks).unwrap_or_default(),
        received_client: s.chosen("received_client", &client),
        greet_wait: s.time("greet_wait"),
        auth_without_tls: s.chosen("auth_without_tls", &auth),
        proxies: s.value("proxies", networks).unwrap_or_default(),
        proxy_protocol: s.chosen("proxy_protocol", &header),
    };
    s.finish();
    listener
}

/// With where its download pages are reached.
fn web(top: &Section<'_>) -> (Web, Option<String>) {
    let s = top.below("web", Some("[web]"));
    let off_or = |n: &Node| match &n.value {
        Value::Text(t) if t == "off" => Ok(Vec::new()),
        _ => addresses(n),
    };
    let web = Web {
        addresses: s.value("address", off_or).unwrap_or_default(),
        idle: s.time("idle"),
        downloads: s.value("downloads", off_or).unwrap_or_default(),
        downloads_tls: s.chosen("downloads_tls", &[("auto", None), ("on", Some(true)), ("off", Some(false))]),
        proxies: s.value("proxies", networks).unwrap_or_default(),
    };
    let public_url = s.value("public_url", origin);
    s.finish();
    (web, public_url)
}

/// Scheme, host, port; no path, so that the pages are the only ones of their origin.
fn origin(node: &Node) -> Result<String, Bad> {
    let url = text(node)?;
    let authority = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = authority.ok_or_else(|| Bad::new("does not begin with https://"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
    if authority.is_empty() || !authority.chars().all(fits) {
        return Err(Bad::new("is more than a host name and port"));
    }
    Ok(url.trim_end_matches('/').to_ascii_lowercase())
}

fn addresses(node: &Node) -> Result<Vec<SocketAddr>, Bad> {
    if list(node).is_empty() {
        return Err(Bad::new("is an empty list"));
    }
    let one = |n: &Node| {
        let written = text(n)?;
        written.parse().map_err(|_| match written.split_once(':') {
            Some(("localhost", port)) => {
                Bad::new("is not an address").advise(format!("write \"127.0.0.1:{port}\""))
            }
            Some(("" | "*", port)) => {
                Bad::new("is not an address").advise(format!("write [\"0.0.0.0:{port}\", \"[::]:{port}\"]"))
            }
            _ => Bad::new("is not an address and port"),
        })
    };
    each(node, one)
}

/// Networks; a single address stands for itself.
fn networks(node: &Node) -> Result<Vec<IpNet>, Bad> {
    let one = |n: &Node| {
        let written = text(n)?;
        let net = match written.parse::<IpNet>() {
            Ok(net) => net,
            Err(_) => {
                IpNet::from(written.parse::<std::net::IpAddr>().map_err(|_| Bad::new("is not a network"))?)
            }
        };
        if net.addr() != net.network() {
            return Err(
                Bad::new("has bits behind its prefix").advise(format!("did you mean \"{}\"?", net.trunc()))
            );
        }
        Ok(net)
    };
    each(node, one)
}

fn certificate(top: &Section<'_>) -> Option<TlsFiles> {
    let s = top.below("tls", Some("[tls]"));
    let (certificate, key) = (s.text("certificate"), s.text("key"));
    let files = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.into(), key: key.into() }),
        (None, None) => None,
        (Some(_), None) => {
            let at = top.findings.at("tls.key", "");
            top.findings.fault(&at, "is missing", "a certificate needs its key: add key = \"FILE\"");
            None
        }
        (None, Some(_)) => {
            let at = top.findings.at("tls.certificate", "");
            top.findings.fault(&at, "is missing", "a key needs its certificate: add certificate = \"FILE\"");
            None
        }
    };
    s.finish();
    files
}

fn delegates(top: &Section<'_>, lookup: &dyn Lookup) -> BTreeMap<String, Delegate> {
    let mut found = BTreeMap::new();
    let Some(node) = top.take("delegate") else { return found };
    let Value::Table(table) = &node.value else {
        let at = At { line: Some(node.line), key: "delegate".into(), value: String::new() };
        top.findings.fault(&at, "is not a table", "write it as [delegate.NAME], NAME being yours to choose");
        return found;
    };
    for (name, node) in &table.entries {
        let label = format!("delegate.{name}");
        let at = At { line: Some(node.line), key: label.clone(), value: String::new() };
        match &node.value {
            Value::Table(t) if !t.headed_array && name_is_plain(name) => {
                top.findings.remember(&label, node.line);
                let s = Section::new(top.findings, t, "delegate", &label, &format!("[{label}]"));
                found.insert(name.clone(), delegate(&s, name, lookup));
            }
            Value::Table(_) => {
                top.findings.fault(&at, "is no name for a delegate", "use letters, digits, - and _");
            }
            _ => top.findings.fault(
                &at,
                "stands outside a delegate",
                "write [delegate.NAME] above it, NAME being yours to choose",
            ),
        }
    }
    found
}

fn name_is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn delegate(s: &Section<'_>, name: &str, lookup: &dyn Lookup) -> Delegate {
    let tls = s.value("tls", endpoint::tls);
    let clear = s.flag("auth_in_clear");
    let (auth, recipients) = servers(s, tls, clear, lookup);
    let sessions = s.below("sessions", None);
    let verdicts = s.below("verdicts", None);
    let credentials = s.below("credentials", None);
    let delegate = Delegate {
        name: name.to_owned(),
        auth,
        recipients,
        deadline: s.time("deadline"),
        auth_sessions: sessions.count("auth"),
        recipient_sessions: sessions.count("recipients"),
        sessions_per_second: u32::try_from(sessions.count("per_second")).unwrap_or(u32::MAX),
        refusals: sessions.count("refusals"),
        questions: sessions.count("questions"),
        probe_sender: s.value("probe_sender", reverse_path).unwrap_or(ReversePath::Null),
        probe_to: s.chosen("probe_to", &[("rcpt", ProbeTo::Rcpt), ("data", ProbeTo::Data)]),
        login_name: s.value("login_name", login_name).unwrap_or(LoginName::AsIs),
        verdicts: VerdictTimes {
            yes: verdicts.time("yes"),
            refresh: verdicts.time("refresh"),
            no: verdicts.time("no"),
        },
        mechanisms: s.value("mechanisms", mechanisms).unwrap_or_default(),
        xclient: s.flag("xclient"),
        credentials: CredentialTimes { yes: credentials.time("yes"), no: credentials.time("no") },
        accept_252: s.flag("accept_252"),
        catch_all: s.chosen(
            "catch_all",
            &[("accept", CatchAll::Accept), ("local", CatchAll::Local), ("defer", CatchAll::Defer)],
        ),
        trial: s.chosen(
            "trial",
            &[("off", Trial::Off), ("recipients", Trial::Recipients), ("logins", Trial::Logins)],
        ),
        any_domain: None,
    };
    sessions.finish();
    verdicts.finish();
    credentials.finish();
    s.finish();
    delegate
}

/// The two endpoints: each as given, else from `host`, else from the other one.
fn servers(
    s: &Section<'_>,
    tls: Option<TlsMode>,
    clear: bool,
    lookup: &dyn Lookup,
) -> (Vec<Endpoint>, Vec<Endpoint>) {
    let role = |port, auth| Role { port, auth, delegate: true, tls: tls.clone(), clear };
    let (auth_role, recipients_role) = (role(587, true), role(25, false));
    let findings = s.findings;
    let given = |key: &str, role: &Role| {
        s.value(key, |n| Ok(endpoint::endpoints(findings, &s.path(key), n, role, lookup)))
    };
    let auth = given("auth", &auth_role);
    let recipients = given("recipients", &recipients_role);
    let host_given = s.has("host");
    let hosts = s.value("host", endpoint::hosts);
    let (auth_given, recipients_given) = (auth.is_some(), recipients.is_some());
    if !host_given && !auth_given && !recipients_given {
        let at = findings.at(&s.label, "");
        findings.fault(&at, "names no server", r#"add host = "mail.example.com""#);
    }
    if host_given && auth_given && recipients_given {
        let at = findings.at(&s.path("host"), "");
        findings.fault(&at, "is not used", "remove it: auth and recipients name their servers");
    }
    let of_other = |other: &Option<Vec<Endpoint>>| {
        let host =
            |e: &Endpoint| endpoint::Host { protocol: Protocol::Smtp, name: e.host.clone(), port: None };
        other.iter().flatten().map(host).collect::<Vec<_>>()
    };
    let fill = |given: &Option<Vec<Endpoint>>, other: &Option<Vec<Endpoint>>, role: &Role| match given {
        Some(given) => given.clone(),
        None => {
            let node = s.take("host").or_else(|| s.take("auth")).or_else(|| s.take("recipients"));
            let Some(node) = node else { return Vec::new() };
            let hosts = hosts.clone().unwrap_or_else(|| of_other(other));
            endpoint::build_plain(findings, &s.label, node, &hosts, role)
        }
    };
    (fill(&auth, &recipients, &auth_role), fill(&recipients, &auth, &recipients_role))
}

fn reverse_path(node: &Node) -> Result<ReversePath, Bad> {
    match &node.value {
        Value::Text(t) if t == "<>" => Ok(ReversePath::Null),
        _ => {
            let written = text(node)?;
            let inner = written.strip_prefix('<').and_then(|t| t.strip_suffix('>')).unwrap_or(written);
            match Mailbox::parse(inner, false) {
                Ok(mailbox) => Ok(ReversePath::Mailbox(mailbox)),
                Err(_) => Err(Bad::new("is not an address")),
            }
        }
    }
}

fn mechanisms(node: &Node) -> Result<Vec<Mechanism>, Bad> {
    if list(node).is_empty() {
        return Err(Bad::new("is an empty list").advise("nobody could log in"));
    }
    let one = |n: &Node| {
        let name = text(n)?;
        Mechanism::from_name(name).ok_or_else(|| match name.to_ascii_uppercase().as_str() {
            "EXTERNAL" | "GSSAPI" | "GS2-KRB5" => {
                Bad::new("cannot be passed on: it is bound to the client's own connection")
            }
            plus if plus.ends_with("-PLUS") => {
                Bad::new("cannot be passed on: it is bound to the client's own connection")
            }
            _ => Bad::new("is no mechanism that can be passed on"),
        })
    };
    each(node, one)
}

fn login_name(node: &Node) -> Result<LoginName, Bad> {
    match text(node)? {
        "as-is" => Ok(LoginName::AsIs),
        "strip-domain" => Ok(LoginName::StripDomain),
        t if t.contains("{user}") || t.contains("{login}") => Ok(LoginName::Template(t.to_owned())),
        _ => Err(Bad::new("would show the delegate the same name for everyone")),
    }
}

fn guard(top: &Section<'_>) -> Budgets {
    let s = top.below("guard", Some("[guard]"));
    let budget = |key: &str, number: &str| {
        let s = s.below(key, None);
        let failures = u32::try_from(s.count(number)).unwrap_or(u32::MAX);
        let budget = Budget { failures, quiet: s.time("quiet") };
        s.finish();
        budget
    };
    let guard = Budgets {
        account: budget("account", "failures"),
        address: budget("address", "failures"),
        network: budget("network", "failures"),
        unknown_recipients: budget("unknown_recipients", "per_client"),
    };
    s.finish();
    guard
}

fn domain(s: &Section<'_>, only: Option<&str>, lookup: &dyn Lookup) -> Option<AcceptedDomain> {
    let name = s.value("name", |n| match text(n)? {
        AcceptedDomain::ANY => Ok(AcceptedDomain::ANY.to_owned()),
        t if t.contains('@') => Err(Bad::new("is an address").advise("give the part behind the @")),
        t => endpoint::host_name(t),
    });
    let recipients = s.value("recipients", |n| {
        if list(n).is_empty() {
            return Err(Bad::new("is an empty list"));
        }
        each(n, |n| source(n, lookup))
    });
    let recipients = match (recipients, only) {
        (Some(given), _) => given,
        (None, Some(only)) => vec![RecipientSource::Delegate(only.to_owned())],
        (None, None) => {
            if !s.has("recipients") {
                let at = s.findings.at(&s.path("recipients"), "");
                s.findings.fault(&at, "is missing", r#"say who knows them: recipients = ["delegate:NAME"]"#);
            }
            Vec::new()
        }
    };
    let next_hop = next_hop(s, lookup);
    let relay_probe = s.value("relay_probe", |n| each(n, any_domain::probe)).unwrap_or_default();
    let files_whole = s.chosen("files", &[("default", false), ("off", true)]);
    let files_expire = Some(s.time("files_expire")).filter(|time| !time.is_zero());
    let files_sizes = own_sizes(s, ["files_part_over", "files_message_over", "files_hard_limit"]);
    let files_language = s.choice("files_language", &Language::ALL);
    s.finish();
    Some(AcceptedDomain {
        name: name?,
        recipients,
        next_hop,
        relay_probe,
        files_whole,
        files_expire,
        files_sizes,
        files_language,
    })
}

fn next_hop(s: &Section<'_>, lookup: &dyn Lookup) -> Vec<Endpoint> {
    let path = s.path("next_hop");
    let read = |n: &Node| Ok(endpoint::endpoints(s.findings, &path, n, &Role::next_hop(), lookup));
    s.value("next_hop", read).unwrap_or_default()
}

fn source(node: &Node, lookup: &dyn Lookup) -> Result<RecipientSource, Bad> {
    match text(node)? {
        "local" => Ok(RecipientSource::Local),
        "any" => Ok(RecipientSource::Any),
        t => match t.split_once(':') {
            Some(("delegate", name)) if !name.is_empty() => Ok(RecipientSource::Delegate(name.to_owned())),
            Some(("list", file)) if !file.is_empty() => {
                let path = PathBuf::from(file);
                lookup.file(&path).map_err(|why| {
                    Bad::new(format!("{file} cannot be read: {why}"))
                        .advise("create it, with one address a line")
                })?;
                Ok(RecipientSource::List(path))
            }
            _ => Err(Bad::new("is no source of recipients")),
        },
    }
}

fn relay(top: &Section<'_>, only: Option<String>, lookup: &dyn Lookup) -> Relay {
    let s = top.below("relay", Some("[relay]"));
    let fallback = only.map_or(LoginSource::Local, LoginSource::Delegate);
    let logins = s.value("logins", logins);
    let open_relay = s.flag("open_relay");
    let understood = s.flag("open_relay_i_understand");
    let relay = Relay {
        logins: logins.unwrap_or_else(|| Logins(vec![("*".to_owned(), fallback)])),
        next_hop: next_hop(&s, lookup),
        trusted_networks: s.value("trusted_networks", networks).unwrap_or_default(),
        open_relay,
        send_as: s
            .chosen("send_as", &[("off", SendAs::Off), ("warn", SendAs::Warn), ("enforce", SendAs::Enforce)]),
        send_as_from: s.flag("send_as_from"),
        aliases: s.value("aliases", |n| aliases(n, lookup)),
    };
    s.findings.open_relay_understood.set(understood);
    s.finish();
    relay
}

fn aliases(node: &Node, lookup: &dyn Lookup) -> Result<PathBuf, Bad> {
    let path = PathBuf::from(text(node)?);
    let held = lookup.file(&path).map_err(|why| {
        Bad::new(format!("{} cannot be read: {why}", path.display()))
            .advise("create it, with a line such as: info@example.com: alice, bob")
    })?;
    match Aliases::parse(&held) {
        Ok(_) => Ok(path),
        Err(bad) => Err(Bad::new(format!("line {} of it {}", bad.line, bad.what))
            .advise("write: info@example.com: alice, bob")),
    }
}

fn logins(node: &Node) -> Result<Logins, Bad> {
    let one = |n: &Node| match text(n)? {
        "local" => Ok(LoginSource::Local),
        t => match t.split_once(':') {
            Some(("delegate", name)) if !name.is_empty() => Ok(LoginSource::Delegate(name.to_owned())),
            _ => Err(Bad::new("is no source of logins")),
        },
    };
    match &node.value {
        Value::Table(t) if t.entries.is_empty() => Err(Bad::new("is empty")),
        Value::Table(t) => {
            let entry = |(domain, n): &(String, Node)| {
                let domain = match domain.as_str() {
                    "*" => "*".to_owned(),
                    name => endpoint::host_name(name)?,
                };
                Ok((domain, one(n)?))
            };
            gather(t.entries.iter().map(|e| entry(e).map_err(|b: Bad| b.on(&e.1)))).map(Logins)
        }
        Value::Array(_) => Err(Bad::new("is a list").advise("exactly one source answers for a login domain")),
        _ => Ok(Logins(vec![("*".to_owned(), one(node)?)])),
    }
}

fn queue(top: &Section<'_>) -> Queue {
    let s = top.below("queue", Some("[queue]"));
    let strangers = [
        ("never", BounceStrangers::Never),
        ("verified", BounceStrangers::Verified),
        ("always", BounceStrangers::Always),
    ];
    let queue = Queue {
        retry: s.times("retry"),
        warn_after: s.time_or_never("warn_after"),
        expire: s.time("expire"),
        bounce_strangers: s.chosen("bounce_strangers", &strangers),
        soft_bounce: s.flag("soft_bounce"),
    };
    s.finish();
    queue
}

fn attachments(top: &Section<'_>, public_url: Option<String>, lookup: &dyn Lookup) -> Attachments {
    if let Some(Node { value: Value::Table(table), line }) = top.take("attachments")
        && !table.entries.is_empty()
        && public_url.is_none()
    {
        let at = At { line: Some(*line), key: "attachments".into(), value: String::new() };
        top.findings
            .notice(&at, "has no effect: web.public_url is not given, so every message is passed whole");
    }
    let s = top.below("attachments", Some("[attachments]"));
    let pattern = |n: &Node| Pattern::parse(text(n)?).ok_or_else(|| Bad::new("is empty"));
    let patterns = |key: &str| s.value(key, |n| each(n, pattern)).unwrap_or_default();
    let attachments = Attachments {
        sizes: Sizes {
            moved: detach::Limits { part_over: s.limit("part_over"), message_over: s.limit("message_over") },
            hard_limit: s.limit("hard_limit"),
        },
        sizes_internal: own_sizes(&s, ["part_over_internal", "message_over_internal", "hard_limit_internal"]),
        sizes_inbound: own_sizes(&s, ["part_over_inbound", "message_over_inbound", "hard_limit_inbound"]),
        include: patterns("include"),
        exclude: patterns("exclude"),
        outbound: s.flag("outbound"),
        outbound_exclude: Domains::new(s.value("outbound_exclude", |n| each(n, foreign)).unwrap_or_default()),
        internal: s.flag("internal"),
        inbound: s.chosen(
            "inbound",
            &[("off", Inbound::Off), ("scanned", Inbound::Scanned), ("unscanned", Inbound::Unscanned)],
        ),
        per_recipient: s.chosen("links", &[("per_recipient", true), ("per_message", false)]),
        expire: s.time("expire"),
        grace: s.time("grace"),
        downloads: u32::try_from(s.count("downloads")).ok().filter(|cap| *cap > 0),
        access: s.chosen("access", &[("link", Access::Link), ("code", Access::Code)]),
        language: s.chosen("language", &Language::ALL),
        manifest: s.flag("manifest"),
        clamd: s.value("clamd", keeping::scanner).flatten(),
        clamd_size: s.size("clamd_size"),
        unscanned: s.chosen("unscanned", &keeping::UNSCANNED),
        keeping: keeping::keeping(&s, lookup),
        expire_internal: Some(s.time("expire_internal")).filter(|time| !time.is_zero()),
        expire_inbound: Some(s.time("expire_inbound")).filter(|time| !time.is_zero()),
        reminder: s.time("reminder"),
        receipts: s.flag("receipts"),
        user_quota: s.size_or_none("user_quota"),
        domain_quota: s.size_or_none("domain_quota"),
        public_url,
    };
    s.finish();
    attachments
}

/// The keys in the order of the fields.
fn own_sizes(s: &Section<'_>, [part_over, message_over, hard_limit]: [&str; 3]) -> OwnSizes {
    OwnSizes {
        part_over: s.own_limit(part_over),
        message_over: s.own_limit(message_over),
        hard_limit: s.own_limit(hard_limit),
    }
}

/// A domain of others, or with a dot in front all below it.
fn foreign(node: &Node) -> Result<String, Bad> {
    let text = text(node)?;
    let (dot, name) = match text.strip_prefix('.') {
        Some(name) => (".", name),
        None => ("", text),
    };
    match name.split_once('@') {
        Some((_, domain)) => {
            Err(Bad::new("is an address").advise(format!("give the domain alone: {domain:?}")))
        }
        None if name.starts_with("*.") => {
            Err(Bad::new("is no domain").advise(format!("for all below it write {:?}", &name[1..])))
        }
        None => endpoint::host_name(name).map(|name| format!("{dot}{name}")),
    }
}

fn authentication(top: &Section<'_>) -> Authentication {
    let s = top.below("authentication", Some("[authentication]"));
    let servers = |n: &Node| if list(n).is_empty() { Ok(Vec::new()) } else { addresses(n) };
    let authentication = Authentication {
        verify: s.flag("verify"),
        seal: s.flag("seal"),
        name_servers: s.value("name_servers", servers).unwrap_or_default(),
    };
    s.finish();
    authentication
}

fn dkim_key(s: &Section<'_>) -> Option<DkimKey> {
    let domain = s.value("domain", |n| text(n).and_then(endpoint::host_name));
    let selector = s.value("selector", |n| text(n).and_then(endpoint::host_name));
    let key = s.text("key").map(PathBuf::from);
    s.finish();
    Some(DkimKey { domain: domain?.to_ascii_lowercase(), selector: selector?, key: key? })
}

fn limits(top: &Section<'_>) -> Limits {
    let s = top.below("limits", Some("[limits]"));
    let limits = Limits {
        session: vouchsafe_smtp::limits::Limits {
            command_line: s.count("command_line"),
            auth_line: s.count("auth_line"),
            recipients: s.count("recipients"),
            errors: s.count("errors"),
            refused_recipients: s.count("refused_recipients"),
            commands: s.count("commands"),
            auth_failures: s.count("auth_failures"),
            messages: s.count("messages"),
            command_timeout: s.time("command_timeout"),
            data_timeout: s.time("data_timeout"),
            minimum_data_rate: s.size("minimum_data_rate"),
            write_timeout: s.time("write_timeout"),
            session_time: s.time("session_time"),
        },
        sessions: s.count("sessions"),
        sessions_per_address: s.count("sessions_per_address"),
        free_space: s.size("free_space"),
        body_memory: s.size("body_memory"),
        deliveries: s.count("deliveries"),
        deliveries_per_destination: s.count("deliveries_per_destination"),
        received_hops: s.count("received_hops"),
    };
    s.finish();
    limits
}
