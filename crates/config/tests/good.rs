//! What good settings mean: the example file, the flags, the defaults, the ways to write a server.

mod common;

use std::time::Duration;

use common::World;
use vouchsafe_config::{
    AuthWithoutTls, Flags, ListenerKind, ListenerTls, LoginName, LoginSource, ReceivedClient,
    RecipientSource, Settings, Sizes, export, parse, read,
};
use vouchsafe_core::TlsMode;
use vouchsafe_core::detach::{Direction, Limits};
use vouchsafe_smtp::data::BareNewline;

const SMALL: &str = r#"
[[listener]]
name = "mx"
kind = "mx"
address = "127.0.0.1:2525"
"#;

fn good(text: &str) -> Settings {
    match parse(text, &World) {
        Ok((settings, _)) => settings,
        Err(faults) => panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()),
    }
}

fn with_relay(rest: &str) -> Settings {
    good(&format!("{SMALL}\n{rest}"))
}

#[test]
fn the_example_file_is_good() {
    let text = include_str!("../../../vouchsafe.example.toml");
    let (settings, notices) = parse(text, &World).map_err(|f| format!("{f:#?}")).unwrap();
    assert_eq!(settings.hostname, "gw.example.com");
    assert_eq!(settings.listeners.len(), 3);
    assert_eq!(settings.listeners[2].tls, ListenerTls::Implicit);
    assert!(matches!(settings.delegates["office"].auth[0].tls, TlsMode::Pin(_)));
    assert_eq!(settings.domains[0].recipients, [RecipientSource::Delegate("office".into())]);
    let said: Vec<String> = notices.iter().map(|n| n.key.clone()).collect();
    assert_eq!(said, [""; 0]);
    assert_eq!(settings.attachments.public_url.as_deref(), Some("https://files.example.com"));
    assert_eq!(settings.web.downloads, ["0.0.0.0:8443".parse().unwrap()]);
}

#[test]
fn sizes_of_files_follow_the_direction_and_the_domain_the_narrower_first() {
    let s = good(&format!(
        r#"
        {SMALL}
        [[domain]]
        name = "example.com"
        recipients = ["any"]
        next_hop = "a.example"
        files_part_over = "2 MB"
        files_hard_limit = "none"
        [relay]
        next_hop = "n.example"
        [web]
        downloads = "127.0.0.1:8443"
        public_url = "https://files.example"
        [attachments]
        part_over = "none"
        message_over = "30 MB"
        hard_limit = "40 MB"
        part_over_internal = "1 MB"
        message_over_inbound = "none"
        hard_limit_inbound = "50 MB"
        outbound_exclude = ["Partner.example", ".sub.example."]
        "#
    ));
    const NONE: u64 = u64::MAX;
    let mega = 1_000_000;
    let domain = s.domain("example.com");
    let sizes = |direction, domain| {
        let Sizes { moved: Limits { part_over, message_over }, hard_limit } =
            s.attachments.sizes(direction, domain);
        (part_over, message_over, hard_limit)
    };
    assert_eq!(sizes(Direction::Outbound, None), (NONE, 30 * mega, 40 * mega));
    assert_eq!(sizes(Direction::Internal, None), (mega, 30 * mega, 40 * mega));
    assert_eq!(sizes(Direction::Inbound, None), (NONE, NONE, 50 * mega));
    for direction in [Direction::Outbound, Direction::Internal] {
        assert_eq!(sizes(direction, domain), (2 * mega, 30 * mega, NONE));
    }
    assert_eq!(sizes(Direction::Inbound, domain), (2 * mega, NONE, NONE));
    assert_eq!(s.attachments.outbound_exclude.names(), ["partner.example", ".sub.example"]);
}

#[test]
fn listener_defaults_follow_the_kind() {
    let s = good(
        r#"
        [[listener]]
        name = "mx"
        kind = "mx"
        address = ["127.0.0.1:25", "[::1]:25"]
        [[listener]]
        name = "submission"
        kind = "submission"
        address = "127.0.0.1:587"
        [[listener]]
        name = "trusted"
        kind = "trusted"
        address = "127.0.0.1:26"
        [relay]
        next_hop = "192.0.2.1"
        "#,
    );
    let [mx, submission, trusted] = &s.listeners[..] else { panic!("three listeners") };
    assert_eq!(mx.addresses.len(), 2);
    assert_eq!((mx.message_size, mx.bare_newline), (Some(200_000_000), BareNewline::Reject));
    assert_eq!((submission.message_size, submission.bare_newline), (None, BareNewline::Normalize));
    assert_eq!(trusted.kind, ListenerKind::Trusted);
    assert_eq!(
        [mx, submission, trusted].map(|l| l.received_client),
        [ReceivedClient::Full, ReceivedClient::Omit, ReceivedClient::Full]
    );
    assert_eq!(mx.auth_without_tls, AuthWithoutTls::Loopback);
    assert_eq!(s.hostname, "machine.example");
}

#[test]
fn one_host_name_is_a_complete_delegate() {
    let s = with_relay("[delegate.d]\nhost = \"mail.example.com\"");
    let d = &s.delegates["d"];
    assert_eq!(d.auth[0].to_string(), "mail.example.com:587");
    assert_eq!(d.recipients[0].to_string(), "mail.example.com:25");
    assert_eq!((&d.auth[0].tls, &d.recipients[0].tls), (&TlsMode::Verify, &TlsMode::Verify));
    assert_eq!(d.deadline, Duration::from_secs(20));
    assert_eq!((d.auth_sessions, d.recipient_sessions), (10, 4));
    assert_eq!((d.refusals, d.questions), (4, 90));
}

#[test]
fn a_port_with_the_host_is_used_for_both() {
    let s = with_relay("[delegate.d]\nhost = [\"a.example:2525\", \"b.example\"]");
    let d = &s.delegates["d"];
    let of = |e: &[vouchsafe_core::Endpoint]| e.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of(&d.auth), ["a.example:2525", "b.example:587"]);
    assert_eq!(of(&d.recipients), ["a.example:2525", "b.example:25"]);
}

#[test]
fn one_endpoint_lends_its_host_to_the_other() {
    let s = with_relay("[delegate.d]\nauth = \"a.example:465\"");
    let d = &s.delegates["d"];
    assert!(d.auth[0].implicit_tls);
    assert_eq!(d.recipients[0].to_string(), "a.example:25");
    assert!(!d.recipients[0].implicit_tls);
}

#[test]
fn a_loopback_delegate_needs_no_tls() {
    for host in ["127.0.0.1", "::1", "localhost"] {
        let s = with_relay(&format!("[delegate.d]\nhost = {host:?}"));
        assert_eq!(s.delegates["d"].auth[0].tls, TlsMode::Opportunistic, "{host}");
    }
}

#[test]
fn clear_text_is_allowed_by_name() {
    let s = with_relay("[delegate.d]\nauth_in_clear = true\nhost = \"192.0.2.1\"\ntls = \"off\"");
    assert_eq!(s.delegates["d"].auth[0].tls, TlsMode::Off);
    let s = with_relay("[delegate.d]\nauth = { host = \"192.0.2.1\", tls = \"off\", auth_in_clear = true }");
    assert_eq!(s.delegates["d"].auth[0].tls, TlsMode::Off);
}

#[test]
fn next_hops_take_tables_lists_and_logins() {
    let s = with_relay(
        r#"
        [[domain]]
        name = "Example.COM"
        recipients = ["local", "list:/etc/list"]
        next_hop = ["a.example", { host = "b.example:26", tls = "verify" }]
        [relay.next_hop]
        host = ["c.example:587", "d.example:587"]
        login = { user = "u", password = { file = "/etc/password" } }
        "#,
    );
    let domain = s.domain("EXAMPLE.com").unwrap();
    assert_eq!(domain.name, "example.com");
    assert_eq!(domain.next_hop[0].tls, TlsMode::Opportunistic);
    assert_eq!((domain.next_hop[1].port, &domain.next_hop[1].tls), (26, &TlsMode::Verify));
    assert_eq!(s.relay.next_hop.len(), 2);
    // With a login TLS is verified unless something else is said.
    assert_eq!(s.relay.next_hop[0].tls, TlsMode::Verify);
    let (user, password) = s.relay.next_hop[1].login.as_ref().unwrap();
    assert_eq!((user.as_str(), password.expose()), ("u", &b"from a file"[..]));
}

#[test]
fn login_domains_have_one_source_each() {
    let s = with_relay(
        "[delegate.d]\nhost = \"a.example\"\n[relay]\nlogins = { \"Example.com\" = \"delegate:d\", \"*\" = \"local\" }",
    );
    let of = |login| s.relay.logins.source(login).unwrap().clone();
    assert_eq!(of("alice@EXAMPLE.com"), LoginSource::Delegate("d".into()));
    assert_eq!(of("alice@other.example"), LoginSource::Local);
    assert_eq!(of("alice"), LoginSource::Local);
}

#[test]
fn the_only_delegate_answers_unless_something_else_is_said() {
    let s = with_relay(
        "[delegate.d]\nhost = \"a.example\"\n[[domain]]\nname = \"e.example\"\nnext_hop = \"b.example\"",
    );
    assert_eq!(s.domains[0].recipients, [RecipientSource::Delegate("d".into())]);
    assert_eq!(s.relay.logins.source("x"), Some(&LoginSource::Delegate("d".into())));
}

#[test]
fn login_names_are_mapped_in_one_pass() {
    let map = |t: &str, login: &str| LoginName::Template(t.to_owned()).map(login);
    assert_eq!(LoginName::StripDomain.map("alice@example.com"), "alice");
    assert_eq!(map("CORP\\{user}", "alice@example.com"), "CORP\\alice");
    assert_eq!(map("{user}@corp.example", "alice"), "alice@corp.example");
    assert_eq!(map("{user}/{domain}/{login}{x", "{domain}@d"), "{domain}/d/{domain}@d{x");
}

#[test]
fn flags_alone_give_loopback_listeners() {
    let flags = Flags {
        delegate: Some("mail.example.com".into()),
        next_hop: Some("127.0.0.1:26".into()),
        domains: vec!["example.com".into(), "example.org".into()],
        ..Flags::default()
    };
    let (s, _) = Settings::default_with(&flags, &World).unwrap();
    let ports: Vec<_> = s.listeners.iter().map(|l| l.addresses[0].to_string()).collect();
    assert_eq!(ports, ["127.0.0.1:2525", "127.0.0.1:2587", "127.0.0.1:2465"]);
    assert_eq!(s.data_dir.to_str(), Some("./vouchsafe-data"));
    assert_eq!(s.domains.len(), 2);
    assert_eq!(s.domains[1].recipients, [RecipientSource::Delegate("default".into())]);
    assert_eq!(s.relay.next_hop, s.domains[0].next_hop);
}

#[test]
fn no_flag_at_all_still_starts() {
    let (s, notices) = Settings::default_with(&Flags::default(), &World).unwrap();
    assert!(s.queue.soft_bounce, "the first messages of a beginner do not bounce");
    let stored = Flags::default().read("[queue]\nsoft_bounce = false\n", &World).unwrap();
    assert!(!stored.settings.queue.soft_bounce, "what the page has set counts");
    assert_eq!(s.listeners.len(), 3);
    let words = notices.iter().map(|n| format!("{n}\n")).collect::<String>();
    assert!(words.contains("no accepted domain"), "{words}");
    assert!(words.contains("--next-hop: is missing"), "{words}");
}

#[test]
fn flags_are_named_in_their_faults() {
    let of = |flags: Flags| {
        let faults = flags.read("", &World).unwrap_err();
        faults.iter().map(|f| format!("{f}\n")).collect::<String>()
    };
    let delegate = Some("mail.example.com".to_owned());
    let no_hop =
        of(Flags { delegate: delegate.clone(), domains: vec!["a.example".into()], ..Flags::default() });
    assert_eq!(
        no_hop,
        "--next-hop: is missing: listener submission takes mail for anywhere; give --next-hop HOST[:PORT]\n"
    );
    let bad_hop = of(Flags { delegate, next_hop: Some("x:y".into()), ..Flags::default() });
    assert_eq!(bad_hop, "--next-hop = \"x:y\": \"y\" is not a port; give a port from 1 to 65535\n");
}

#[test]
fn an_export_reads_back_as_the_same_settings() {
    let text = include_str!("../../../vouchsafe.example.toml");
    let first = read(text, &World).unwrap();
    let written = export(&first.shown);
    let second = read(&written, &World).map_err(|f| format!("{f:#?}\n{written}")).unwrap();
    assert_eq!(first.settings, second.settings, "{written}");
}
