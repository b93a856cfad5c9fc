//! Whom a delegate knows, how it answers, where it draws its limits; and what it counts.

use super::directory::Directory;
use super::limit::Limit;
use super::sources::{Budget, Sources};
use super::wording::Wording;
use crate::fault::Fault;
use crate::host::Faults;
use crate::session::{Behaves, Counts, Ended, Front, Greeting};
use crate::tls::SelfSigned;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// When an unknown recipient is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RefuseAt {
    /// In reply to RCPT.
    #[default]
    Rcpt,
    /// Taken at RCPT, refused in reply to the DATA command (`probe_to = "data"`).
    Data,
    /// Never: every address of our domains is taken (a catch-all, or a server that refuses after the message).
    Never,
}

/// What becomes of commands that bring no mail: greetings, RSET, NOOP, VRFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Junk {
    /// So many are free in a connection, each further one counts as an error (Postfix).
    Counted(u32),
    /// The first greeting, STARTTLS, AUTH and RSET are free; past so many others the connection is dropped (Exim).
    Dropped(u32),
}

/// Everything that can be set. Start with [`Behaviour::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Its name in banner and EHLO.
    pub hostname: String,
    /// Logins (any case) and passwords; for XOAUTH2 and OAUTHBEARER the password is the token, for
    /// CRAM-MD5 the digest that is taken (the challenge is always the same).
    pub users: BTreeMap<String, String>,
    /// Recipients that exist, in lower case.
    pub known: BTreeSet<String>,
    /// Domains it takes mail for, in lower case; others are `550 5.7.1` unless `relays`.
    pub domains: BTreeSet<String>,
    /// Trusts us too much: 250 for any foreign domain.
    pub relays: bool,
    /// In whose words it refuses.
    pub wording: Wording,
    /// When it refuses unknown recipients.
    pub refuse_at: RefuseAt,
    /// Mechanisms announced before TLS; only looked at where `tls` is set.
    pub mechanisms_before_tls: Vec<String>,
    /// Mechanisms announced under TLS, or always without `tls`. Empty: no AUTH.
    pub mechanisms: Vec<String>,
    /// Further EHLO lines. PIPELINING only works as such when it stands here; a fake never minds being pipelined to.
    pub extensions: Vec<String>,
    /// STARTTLS with this configuration.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first octet instead.
    pub implicit_tls: bool,
    /// LHLO instead of EHLO (RFC 2033).
    pub lmtp: bool,
    /// MAIL only after a login.
    pub login_required_at_mail: bool,
    /// RCPT only after a login.
    pub login_required: bool,
    /// The recipient filter is for strangers: who has logged in may name anybody, and meets no tarpit.
    pub logged_in_bypass: bool,
    /// Greets, and is not in service: MAIL brings 421.
    pub maintenance: bool,
    /// Every login by password gets this reply, whatever the password: switched off there.
    pub passwords_refused: Option<String>,
    /// Wait before a refused login or recipient.
    pub tarpit: Duration,
    /// Wait before an answer about `slow@`.
    pub slow: Duration,
    /// Wrong logins in a connection, after which it is closed.
    pub max_bad_logins: Option<u32>,
    /// Wrong logins after which an account is locked, cleared by a quiet time, as Active Directory counts.
    pub lockout: Option<(u32, Duration)>,
    /// Refusals in a connection, after which it is closed.
    pub max_errors: Option<u32>,
    /// Refusals in a connection, after which every answer comes a second late.
    pub slow_after: Option<u32>,
    /// Commands that bring no mail.
    pub junk: Option<Junk>,
    /// A connection without a command for so long is closed.
    pub idle: Option<Duration>,
    /// A connection that old is closed.
    pub life: Option<Duration>,
    /// Wrong logins from one address, after which every login from there is wrong.
    pub wrong_logins: Option<Budget>,
    /// Unknown recipients named by one address, after which it is shut out.
    pub dictionary: Option<Budget>,
    /// Addresses that `dictionary` does not count.
    pub gateways: BTreeSet<IpAddr>,
    /// An address that was unknown stays so for this long, though it exists by now.
    pub remembers_no: Duration,
    /// Connections from one address; more are greeted with 421.
    pub max_connections: Option<u32>,
    /// Recipients in a transaction; more are `452 4.5.3`.
    pub max_recipients: Option<u32>,
    /// Faults on order.
    pub faults: Vec<Fault>,
}

impl Behaviour {
    /// A well-behaved server of this name that knows nobody yet; offers PLAIN and LOGIN.
    pub fn new(hostname: &str) -> Behaviour {
        Behaviour {
            hostname: hostname.to_owned(),
            users: BTreeMap::new(),
            known: BTreeSet::new(),
            domains: BTreeSet::new(),
            relays: false,
            wording: Wording::Plain,
            refuse_at: RefuseAt::Rcpt,
            mechanisms_before_tls: Vec::new(),
            mechanisms: vec!["PLAIN".to_owned(), "LOGIN".to_owned()],
            extensions: ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
                .map(str::to_owned)
                .into(),
            tls: None,
            implicit_tls: false,
            lmtp: false,
            login_required_at_mail: false,
            login_required: false,
            logged_in_bypass: false,
            maintenance: false,
            passwords_refused: None,
            tarpit: Duration::ZERO,
            slow: Duration::from_secs(10),
            max_bad_logins: None,
            lockout: None,
            max_errors: None,
            slow_after: None,
            junk: None,
            idle: None,
            life: None,
            wrong_logins: None,
            dictionary: None,
            gateways: BTreeSet::new(),
            remembers_no: Duration::ZERO,
            max_connections: None,
            max_recipients: None,
            faults: Vec::new(),
        }
    }
    /// Adds a login.
    pub fn user(mut self, name: &str, password: &str) -> Behaviour {
        self.users.insert(name.to_lowercase(), password.to_owned());
        self
    }
    /// Locks an account after so many wrong logins, until none came for `quiet`.
    pub fn lockout(mut self, failures: u32, quiet: Duration) -> Behaviour {
        self.lockout = Some((failures, quiet));
        self
    }
    /// Adds a recipient that exists, and its domain.
    pub fn recipient(mut self, address: &str) -> Behaviour {
        let address = address.to_lowercase();
        if let Some((_, domain)) = address.rsplit_once('@') {
            self.domains.insert(domain.to_owned());
        }
        self.known.insert(address);
        self
    }
    /// Offers STARTTLS with this certificate.
    pub fn starttls(mut self, identity: &SelfSigned) -> Behaviour {
        self.tls = Some(identity.config.clone());
        self
    }
    /// Adds a fault.
    pub fn fault(mut self, fault: Fault) -> Behaviour {
        self.faults.push(fault);
        self
    }
}

impl Faults for Behaviour {
    fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl Behaves for Behaviour {
    fn front(&self) -> Front<'_> {
        Front {
            hostname: &self.hostname,
            greeting: if self.lmtp { Greeting::Lmtp } else { Greeting::Smtp },
            extensions: &self.extensions,
            tls: self.tls.as_ref(),
            implicit_tls: self.implicit_tls,
            max_connections: self.max_connections,
            too_many_connections: self.wording.too_many_connections(),
            idle: self.idle,
            life: self.life,
        }
    }
    fn banner(&self) -> String {
        self.wording.banner(&self.hostname)
    }
    fn farewell(&self, ended: Ended) -> &'static str {
        match ended {
            Ended::Idle => self.wording.idle(),
            Ended::Crowded | Ended::Old => self.wording.too_old(),
        }
    }
}

/// What a delegate has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections, refused ones included.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// The most that were open at once.
    pub peak: u64,
    /// Connections that this fake closed for a limit on refusals or wrong logins.
    pub closed_by_limit: u64,
    /// Which limits were met, and how often.
    pub trips: BTreeMap<Limit, u64>,
    /// Handshakes done.
    pub tls: u64,
    /// Logins taken.
    pub logins_good: u64,
    /// Logins refused with 535.
    pub logins_bad: u64,
    /// Accounts that were locked.
    pub locked: u64,
    /// The most wrong logins of one account within any 30 minutes; a right one begins anew.
    pub bad_in_30_minutes: usize,
    pub(super) directory: Directory,
    pub(super) sources: Sources,
    /// Until when an address stays unknown.
    pub(super) unknown_until: HashMap<String, Instant>,
    /// A password seen outside TLS although TLS is offered.
    pub logins_in_clear: u64,
    /// MAIL commands.
    pub mails: u64,
    /// RCPT commands.
    pub recipients: u64,
    /// RCPT answered with 2yz.
    pub recipients_good: u64,
    /// RCPT answered with 5yz.
    pub recipients_bad: u64,
    /// RSET commands.
    pub resets: u64,
    /// DATA commands. Only `probe_to = "data"` may send one, after which it must close on 354.
    pub data_commands: u64,
    /// Octets of a message, and BDAT commands: never right.
    pub violations: u64,
    /// The last name given in EHLO.
    pub greeted_as: String,
    /// The last reverse path.
    pub reverse_path: String,
    /// XCLIENT commands, as they came.
    pub xclient: Vec<String>,
}

impl Counters {
    /// How often any limit was met.
    pub fn tripped(&self) -> u64 {
        self.trips.values().sum()
    }
    pub(super) fn trip(&mut self, limit: Limit) {
        *self.trips.entry(limit).or_insert(0) += 1;
    }
}

impl Counts for Counters {
    fn connected(&mut self) {
        self.connections += 1;
        self.open += 1;
        self.peak = self.peak.max(self.open);
    }
    fn left(&mut self) {
        self.open -= 1;
    }
    fn secured(&mut self) {
        self.tls += 1;
    }
    fn greeted(&mut self, name: &str) {
        name.clone_into(&mut self.greeted_as);
    }
    fn ended(&mut self, ended: Ended) {
        self.trip(match ended {
            Ended::Crowded => Limit::Connections,
            Ended::Idle => Limit::Idle,
            Ended::Old => Limit::Life,
        });
    }
}
