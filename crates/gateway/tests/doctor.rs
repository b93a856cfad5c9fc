//! The doctor at stand-ins in memory, on a clock that the tarpits move: whole reports, kept in `tests/doctor/*.txt`, and
//! what the stand-ins counted. `UPDATE=1 cargo test -p vouchsafe-gateway --test doctor` writes the reports anew; read the
//! difference.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use vouchsafe_core::doctor::{Report, Role};
use vouchsafe_fakes::delegate::{Behaviour, RefuseAt, Wording};
use vouchsafe_fakes::tls::SelfSigned;
use vouchsafe_fakes::{Action, Delegate, Fault, PipeDialer, Point};
use vouchsafe_gateway::doctor::{Examination, PORTS, examine};
use vouchsafe_net::client::{Connector, Hello};
use vouchsafe_smtp::{Mailbox, Secret};

const HOST: &str = "mail.example.com";

fn identity() -> &'static SelfSigned {
    static MADE: OnceLock<SelfSigned> = OnceLock::new();
    MADE.get_or_init(|| SelfSigned::new(HOST).expect("a key and a certificate"))
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, false).expect("an address")
}

/// As an administrator asks who gives a known address.
fn asked() -> Examination {
    Examination {
        host: HOST.to_owned(),
        ports: PORTS.to_vec(),
        role: Role::Delegate,
        name: "office".to_owned(),
        known: Some(mailbox("bob@example.com")),
        made_up: Some(mailbox("no-such-user-1f2e3d@example.com")),
        foreign: mailbox("postmaster@example.org"),
        login: None,
        own_ports: Vec::new(),
        our_address: Some("192.0.2.10".to_owned()),
    }
}

struct World {
    dialer: PipeDialer,
    servers: Vec<Delegate>,
}

impl World {
    fn new() -> World {
        World { dialer: PipeDialer::new(), servers: Vec::new() }
    }

    fn with(mut self, port: u16, behaviour: Behaviour) -> World {
        let server = Delegate::new(behaviour);
        self.dialer = self.dialer.with(&format!("{HOST}:{port}"), &server);
        self.servers.push(server);
        self
    }

    /// Whatever was seen, the doctor was polite.
    async fn examine(self, examination: Examination) -> Report {
        let connector = Connector::new(Arc::new(self.dialer));
        let hello = Hello { name: "gw.example.net".to_owned() };
        let logins = u64::from(examination.login.is_some());
        let report = examine(&connector, &hello, examination, &mut |_| ()).await;
        for server in &self.servers {
            let counters = server.counters();
            assert_eq!(counters.violations, 0, "no octet of a message");
            // DATA only where all are taken at RCPT, a connection each.
            let data = counters.data_commands;
            assert!(data <= 2, "{counters:?}");
            assert!(counters.connections <= 1 + data + logins && counters.peak == 1, "{counters:?}");
            assert!(counters.recipients <= 3 + data && counters.logins_good + counters.logins_bad <= logins);
            assert_eq!((counters.logins_in_clear, counters.closed_by_limit), (0, 0));
        }
        report
    }
}

/// Compares with the report that was kept; keys change from run to run.
fn keep(name: &str, report: &Report) {
    let text = report.to_string().replace(&identity().setting(), "pin:sha256/KEY");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/doctor/{name}.txt"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, text).expect("the report is written");
        return;
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name}: UPDATE=1 writes the report anew");
    // JSON holds the same, for scripts.
    let json = serde_json::to_value(report).expect("a report is JSON");
    assert_eq!(json["good"], report.good);
}

fn banner(text: &str) -> Fault {
    Fault::at(Point::Banner, Action::Reply(text.to_owned()))
}

fn exchange(offers: &[&str]) -> Behaviour {
    let extensions = ["PIPELINING", "SIZE 37748736", "DSN", "ENHANCEDSTATUSCODES", "8BITMIME", "CHUNKING"];
    Behaviour {
        extensions: extensions.iter().chain(offers).map(|text| (*text).to_owned()).collect(),
        tls: Some(identity().config.clone()),
        ..Behaviour::exchange("EX1.corp.example.com Hello [198.51.100.7]")
    }
    .recipient("bob@example.com")
    .user("alice@example.com", "correct horse")
    .fault(banner(
        "220 EX1.corp.example.com Microsoft ESMTP MAIL Service ready at Mon, 6 Jul 2026 08:00:00 +0200",
    ))
}

fn client_front_end() -> Behaviour {
    let refused = "530 5.7.57 Client not authenticated to send mail. [EX1.corp.example.com 2026-07-06]";
    exchange(&[]).fault(Fault::at(Point::Mail, Action::Reply(refused.to_owned())))
}

fn front_end() -> Behaviour {
    Behaviour {
        refuse_at: RefuseAt::Never,
        mechanisms: vec!["NTLM".to_owned()],
        ..exchange(&["X-ANONYMOUSTLS"])
    }
}

fn hub() -> Behaviour {
    Behaviour { mechanisms: vec!["NTLM".to_owned()], ..exchange(&["X-ANONYMOUSTLS", "XSHADOWREQUEST"]) }
}

fn postfix() -> Behaviour {
    let extensions =
        ["PIPELINING", "SIZE 10240000", "VRFY", "ETRN", "ENHANCEDSTATUSCODES", "8BITMIME", "DSN"];
    Behaviour {
        wording: Wording::Postfix,
        extensions: extensions.map(str::to_owned).into(),
        mechanisms: Vec::new(),
        tls: Some(identity().config.clone()),
        ..Behaviour::new(HOST)
    }
    .recipient("bob@example.com")
    .user("alice@example.com", "correct horse")
    .fault(banner("220 mail.example.com ESMTP Postfix (Debian/GNU)"))
}

fn postfix_submission() -> Behaviour {
    Behaviour { mechanisms: vec!["PLAIN".to_owned(), "LOGIN".to_owned()], login_required: true, ..postfix() }
}

#[tokio::test(start_paused = true)]
async fn exchange_as_it_comes_needs_a_connector_on_2525() {
    let world = World::new().with(587, client_front_end()).with(25, front_end());
    let report = world.examine(asked()).await;
    assert!(!report.good);
    keep("exchange_as_it_comes", &report);
}

#[tokio::test(start_paused = true)]
async fn exchange_with_the_connector_is_good() {
    let world = World::new().with(587, client_front_end()).with(25, front_end()).with(2525, hub());
    let report = world.examine(asked()).await;
    assert!(report.good);
    keep("exchange_with_connector", &report);
}

#[tokio::test(start_paused = true)]
async fn postfix_with_dovecot_is_good() {
    let world = World::new().with(587, postfix_submission()).with(25, postfix());
    let login = Some(("alice@example.com".to_owned(), Secret::new("correct horse")));
    let report = world.examine(Examination { login, ..asked() }).await;
    assert!(report.good);
    keep("postfix", &report);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_once() {
    let login = Some(("alice@example.com".to_owned(), Secret::new("wrong")));
    let report = World::new().with(587, postfix_submission()).examine(Examination { login, ..asked() }).await;
    keep("wrong_password", &report);
}

fn microsoft_365() -> Behaviour {
    Behaviour {
        wording: Wording::Microsoft365,
        mechanisms: vec!["LOGIN".to_owned(), "XOAUTH2".to_owned()],
        tls: Some(identity().config.clone()),
        ..Behaviour::new("AM0PR01CA0001.outlook.office365.com Hello [198.51.100.7]")
    }
    .recipient("bob@example.com")
    .fault(banner("220 AM0PR01CA0001.outlook.office365.com Microsoft ESMTP MAIL Service ready"))
}

#[tokio::test(start_paused = true)]
async fn microsoft_365_with_logins_switched_off_is_told_as_configuration() {
    let off = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant.";
    let stranger = "530 5.7.57 Client not authenticated to send mail.";
    let submission = microsoft_365()
        .fault(Fault::at(Point::Mail, Action::Reply(stranger.to_owned())))
        .fault(Fault::at(Point::Auth, Action::Reply(off.to_owned())));
    let edge = Behaviour { mechanisms: Vec::new(), ..microsoft_365() };
    let login = Some(("alice@example.com".to_owned(), Secret::new("correct horse")));
    let world = World::new().with(587, submission).with(25, edge);
    keep("microsoft_365", &world.examine(Examination { login, ..asked() }).await);
}

#[tokio::test(start_paused = true)]
async fn xeams_wants_us_in_its_gateway_list() {
    let tls = Some(identity().config.clone());
    let xeams = Behaviour { wording: Wording::Xeams, tls, ..Behaviour::new(HOST) }
        .recipient("bob@example.com")
        .fault(banner("220 mail.example.com ESMTP Xeams"));
    keep("xeams", &World::new().with(25, xeams).examine(asked()).await);
}

#[tokio::test(start_paused = true)]
async fn an_edge_server_with_a_long_tarpit_gets_a_longer_deadline() {
    let edge = Behaviour { mechanisms: Vec::new(), mechanisms_before_tls: Vec::new(), ..hub() };
    let edge = Behaviour { tarpit: std::time::Duration::from_secs(15), ..edge };
    keep("exchange_edge", &World::new().with(25, edge).examine(asked()).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_everybody_is_told() {
    let all = Behaviour {
        refuse_at: RefuseAt::Never,
        tls: Some(identity().config.clone()),
        ..Behaviour::new(HOST).recipient("bob@example.com")
    };
    let report = World::new().with(25, all).examine(asked()).await;
    assert!(!report.good);
    keep("takes_all", &report);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_at_data_is_asked_there() {
    let late = Behaviour { refuse_at: RefuseAt::Data, ..postfix() };
    let world = World::new().with(587, postfix_submission()).with(25, late);
    let server = world.servers[1].clone();
    let report = world.examine(asked()).await;
    assert!(report.good);
    assert_eq!(server.counters().data_commands, 2);
    keep("refuses_at_data", &report);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_both_at_data_is_told() {
    let late = Behaviour { refuse_at: RefuseAt::Data, ..postfix() };
    let known = Some(mailbox("gone@example.com"));
    let report = World::new().with(25, late).examine(Examination { known, ..asked() }).await;
    assert!(!report.good);
    assert!(report.to_string().contains("refuses the known address gone@example.com"), "{report}");
    assert!(report.settings.is_none_or(|settings| !settings.contains("recipients")));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_trusts_our_address_is_a_danger() {
    let trusting = Behaviour { relays: true, ..postfix() };
    let report = World::new().with(587, postfix_submission()).with(25, trusting).examine(asked()).await;
    assert!(!report.good);
    keep("relays", &report);
}

#[tokio::test(start_paused = true)]
async fn logins_without_tls_get_no_settings() {
    let clear = Behaviour { refuse_at: RefuseAt::Never, ..Behaviour::new(HOST).recipient("bob@example.com") };
    let login = Some(("alice@example.com".to_owned(), Secret::new("correct horse")));
    let report = World::new().with(587, clear).examine(Examination { login, ..asked() }).await;
    assert_eq!(report.settings, None);
    keep("no_tls", &report);
}

#[tokio::test(start_paused = true)]
async fn ourselves_are_noticed_and_not_asked() {
    let ours = Behaviour::new("gw.example.net").recipient("bob@example.com");
    let world = World::new().with(587, ours);
    let server = world.servers[0].clone();
    let report = world.examine(Examination { own_ports: vec![587], ..asked() }).await;
    assert_eq!(server.counters().recipients, 0);
    keep("ourselves", &report);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_turns_itself_away_is_no_limit() {
    let faults = vec![banner("421 4.4.6 This is the gateway that asks: its settings lead back to itself")];
    let ours = Behaviour { faults, ..Behaviour::new("gw.example.net") };
    let world = World::new().with(587, ours);
    let report = world.examine(Examination { own_ports: vec![587], ..asked() }).await;
    let found: Vec<&str> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert!(matches!(found[..], [what] if what.starts_with("Port 587 is this very gateway")), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_told() {
    keep("nobody", &World::new().examine(asked()).await);
}

#[tokio::test(start_paused = true)]
async fn a_server_at_its_limit_is_told() {
    let full = Behaviour { max_connections: Some(0), ..exchange(&[]) };
    let full = Behaviour { faults: Vec::new(), ..full };
    keep("at_its_limit", &World::new().with(25, full).examine(asked()).await);
}

#[tokio::test(start_paused = true)]
async fn a_filter_as_next_hop_is_told_to_look_further() {
    let world = World::new().with(25, Behaviour { relays: true, ..postfix() });
    let hop = Examination { role: Role::NextHop, ports: vec![25], ..asked() };
    keep("next_hop", &world.examine(hop).await);
}

#[tokio::test(start_paused = true)]
async fn a_next_hop_that_does_not_relay_is_told_whom_to_trust() {
    let proxmox = vec![banner("220 filter.example.com ESMTP Proxmox")];
    let filter = Behaviour { refuse_at: RefuseAt::Never, faults: proxmox, ..postfix() };
    let hop = Examination { role: Role::NextHop, ports: vec![26], known: None, ..asked() };
    keep("next_hop_that_does_not_relay", &World::new().with(26, filter).examine(hop).await);
}
