//! The doctor's rules: from what was seen at a server to what it means, what to change there, and the settings to
//! paste here (DESIGN section 4). Pure: what was seen is an argument; the asking is `vouchsafe_gateway::doctor`'s.
//!
//! Never says that something works which was not seen working: what no answer proves is told as not proven.
//! Proof: whole reports in `crates/gateway/tests/doctor/`, one a product or fault; real Postfix in
//! `crates/vouchsafe/tests/doctor.rs`.

mod advice;
mod findings;
mod next_hop;
mod product;
mod recipients;
mod settings;
mod text;

pub use product::Product;
pub use recipients::{goes_on, is_asked_at_data};

use serde::{Serialize, Serializer};
use vouchsafe_smtp::client::Phase;
use vouchsafe_smtp::extension::Capabilities;
use vouchsafe_smtp::reply::printable;
use vouchsafe_smtp::{Enhanced, Reply};

use crate::verdict::Verdict;
use recipients::Checking;

/// Characters of a server's words in a report.
const WORDS: usize = 200;

/// What the server is looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Asked about logins and recipients.
    Delegate,
    /// Given mail.
    NextHop,
}

/// Everything that was seen at one server.
#[derive(Clone, Debug)]
pub struct Examined {
    /// Its name as it was given.
    pub host: String,
    /// What it is looked at for.
    pub role: Role,
    /// An address that exists there.
    pub known: Option<String>,
    /// A made-up address in a domain of theirs; `None`: no domain was known, nobody was asked about.
    pub made_up: Option<String>,
    /// An address in a domain that is not theirs.
    pub foreign: String,
    /// What we call ourselves.
    pub our_name: String,
    /// Our address as far as it is known.
    pub our_address: Option<String>,
    /// The ports, in the order in which they were asked.
    pub ports: Vec<Seen>,
    /// What came of the login, if one was tried.
    pub login: Option<LoginTried>,
}

/// What was seen at one port.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Seen {
    /// TCP port.
    pub port: u16,
    /// The address is that of one of our own listeners.
    pub our_address: bool,
    /// The greeting, with its code.
    pub banner: Option<String>,
    /// The reply to EHLO in clear text, a line each without codes: the greeting, then what is offered.
    pub hello: Vec<String>,
    /// The reply to EHLO under TLS.
    pub hello_tls: Vec<String>,
    /// TLS, if a handshake was done.
    pub tls: Option<TlsSeen>,
    /// What was said of recipients.
    pub answers: Vec<Answer>,
    /// What was said of them when it was asked up to DATA, a connection each: where all are taken at RCPT.
    pub answers_at_data: Vec<Answer>,
    /// What ended the session before its time.
    pub trouble: Option<Trouble>,
    /// The dialogue: `D> …` we said, `D< …` they said.
    pub dialogue: Vec<String>,
}

impl Seen {
    /// A session was opened and it was seen what is offered.
    pub fn is_open(&self) -> bool {
        !(self.hello.is_empty() && self.hello_tls.is_empty())
    }

    /// What is offered in the end: under TLS if there is TLS.
    pub fn offers(&self) -> Capabilities {
        let hello = if self.tls.is_some() { &self.hello_tls } else { &self.hello };
        Capabilities::parse(&hello.join("\n"))
    }

    /// Mechanisms offered in clear text.
    fn mechanisms_in_clear(&self) -> Vec<String> {
        Capabilities::parse(&self.hello.join("\n")).auth
    }

    /// A password can be asked about here, and only under TLS.
    fn takes_logins(&self) -> bool {
        self.tls.is_some() && self.offers().auth.iter().any(|name| name == "PLAIN" || name == "LOGIN")
    }

    /// The server gives our own name for its own.
    fn has_name(&self, name: &str) -> bool {
        let said = self.banner.iter().filter_map(|line| line.split(' ').nth(1));
        let greeted = self.hello.first().and_then(|line| line.split(' ').next());
        said.chain(greeted).any(|said| said.eq_ignore_ascii_case(name))
    }

    /// It is this very gateway that answered: by name and by address, or that it turned itself away (RFC 3463 §3.5:
    /// X.4.6, a loop).
    pub fn is_ourselves(&self, name: &str) -> bool {
        let loops = Some(Enhanced(4, 4, 6));
        let said = self.trouble.as_ref().and_then(|trouble| trouble.said.as_ref());
        self.our_address && (self.has_name(name) || said.is_some_and(|said| said.enhanced == loops))
    }

    fn answer(&self, about: About) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.about == about)
    }

    fn answer_at_data(&self, about: About) -> Option<&Answer> {
        self.answers_at_data.iter().find(|answer| answer.about == about)
    }
}

/// A TLS session and the certificate shown in it.
#[derive(Clone, Debug, Serialize)]
pub struct TlsSeen {
    /// From the first octet; else by STARTTLS.
    pub implicit: bool,
    /// Version and cipher.
    pub version: String,
    /// Why the certificate does not verify; `None`: it does.
    pub unverified: Option<String>,
    /// `pin:sha256/BASE64`.
    pub pin: String,
    /// DNS names of the certificate.
    pub names: Vec<String>,
    /// Its last day.
    pub expires: Option<String>,
}

/// Whom a question was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The known address.
    Known,
    /// The made-up one in a domain of theirs.
    MadeUp,
    /// One in a domain that is not theirs.
    Foreign,
}

/// A reply to RCPT, or to DATA.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// Whom it was about.
    pub about: About,
    /// The reply.
    #[serde(serialize_with = "shown")]
    pub said: Reply,
    /// How long it took.
    pub milliseconds: u64,
}

/// What ended a session.
#[derive(Clone, Debug, Serialize)]
pub struct Trouble {
    /// What was under way.
    #[serde(serialize_with = "word")]
    pub phase: Phase,
    /// The reply that refused, if there was one.
    #[serde(serialize_with = "shown_if_any")]
    pub said: Option<Reply>,
    /// In words.
    pub told: String,
}

/// A login that was tried once.
#[derive(Clone, Debug)]
pub struct LoginTried {
    /// Where; `None`: nowhere, because no port takes logins under TLS.
    pub port: Option<u16>,
    /// Under which name.
    pub name: String,
    /// What the answer means; `None` where nothing was tried.
    pub verdict: Option<Verdict>,
}

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Good,
    /// Worth knowing.
    Note,
    /// Does not work until it is changed there.
    Change,
    /// Harm would come of it.
    Danger,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is to be taken.
    pub grade: Grade,
    /// What was found and what it means, a sentence or two.
    pub what: String,
    /// What to do at the other server: words, or lines to paste there.
    pub there: Vec<String>,
}

impl Finding {
    fn new(grade: Grade, what: impl Into<String>) -> Finding {
        Finding { grade, what: what.into(), there: Vec::new() }
    }

    fn there(mut self, lines: Vec<String>) -> Finding {
        self.there = lines;
        self
    }
}

/// The doctor's report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The server.
    pub host: String,
    /// What it was looked at for.
    pub role: Role,
    /// What it looks like.
    pub product: Product,
    /// Nothing has to be changed.
    pub good: bool,
    /// What was seen.
    pub ports: Vec<Seen>,
    /// What it means and what to change.
    pub findings: Vec<Finding>,
    /// Lines for the settings file; `None` where nothing that works can be proposed.
    pub settings: Option<String>,
}

/// Makes the report; `name` is what the delegate is called in our settings.
pub fn diagnose(examined: Examined, name: &str) -> Report {
    let product = product::guess(&examined);
    let (findings, settings) = match examined.role {
        Role::Delegate => (findings::of(&examined, product), settings::of(&examined, product, name)),
        Role::NextHop => (next_hop::findings(&examined, product), next_hop::settings(&examined)),
    };
    let bad = |finding: &Finding| matches!(finding.grade, Grade::Change | Grade::Danger);
    let good = !findings.iter().any(bad);
    Report {
        host: examined.host,
        role: examined.role,
        product,
        good,
        ports: examined.ports,
        findings,
        settings,
    }
}

/// The port at which a login would be tried: the first that takes passwords under TLS.
pub fn login_port(ports: &[Seen]) -> Option<&Seen> {
    ports.iter().find(|seen| seen.takes_logins())
}

/// The port at which recipients would be asked: one that checks them, at RCPT before at DATA, and port 25 before 2525
/// before all others.
fn recipients_port(examined: &Examined) -> Option<&Seen> {
    let judged = |seen: &Seen| recipients::judge(examined, seen);
    let checks = |seen: &&Seen| matches!(judged(seen), Checking::AtRcpt { .. } | Checking::AtData { .. });
    let rank = |seen: &&Seen| {
        let at_data = matches!(judged(seen), Checking::AtData { .. });
        let port = match seen.port {
            25 => 0,
            2525 => 1,
            _ => 2,
        };
        (at_data, port)
    };
    examined.ports.iter().filter(checks).min_by_key(rank)
}

/// A server's words, fit for a report.
fn words(reply: &Reply) -> String {
    printable(reply.to_string().as_bytes(), WORDS)
}

/// A server's words at the end of a sentence of ours, which has its own full stop.
fn quoted(reply: &Reply) -> String {
    words(reply).trim_end_matches('.').to_owned()
}

fn shown<S: Serializer>(reply: &Reply, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&words(reply))
}

fn shown_if_any<S: Serializer>(reply: &Option<Reply>, to: S) -> Result<S::Ok, S::Error> {
    reply.as_ref().map(words).serialize(to)
}

fn word<S: Serializer>(phase: &Phase, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(phase.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(unverified: Option<&str>) -> TlsSeen {
        TlsSeen {
            implicit: false,
            version: "TLSv1_3".to_owned(),
            unverified: unverified.map(str::to_owned),
            pin: "pin:sha256/KEY".to_owned(),
            names: Vec::new(),
            expires: None,
        }
    }

    fn seen(port: u16, offers: &str, answers: &[(About, Reply)], tls: Option<TlsSeen>) -> Seen {
        let hello: Vec<String> = ["mail.example.com", offers].map(str::to_owned).into();
        let answer =
            |(about, said): &(About, Reply)| Answer { about: *about, said: said.clone(), milliseconds: 0 };
        Seen {
            port,
            banner: Some("220 mail.example.com ESMTP".to_owned()),
            hello_tls: if tls.is_some() { hello.clone() } else { Vec::new() },
            hello: if tls.is_some() { Vec::new() } else { hello },
            tls,
            answers: answers.iter().map(answer).collect(),
            ..Seen::default()
        }
    }

    fn report(host: &str, ports: Vec<Seen>) -> Report {
        let examined = Examined {
            host: host.to_owned(),
            role: Role::Delegate,
            known: Some("bob@example.com".to_owned()),
            made_up: Some("nobody@example.com".to_owned()),
            foreign: "postmaster@example.org".to_owned(),
            our_name: "gw.example.net".to_owned(),
            our_address: None,
            ports,
            login: None,
        };
        diagnose(examined, "office")
    }

    fn yes() -> Reply {
        Reply::new(250, (2, 1, 5), "Ok")
    }
    fn no() -> Reply {
        Reply::new(550, (5, 1, 1), "User unknown")
    }

    fn checking(tls: Option<TlsSeen>) -> Seen {
        let denied = Reply::new(554, (5, 7, 1), "Relay access denied");
        seen(25, "SIZE", &[(About::Known, yes()), (About::MadeUp, no()), (About::Foreign, denied)], tls)
    }

    #[test]
    fn one_line_is_enough_where_everything_verifies() {
        let good = vec![seen(587, "AUTH PLAIN", &[], Some(tls(None))), checking(Some(tls(None)))];
        let report = report("mail.example.com", good);
        assert_eq!(report.settings.as_deref(), Some("[delegate.office]\nhost = \"mail.example.com\"\n"));
        assert!(report.good, "{report}");
    }

    #[test]
    fn a_password_is_pinned_where_an_address_goes_to_whoever_answers() {
        let why = Some("it has expired");
        let ports = vec![seen(465, "AUTH LOGIN", &[], Some(tls(why))), checking(None)];
        let expected = "[delegate.office]\n\
            auth       = { host = \"[2001:db8::25]:465\", tls = \"pin:sha256/KEY\" }\n\
            recipients = { host = \"[2001:db8::25]:25\", tls = \"opportunistic\" }\n";
        assert_eq!(report("2001:db8::25", ports).settings.as_deref(), Some(expected));
    }

    #[test]
    fn answers_that_are_no_answers_are_told_apart() {
        let blocked = Reply::new(554, (5, 7, 1), "Client host blocked");
        let later = Reply::new(450, (4, 2, 0), "Greylisted");
        for (answers, words) in [
            (vec![(About::Known, no()), (About::MadeUp, no())], "refuses the known address bob@example.com"),
            (vec![(About::Known, blocked)], "refuses us, not the recipient: 554 5.7.1 Client host blocked"),
            (vec![(About::Known, later)], "puts the question off: 450 4.2.0 Greylisted"),
        ] {
            let report = report("mail.example.com", vec![seen(25, "SIZE", &answers, None)]);
            let told = report.findings.iter().find(|finding| finding.what.contains(words));
            assert_eq!(told.map(|finding| finding.grade), Some(Grade::Change), "{words}\n{report}");
            assert_eq!(report.settings, None);
        }
    }

    #[test]
    fn a_foreign_domain_refused_in_other_words_proves_nothing() {
        let odd = Reply::new(550, (5, 1, 2), "Domain does not exist");
        let answers = [(About::Known, yes()), (About::MadeUp, no()), (About::Foreign, odd)];
        let report = report("mail.example.com", vec![seen(25, "SIZE", &answers, None)]);
        assert!(report.findings.iter().any(|finding| finding.what.contains("is not proven")), "{report}");
    }
}
