//! What two settings must agree on, and what is allowed but worth a word.
//! Looks at settings only: names are not resolved, files not opened.
//! Proof: `tests/bad/` for faults, `tests/notices.rs` for the words.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use vouchsafe_core::Endpoint;

use crate::report::nearest;
use crate::section::Findings;
use crate::settings::*;
use crate::units::show_time;
use crate::{any_domain, keeping};

pub(crate) fn cross(settings: &Settings, findings: &Findings) {
    if !settings.hostname.contains('.') {
        let what = format!("{} is not a full name: other servers may refuse our EHLO", settings.hostname);
        findings.notice(&findings.at("hostname", ""), what);
    }
    listeners(settings, findings);
    domains(settings, findings);
    sources(settings, findings);
    any_domain::check(settings, findings);
    trials(settings, findings);
    next_hops(settings, findings);
    loops(settings, findings);
    open_relay(settings, findings);
    trusted(settings, findings);
    send_as(settings, findings);
    delegates(settings, findings);
    mechanisms(settings, findings);
    queue(settings, findings);
    downloads(settings, findings);
    keeping::check(&settings.attachments, findings);
    excluded(settings, findings);
    dkim(settings, findings);
    seal(settings, findings);
}

/// What a seal wants.
fn seal(s: &Settings, f: &Findings) {
    if !s.authentication.seal {
        return;
    }
    for (lacks, why) in [
        (!s.authentication.verify, "authentication.verify is off, so that there is nothing to tell"),
        (s.dkim.is_empty() && !f.reported("dkim"), "there is no [[dkim]] key"),
        (s.attachments.inbound == Inbound::Off, "attachments.inbound is off, so that nothing is altered"),
    ] {
        if lacks {
            f.notice(&f.at("authentication.seal", ""), format!("has no effect: {why}"));
        }
    }
}

/// One record in DNS holds one key.
fn dkim(s: &Settings, f: &Findings) {
    for (at, key) in s.dkim.iter().enumerate() {
        let same = |other: &DkimKey| {
            other.domain == key.domain && other.selector.eq_ignore_ascii_case(&key.selector)
        };
        if s.dkim[..at].iter().any(same) {
            let what = format!("{}._domainkey.{} is taken twice", key.selector, key.domain);
            f.fault(
                &f.at(&format!("dkim[#{}].selector", at + 1), ""),
                what,
                "give each key of a domain its own selector",
            );
        }
    }
}

/// A link must lead somewhere, and only we may say who a client is.
fn downloads(s: &Settings, f: &Findings) {
    match (&s.attachments.public_url, s.web.downloads.is_empty()) {
        (Some(_), true) if !f.reported("web.downloads") => f.fault(
            &f.at("web.public_url", ""),
            "leads nowhere: the download pages are off",
            r#"add web.downloads, such as downloads = "0.0.0.0:8443""#,
        ),
        (None, false) if !f.reported("web.public_url") => {
            f.notice(&f.at("web.downloads", ""), "no link leads there: web.public_url is not given");
        }
        (Some(url), _) if url.starts_with("http://") => {
            f.notice(&f.at("web.public_url", ""), "files and passwords may cross the network in clear text");
        }
        _ => {}
    }
    for address in &s.web.downloads {
        if s.web.addresses.iter().any(|other| collide(*address, *other)) {
            let what = "is taken already by web.address";
            let advice = "download pages have a port of their own: strangers reach it";
            f.fault(&f.at("web.downloads", format!("\"{address}\"")), what, advice);
        }
    }
}

/// Mail to a domain of ours is never outbound.
fn excluded(s: &Settings, f: &Findings) {
    let names = s.attachments.outbound_exclude.names();
    let at = f.at("attachments.outbound_exclude", "");
    if !names.is_empty() && !s.attachments.outbound {
        f.notice(&at, "has no effect: outbound is false");
    }
    for name in names.iter().filter(|name| s.domain(name).is_some()) {
        f.notice(
            &at,
            format!(r#"{name} is yours: files = "off" in its [[domain]] block keeps its files whole"#),
        );
    }
}

fn listeners(s: &Settings, f: &Findings) {
    if s.listeners.is_empty() && !f.reported("listener") {
        let advice = r#"add a [[listener]] with name = "mx", kind = "mx", address = "0.0.0.0:25""#;
        f.fault(&f.at("listener", ""), "is missing: nothing would be served", advice);
    }
    for (at, listener) in s.listeners.iter().enumerate() {
        let label = format!("listener[{}]", listener.name);
        let before = &s.listeners[..at];
        if before.iter().any(|l| l.name == listener.name && !l.name.is_empty()) {
            f.fault(&f.at(&format!("{label}.name"), ""), "is taken twice", "give each listener its own name");
        }
        let mut taken: Vec<(&str, SocketAddr)> =
            before.iter().flat_map(|l| l.addresses.iter().map(|a| (l.name.as_str(), *a))).collect();
        for address in &listener.addresses {
            if let Some((other, _)) = taken.iter().find(|(_, a)| collide(*a, *address)) {
                f.fault(
                    &f.at(&format!("{label}.address"), format!("\"{address}\"")),
                    format!("is taken already by listener {other}"),
                    "give each address and port once",
                );
            }
            taken.push((&listener.name, *address));
        }
        auth(listener, &label, f);
        proxies(listener, &label, f);
    }
}

/// Whoever is in `proxies` can say that it is anyone, trusted networks included.
fn proxies(l: &Listener, label: &str, f: &Findings) {
    let key = format!("{label}.proxies");
    let public = |net: &IpNet| !is_private(net) && !net.addr().is_loopback();
    for network in l.proxies.iter().filter(|net| public(net) && net.prefix_len() < 16) {
        let what = format!("{network} holds strangers: any of them could pass for a trusted client");
        f.notice(&f.at(&key, ""), what);
    }
    if l.proxies.is_empty() && l.proxy_protocol != ProxyProtocol::Auto {
        f.notice(&f.at(&format!("{label}.proxy_protocol"), ""), "has no effect: proxies is empty");
    }
}

fn auth(l: &Listener, label: &str, f: &Findings) {
    let outside = l.addresses.iter().any(|a| !a.ip().to_canonical().is_loopback());
    match (l.auth_without_tls, l.tls, l.kind) {
        (AuthWithoutTls::Always, ..) if outside => f.notice(
            &f.at(&format!("{label}.auth_without_tls"), ""),
            "passwords may cross the network in clear text",
        ),
        (AuthWithoutTls::Loopback | AuthWithoutTls::Never, ListenerTls::Off, ListenerKind::Submission)
            if outside =>
        {
            f.notice(
                &f.at(&format!("{label}.tls"), ""),
                "without TLS nobody but this machine can log in here",
            );
        }
        _ => {}
    }
}

/// The same port, and addresses that are the same or of which one is all of its family. Port 0 never collides.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let all = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (all || a.ip() == b.ip())
}

fn domains(s: &Settings, f: &Findings) {
    for (at, domain) in s.domains.iter().enumerate() {
        let label = format!("domain[{}]", domain.name);
        if s.domains[..at].iter().any(|d| d.name == domain.name) {
            f.fault(&f.at(&format!("{label}.name"), ""), "is taken twice", "merge the two blocks");
        }
        if domain.recipients.contains(&RecipientSource::Any) {
            f.notice(
                &f.at(&format!("{label}.recipients"), ""),
                "every recipient is taken; what the next hop then refuses cannot be returned to strangers",
            );
        }
    }
    if s.domains.is_empty() && s.listeners.iter().any(|l| l.kind == ListenerKind::Mx) {
        f.notice(&f.at("domain", ""), "no accepted domain: mx listeners refuse every recipient");
    }
}

fn sources(s: &Settings, f: &Findings) {
    let mut used = Vec::new();
    for domain in &s.domains {
        for source in &domain.recipients {
            if let RecipientSource::Delegate(name) = source {
                known(s, f, &format!("domain[{}].recipients", domain.name), name);
                used.push(name);
            }
        }
    }
    others_decide(s, f);
    for (_, source) in &s.relay.logins.0 {
        if let LoginSource::Delegate(name) = source {
            known(s, f, "relay.logins", name);
            used.push(name);
        }
    }
    let mut domains: Vec<_> = s.relay.logins.0.iter().map(|(d, _)| d).collect();
    domains.sort();
    if domains.windows(2).any(|w| w[0] == w[1]) {
        f.fault(&f.at("relay.logins", ""), "names a login domain twice", "exactly one source answers for it");
    }
    // What a trial of nothing is worth is told with the trial.
    for d in s.delegates.values().filter(|d| d.trial == Trial::Off && !used.contains(&&d.name)) {
        f.notice(&f.at(&format!("delegate.{}", d.name), ""), "no domain and no login asks this delegate");
    }
}

/// `catch_all = "local"` leaves it to the domain's other sources: there must be some.
fn others_decide(s: &Settings, f: &Findings) {
    for domain in &s.domains {
        let [RecipientSource::Delegate(name)] = &domain.recipients[..] else { continue };
        if s.delegates.get(name).is_some_and(|d| d.catch_all == CatchAll::Local) {
            f.fault(
                &f.at(&format!("delegate.{name}.catch_all"), "\"local\""),
                format!("leaves nobody to know the recipients of {}", domain.name),
                format!(r#"give the domain another source: recipients = ["delegate:{name}", "local"]"#),
            );
        }
    }
}

/// A delegate on trial: who decides instead, and what follows from that.
fn trials(s: &Settings, f: &Findings) {
    let asks = |domain: &&AcceptedDomain, name: &str| {
        domain.recipients.iter().any(|r| matches!(r, RecipientSource::Delegate(d) if d == name))
    };
    let by_logins = s.delegates.values().filter(|d| d.trial == Trial::Logins).collect::<Vec<_>>();
    for d in s.delegates.values() {
        let key = format!("delegate.{}.trial", d.name);
        let domains: Vec<&AcceptedDomain> = s.domains.iter().filter(|domain| asks(domain, &d.name)).collect();
        match d.trial {
            Trial::Off => {}
            Trial::Recipients if domains.iter().any(|domain| domain.is_any()) => f.fault(
                &f.at(&key, "\"recipients\""),
                "would take mail for every domain there is: an open relay",
                "name each domain on trial in a [[domain]] of its own, and remove \"*\"",
            ),
            Trial::Recipients if domains.is_empty() => {
                f.notice(&f.at(&key, ""), "no domain asks this delegate: there is nothing to try");
            }
            Trial::Recipients => {
                let names: Vec<&str> = domains.iter().map(|domain| domain.name.as_str()).collect();
                f.notice(
                    &f.at(&key, ""),
                    format!(
                        "on trial: every recipient of {} is taken; `vouchsafe trial` tells what would have been refused",
                        names.join(", ")
                    ),
                );
            }
            Trial::Logins if s.relay.logins.0.iter().any(|(_, of)| *of == LoginSource::Delegate(d.name.clone())) => {
                f.fault(
                    &f.at(&key, "\"logins\""),
                    "is on trial and decides at once: relay.logins names this delegate",
                    "let another source decide, such as relay.logins = \"local\"",
                );
            }
            Trial::Logins if by_logins.len() > 1 => f.fault(
                &f.at(&key, "\"logins\""),
                "is on trial beside another delegate: every password would be shown to both",
                "try one delegate at a time",
            ),
            Trial::Logins => f.notice(
                &f.at(&key, ""),
                "on trial: it is shown every login beside the source that decides; `vouchsafe trial` tells where they differ",
            ),
        }
    }
}

fn known(s: &Settings, f: &Findings, key: &str, name: &str) {
    if s.delegates.contains_key(name) {
        return;
    }
    let advice = match nearest(name, s.delegates.keys().map(String::as_str)) {
        Some(near) => format!("did you mean \"delegate:{near}\"?"),
        None => format!("add [delegate.{name}] with host = \"HOST\""),
    };
    f.fault(&f.at(key, format!("\"delegate:{name}\"")), "names a delegate that is not there", advice);
}

fn next_hops(s: &Settings, f: &Findings) {
    if !s.relay.next_hop.is_empty() || f.reported("relay.next_hop") {
        return;
    }
    let takes = |kind: ListenerKind| s.listeners.iter().find(|l| l.kind == kind);
    let by_delegate = s.relay.logins.0.iter().any(|(_, source)| matches!(source, LoginSource::Delegate(_)));
    let at = f.at("relay.next_hop", "");
    let advice = r#"add next_hop = "HOST:PORT": your spam filter or smart host"#;
    let who = match (takes(ListenerKind::Submission), takes(ListenerKind::Trusted)) {
        _ if s.relay.open_relay => "an open relay takes mail for anywhere".to_owned(),
        (Some(l), _) if by_delegate => format!("listener {} takes mail for anywhere", l.name),
        (_, Some(l)) if !s.relay.trusted_networks.is_empty() => {
            format!("listener {} takes mail for anywhere", l.name)
        }
        (Some(_), _) => {
            return f.notice(&at, "is missing: mail of local users waits in the queue until there is one");
        }
        _ => return,
    };
    f.fault(&at, format!("is missing: {who}"), advice);
}

/// A delegate or next hop that is ourselves: a loop at the first message.
fn loops(s: &Settings, f: &Findings) {
    let mut places: Vec<(String, &[Endpoint])> = Vec::new();
    for d in s.delegates.values() {
        places.push((format!("delegate.{}.auth", d.name), &d.auth));
        places.push((format!("delegate.{}.recipients", d.name), &d.recipients));
    }
    for d in &s.domains {
        places.push((format!("domain[{}].next_hop", d.name), &d.next_hop));
    }
    places.push(("relay.next_hop".to_owned(), &s.relay.next_hop));
    for (key, endpoints) in places {
        for endpoint in endpoints {
            if let Some(listener) = own_listener(s, endpoint) {
                f.fault(
                    &f.at(&key, format!("\"{endpoint}\"")),
                    format!("is our own listener {listener}: mail would run in a circle"),
                    "give the other server's address",
                );
            }
        }
    }
}

fn own_listener<'a>(s: &'a Settings, endpoint: &Endpoint) -> Option<&'a str> {
    let loopback = endpoint.host == "localhost";
    let ourselves = endpoint.host.eq_ignore_ascii_case(&s.hostname) || loopback;
    let address = endpoint.host.parse::<IpAddr>().ok().map(|a| a.to_canonical());
    let hits = |a: &SocketAddr| {
        let ip = a.ip().to_canonical();
        let all = ip.is_unspecified();
        a.port() == endpoint.port
            && match address {
                Some(address) => ip == address || (all && address.is_loopback()),
                None if loopback => all || ip.is_loopback(),
                None => ourselves && !ip.is_loopback(),
            }
    };
    s.listeners.iter().find(|l| l.addresses.iter().any(hits)).map(|l| l.name.as_str())
}

fn open_relay(s: &Settings, f: &Findings) {
    if !s.relay.open_relay {
        return;
    }
    let outside = |l: &&Listener| l.addresses.iter().any(|a| !a.ip().to_canonical().is_loopback());
    match s.listeners.iter().find(outside) {
        Some(listener) if !f.open_relay_understood.get() => f.fault(
            &f.at("relay.open_relay", "true"),
            format!("anyone who reaches listener {} could send mail to anywhere", listener.name),
            "bind every listener to loopback, or set open_relay_i_understand = true",
        ),
        Some(_) => f.notice(
            &f.at("relay.open_relay", ""),
            "THIS IS AN OPEN RELAY: anyone who reaches it can send mail to anywhere",
        ),
        None => {
            f.notice(&f.at("relay.open_relay", ""), "open relay for every program on this machine");
        }
    }
}

/// Networks that container engines give their bridges; what comes from there is often the whole Internet behind NAT.
const BRIDGES: [&str; 4] = ["172.17.0.0/16", "172.18.0.0/16", "10.88.0.0/16", "10.0.2.0/24"];

fn trusted(s: &Settings, f: &Findings) {
    let at = |net: &IpNet| f.at("relay.trusted_networks", format!("\"{net}\""));
    for net in &s.relay.trusted_networks {
        let bridge = BRIDGES.iter().any(|b| {
            let b: IpNet = b.parse().expect("the list above holds networks");
            net.contains(&b) || b.contains(net)
        });
        if net.prefix_len() == 0 {
            f.fault(
                &at(net),
                "trusts the whole Internet: an open relay",
                "name the networks of your own machines",
            );
        } else if bridge {
            f.notice(
                &at(net),
                format!(
                    "{net} holds a container bridge: if that forwards port 25, everyone outside looks trusted"
                ),
            );
        } else if is_private(net) && net.prefix_len() < net.max_prefix_len() {
            f.notice(
                &at(net),
                format!(
                    "{net} may hold a router: if it forwards port 25 with NAT, everyone outside looks trusted"
                ),
            );
        } else if !is_private(net) && !net.addr().is_loopback() && net.prefix_len() < 16 {
            f.notice(&at(net), format!("{net} is a large public network: is all of it yours?"));
        }
    }
    let listeners = s.listeners.iter().filter(|l| l.kind == ListenerKind::Trusted).count();
    match (listeners, s.relay.trusted_networks.is_empty()) {
        (0, false) => f.notice(
            &f.at("relay.trusted_networks", ""),
            "no listener is of kind trusted: the setting has no effect",
        ),
        (1.., true) => {
            f.notice(&f.at("relay.trusted_networks", ""), "is empty: trusted listeners refuse everyone")
        }
        _ => {}
    }
}

fn is_private(net: &IpNet) -> bool {
    match net.network() {
        IpAddr::V4(a) => a.is_private() || a.is_link_local(),
        IpAddr::V6(a) => a.is_unique_local() || a.is_unicast_link_local(),
    }
}

/// Exchange waits 5 s before it refuses; a deadline below it would turn each refusal into "try later".
const TARPIT: Duration = Duration::from_secs(6);

fn delegates(s: &Settings, f: &Findings) {
    for d in s.delegates.values() {
        let label = format!("delegate.{}", d.name);
        if d.deadline < TARPIT {
            let shown = show_time(d.deadline);
            f.notice(
                &f.at(&format!("{label}.deadline"), ""),
                format!("{shown} is below the tarpit of Exchange (5s): refusals would become \"try later\""),
            );
        }
        if d.verdicts.refresh > d.verdicts.yes {
            f.fault(
                &f.at(&format!("{label}.verdicts.refresh"), format!("\"{}\"", show_time(d.verdicts.refresh))),
                format!("is longer than yes ({}): it would never be refreshed", show_time(d.verdicts.yes)),
                "make refresh shorter than yes",
            );
        }
    }
}

/// A challenge is asked for before it is known who logs in, and the name stands inside a response that we cannot change.
fn mechanisms(s: &Settings, f: &Findings) {
    for d in s.delegates.values() {
        let Some(challenge) = d.mechanisms.iter().find(|mechanism| mechanism.is_challenge()) else {
            continue;
        };
        let at = f.at(&format!("delegate.{}.mechanisms", d.name), format!("\"{challenge}\""));
        let itself = LoginSource::Delegate(d.name.clone());
        if d.login_name != LoginName::AsIs {
            f.fault(
                &at,
                "the client's response holds the login name, so that it cannot be mapped",
                "remove it, or set login_name = \"as-is\"",
            );
        } else if s.relay.logins.only() != Some(&itself) && s.relay.logins.sources().contains(&&itself) {
            f.fault(
                &at,
                "must be begun before it is known who logs in, but relay.logins has several sources",
                format!("remove it, or set relay.logins = \"delegate:{}\"", d.name),
            );
        }
    }
}

fn send_as(s: &Settings, f: &Findings) {
    if s.relay.send_as_from && s.relay.send_as == SendAs::Off {
        f.notice(&f.at("relay.send_as_from", ""), "has no effect: send_as is off");
    }
}

fn queue(s: &Settings, f: &Findings) {
    let q = &s.queue;
    if q.retry.is_empty() {
        f.fault(&f.at("queue.retry", "[]"), "is an empty list", r#"give at least one time, such as ["15m"]"#);
    }
    if let Some(short) = q.retry.iter().find(|t| **t < Duration::from_secs(1)) {
        let value = format!("\"{}\"", show_time(*short));
        f.fault(&f.at("queue.retry", value), "is too short", "wait at least \"1s\" between attempts");
    }
    if let Some(long) = q.retry.iter().find(|t| **t >= q.expire) {
        f.notice(
            &f.at("queue.retry", ""),
            format!("a wait of {} is never reached: expire is {}", show_time(*long), show_time(q.expire)),
        );
    }
    if q.warn_after.is_some_and(|w| w >= q.expire) {
        f.notice(&f.at("queue.warn_after", ""), "is not before expire: no delay is ever told");
    }
    if q.bounce_strangers == BounceStrangers::Always {
        f.notice(&f.at("queue.bounce_strangers", ""), "makes backscatter: forged senders get your bounces");
    }
    if q.soft_bounce {
        f.notice(
            &f.at("queue.soft_bounce", ""),
            "refused mail is held, not returned; switch it off once all works",
        );
    }
    let l = &s.limits;
    // RFC 5321 §4.5.3.1.8
    if l.session.recipients < 100 {
        f.notice(&f.at("limits.recipients", ""), "is below the 100 that RFC 5321 asks for");
    }
    let parts = [
        ("limits.sessions_per_address", l.sessions_per_address, l.sessions),
        ("limits.deliveries_per_destination", l.deliveries_per_destination, l.deliveries),
    ];
    for (key, part, whole) in parts {
        if part > whole {
            f.notice(&f.at(key, ""), format!("{part} is never reached: {whole} is the limit in all"));
        }
    }
}
