//! Settings as the gateway uses them: typed, complete, checked once, never changed while a session holds them.
//! Never holds a fault: what is here has passed every check of [`crate::parse`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use vouchsafe_core::attachments::Access;
use vouchsafe_core::detach::{self, Direction, Domains, Pattern};
use vouchsafe_core::endpoint::Endpoint;
use vouchsafe_core::guard::Budgets;
pub use vouchsafe_core::outcome::BounceStrangers;
use vouchsafe_core::scan::{ScannerAt, Unscanned};
use vouchsafe_core::stub::Language;
pub use vouchsafe_core::verdict::ProbeTo;
use vouchsafe_smtp::Secret;
use vouchsafe_smtp::address::{Mailbox, ReversePath};
use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::sasl::Mechanism;

/// All settings: one immutable value, swapped whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What we call ourselves in banner, EHLO and Received.
    pub hostname: String,
    /// Where queue, bodies and the control socket live.
    pub data_dir: PathBuf,
    /// Log format and level.
    pub log: Log,
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Our certificate; self-signed when `None`.
    pub tls: Option<TlsFiles>,
    /// Delegates by name.
    pub delegates: BTreeMap<String, Delegate>,
    /// Wrong logins and unknown recipients allowed.
    pub guard: Budgets,
    /// Domains whose mail we take from strangers, by name in lower case, each once.
    pub domains: Vec<AcceptedDomain>,
    /// Mail of our own users.
    pub relay: Relay,
    /// Retry, expiry, bounces.
    pub queue: Queue,
    /// Named limits.
    pub limits: Limits,
    /// Administration pages, API, metrics.
    pub web: Web,
    /// Large parts, swapped for links.
    pub attachments: Attachments,
    /// SPF, DKIM and DMARC of strangers' mail.
    pub authentication: Authentication,
    /// Keys that sign our users' mail, in the order of the file; each domain and selector once.
    pub dkim: Vec<DkimKey>,
}

impl Settings {
    /// The accepted domain of this name (compared without case).
    pub fn domain(&self, name: &str) -> Option<&AcceptedDomain> {
        self.domains.iter().find(|d| d.name.eq_ignore_ascii_case(name))
    }

    /// The block `*`, if there is one.
    pub fn any_domain(&self) -> Option<&AcceptedDomain> {
        self.domains.iter().find(|d| d.is_any())
    }

    /// The first domain that has a name: its postmaster is ours.
    pub fn first_domain(&self) -> Option<&str> {
        self.domains.iter().find(|d| !d.is_any()).map(|d| d.name.as_str())
    }
}

/// How and how much is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for machines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

/// Log lines for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// People.
    Plain,
    /// Machines.
    Json,
}

/// Files of our certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// Who a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Strangers from the Internet, for accepted domains.
    Mx,
    /// Our users, after AUTH.
    Submission,
    /// Our machines, by network.
    Trusted,
}

/// TLS on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// None.
    Off,
    /// STARTTLS is offered.
    StartTls,
    /// From the first octet.
    Implicit,
}

/// Whether `Received` names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedClient {
    /// EHLO name and address.
    Full,
    /// Neither: an employee's home address is nobody's business.
    Omit,
}

/// Where AUTH is offered without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthWithoutTls {
    /// Nowhere.
    Never,
    /// To clients on a loopback address.
    Loopback,
    /// To all (the administrator insisted).
    Always,
}

/// Whether named front ends send a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Some do: waited for a moment.
    Auto,
    /// All do: none, no session.
    Required,
    /// None does.
    Off,
}

/// One listener: addresses that behave alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The administrator's name for it; unique.
    pub name: String,
    /// Who it is for.
    pub kind: ListenerKind,
    /// At least one.
    pub addresses: Vec<SocketAddr>,
    /// TLS.
    pub tls: ListenerTls,
    /// Largest message in octets; `None`: no limit but the disk.
    pub message_size: Option<u64>,
    /// What happens to bare newlines.
    pub bare_newline: BareNewline,
    /// Clients whose bare newlines are made CRLF where others' are refused.
    pub bare_newline_exclude: Vec<IpNet>,
    /// Whether `Received` names the client.
    pub received_client: ReceivedClient,
    /// Wait before the banner; who talks in it is refused. Zero: none.
    pub greet_wait: Duration,
    /// AUTH without TLS.
    pub auth_without_tls: AuthWithoutTls,
    /// Front ends that are believed when they name their client.
    pub proxies: Vec<IpNet>,
    /// Whether they send a PROXY header first.
    pub proxy_protocol: ProxyProtocol,
}

/// A server that is asked about logins and recipients.
#[derive(Clone, Debug, PartialEq)]
pub struct Delegate {
    /// Its key in `[delegate.NAME]`.
    pub name: String,
    /// Asked about logins, in order; the next only when one is unavailable. At least one.
    pub auth: Vec<Endpoint>,
    /// Asked about recipients, in order. At least one.
    pub recipients: Vec<Endpoint>,
    /// Longest a client waits for a verdict.
    pub deadline: Duration,
    /// Most AUTH sessions at once.
    pub auth_sessions: usize,
    /// Most recipient sessions at once.
    pub recipient_sessions: usize,
    /// Most sessions opened in a second, of both kinds.
    pub sessions_per_second: u32,
    /// Refusals after which a recipient session is ended; as many questions are in one batch at the most. At least 3.
    pub refusals: usize,
    /// Questions after which a recipient session is ended. At least 3.
    pub questions: usize,
    /// Reverse path of callouts.
    pub probe_sender: ReversePath,
    /// The command whose answer counts.
    pub probe_to: ProbeTo,
    /// How login names are shown to the delegate.
    pub login_name: LoginName,
    /// How clients may log in, in the order in which it is announced. At least one.
    pub mechanisms: Vec<Mechanism>,
    /// At a login it is told of the client by XCLIENT, where it offers that.
    pub xclient: bool,
    /// How long verdicts live.
    pub verdicts: VerdictTimes,
    /// How long credentials' verdicts live, in memory.
    pub credentials: CredentialTimes,
    /// `252` to RCPT counts as yes.
    pub accept_252: bool,
    /// What a yes is worth while the delegate accepts every address of the domain.
    pub catch_all: CatchAll,
    /// What is only tried, not believed.
    pub trial: Trial,
    /// It decides for every domain that has no block of its own. Follows from the block `*`.
    pub any_domain: Option<AnyDomain>,
}

/// What of a delegate is tried before it is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Nothing: its answers count.
    Off,
    /// Every recipient of its domains is taken, its answer is recorded.
    Recipients,
    /// Another source decides on logins, this delegate is asked beside it.
    Logins,
}

/// "*" mode: what a delegate needs to know to decide for any domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyDomain {
    /// Domains with a block of their own: for these it does not decide as `*`.
    pub named: Vec<String>,
    /// Two addresses in domains of others, which it must refuse.
    pub probes: [Mailbox; 2],
}

/// What a yes is worth while the delegate accepts every address of the domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchAll {
    /// A yes.
    Accept,
    /// Nothing: the domain's other sources decide.
    Local,
    /// Unavailable.
    Defer,
}

/// Mapping of a client's login name to the delegate's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginName {
    /// As the client wrote it.
    AsIs,
    /// Without `@domain` or `DOMAIN\`.
    StripDomain,
    /// `{user}` (without `@domain` or `DOMAIN\`), `{domain}` and `{login}` (as written) are filled in.
    Template(String),
}

impl LoginName {
    /// The name the delegate is shown.
    pub fn map(&self, login: &str) -> String {
        let windows = || login.split_once('\\').map(|(domain, user)| (user, domain));
        let (user, domain) = login.rsplit_once('@').or_else(windows).unwrap_or((login, ""));
        match self {
            LoginName::AsIs => login.to_owned(),
            LoginName::StripDomain => user.to_owned(),
            LoginName::Template(t) => fill(t, user, domain, login),
        }
    }
}

/// One pass, so that braces in a login name are never read as a place.
fn fill(template: &str, user: &str, domain: &str, login: &str) -> String {
    let mut out = String::with_capacity(template.len() + login.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let places = [("{user}", user), ("{domain}", domain), ("{login}", login)];
        match places.iter().find(|(place, _)| rest.starts_with(place)) {
            Some((place, value)) => {
                out.push_str(value);
                rest = &rest[place.len()..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// How long verdicts about recipients live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictTimes {
    /// A yes expires.
    pub yes: Duration,
    /// A yes is asked again behind the scenes.
    pub refresh: Duration,
    /// A no expires.
    pub no: Duration,
}

/// How long verdicts about credentials live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialTimes {
    /// The same password again needs no question. Zero: off.
    pub yes: Duration,
    /// The same wrong password again is answered by ourselves. Zero: off.
    pub no: Duration,
}

/// A domain whose mail we take from strangers.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedDomain {
    /// Lower case, A-labels or as written.
    pub name: String,
    /// Sources of truth, in order. At least one.
    pub recipients: Vec<RecipientSource>,
    /// In order. At least one.
    pub next_hop: Vec<Endpoint>,
    /// Of the domain `*` only: what its delegate must refuse. Two addresses there, none elsewhere.
    pub relay_probe: Vec<Mailbox>,
    /// Its recipients get files whole, whatever `attachments` says of their direction.
    pub files_whole: bool,
    /// In place of what `attachments` says of each direction.
    pub files_expire: Option<Duration>,
    /// In place of what `attachments` says of each direction.
    pub files_sizes: OwnSizes,
    /// In place of `attachments.language`.
    pub files_language: Option<Language>,
}

impl AcceptedDomain {
    /// Name of the block that stands for every domain without one of its own.
    pub const ANY: &'static str = "*";

    /// Whether this block stands for every domain without one of its own.
    pub fn is_any(&self) -> bool {
        self.name == AcceptedDomain::ANY
    }
}

/// Who knows whether a recipient exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientSource {
    /// A delegate of this name, which exists in `delegates`.
    Delegate(String),
    /// Local users: the address, or its local part, is a user's name.
    Local,
    /// A file with one address (or `@domain`) a line.
    List(PathBuf),
    /// Whoever: every address exists.
    Any,
}

/// Mail of our own users and machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Relay {
    /// Who answers for logins.
    pub logins: Logins,
    /// Where their mail goes, in order. Empty only when nobody may relay.
    pub next_hop: Vec<Endpoint>,
    /// Clients that may relay without AUTH on `trusted` listeners.
    pub trusted_networks: Vec<IpNet>,
    /// Anyone may relay: every listener is on loopback only, or it was confirmed.
    pub open_relay: bool,
    /// Whether a login may only send with a reverse path of its own.
    pub send_as: SendAs,
    /// From is compared, too.
    pub send_as_from: bool,
    /// What else logins may send as: a file of `vouchsafe_core::send_as`.
    pub aliases: Option<PathBuf>,
}

/// What happens to a reverse path that is not the login's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendAs {
    /// Nothing.
    Off,
    /// Taken, and told in log and history.
    Warn,
    /// `553 5.7.1`.
    Enforce,
}

/// Exactly one source answers for a login domain.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Logins(pub Vec<(String, LoginSource)>);

impl Logins {
    /// The source for a login name: its domain's, else that of `*`.
    pub fn source(&self, login: &str) -> Option<&LoginSource> {
        let domain = login.rsplit_once('@').map_or("", |(_, d)| d);
        let of = |name: &str| self.0.iter().find(|(d, _)| d.eq_ignore_ascii_case(name)).map(|(_, s)| s);
        of(domain).or_else(|| of("*"))
    }

    /// All sources, each once.
    pub fn sources(&self) -> Vec<&LoginSource> {
        let mut sources: Vec<&LoginSource> = Vec::new();
        for (_, source) in &self.0 {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        sources
    }

    /// The source that answers for every login, if it is one and the same.
    pub fn only(&self) -> Option<&LoginSource> {
        let all = self.0.iter().any(|(domain, _)| domain == "*");
        match self.sources()[..] {
            [only] if all => Some(only),
            _ => None,
        }
    }
}

/// Who knows whether a password is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginSource {
    /// A delegate of this name, which exists in `delegates`.
    Delegate(String),
    /// Local users only.
    Local,
}

/// Retry, expiry, bounces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Waits between attempts; the last repeats. At least one.
    pub retry: Vec<Duration>,
    /// Age at which our own senders are told of the delay; `None`: never.
    pub warn_after: Option<Duration>,
    /// Age at which a message fails.
    pub expire: Duration,
    /// Whether strangers get DSNs.
    pub bounce_strangers: BounceStrangers,
    /// Hold instead of failing.
    pub soft_bounce: bool,
}

/// SPF, DKIM and DMARC of strangers' mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    /// It is looked at, and told in `Authentication-Results`.
    pub verify: bool,
    /// What was altered of it is sealed (ARC, RFC 8617).
    pub seal: bool,
    /// Who is asked; empty: the system's name servers.
    pub name_servers: Vec<SocketAddr>,
}

/// A key that signs mail of our users (RFC 6376), and seals what we altered of strangers' mail to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// The domain of `From`, or of the recipient, in lower case.
    pub domain: String,
    /// The key's name in DNS.
    pub selector: String,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// Administration pages, API, metrics; download pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where they are served; TLS where it is not loopback. Empty: nowhere.
    pub addresses: Vec<SocketAddr>,
    /// A session ends after so long without use.
    pub idle: Duration,
    /// Where the download pages are served. Empty: nowhere.
    pub downloads: Vec<SocketAddr>,
    /// Whether they have TLS; `None`: where the address is not loopback.
    pub downloads_tls: Option<bool>,
    /// Whose X-Forwarded-For is believed.
    pub proxies: Vec<IpNet>,
}

/// Named limits. Those of a session are in `session`; each is a setting of `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one session.
    pub session: vouchsafe_smtp::limits::Limits,
    /// Sessions in all.
    pub sessions: usize,
    /// Sessions of one client address.
    pub sessions_per_address: usize,
    /// Octets that stay free on the disk: below it `452 4.3.1`.
    pub free_space: u64,
    /// Octets of bodies in memory, all sessions together; past it bodies go to files.
    pub body_memory: u64,
    /// Deliveries at once, in all.
    pub deliveries: usize,
    /// Deliveries at once to one route.
    pub deliveries_per_destination: usize,
    /// `Received` fields of an arriving message (RFC 5321 §6.3). Past it: `554 5.4.6`.
    pub received_hops: usize,
}

/// Large parts, swapped for links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachments {
    /// What is large, where nothing narrower says so.
    pub sizes: Sizes,
    /// The same among our users.
    pub sizes_internal: OwnSizes,
    /// The same from strangers.
    pub sizes_inbound: OwnSizes,
    /// Only files like these are detached; all if empty.
    pub include: Vec<Pattern>,
    /// Not these.
    pub exclude: Vec<Pattern>,
    /// Mail of our users to others.
    pub outbound: bool,
    /// But not to these.
    pub outbound_exclude: Domains,
    /// Mail of our users to our own domains.
    pub internal: bool,
    /// Mail of strangers.
    pub inbound: Inbound,
    /// A link for every recipient, or one for all.
    pub per_recipient: bool,
    /// Links are good for so long.
    pub expire: Duration,
    /// After that they tell for so long that their time is up.
    pub grace: Duration,
    /// So many downloads of each file by each link; `None`: any number.
    pub downloads: Option<u32>,
    /// What a recipient must prove.
    pub access: Access,
    /// Of the words in place of a file, where the message names none.
    pub language: Language,
    /// A small text file takes the place of the first.
    pub manifest: bool,
    /// Who looks at files before anybody gets them.
    pub clamd: Option<ScannerAt>,
    /// Files that are larger are not shown to it.
    pub clamd_size: u64,
    /// What is done with files that it cannot take.
    pub unscanned: Unscanned,
    /// Where files are kept, and how.
    pub keeping: Keeping,
    /// In place of `expire`, among our users.
    pub expire_internal: Option<Duration>,
    /// In place of `expire`, from strangers.
    pub expire_inbound: Option<Duration>,
    /// So long before the end senders are reminded of what was not fetched; zero: never.
    pub reminder: Duration,
    /// Senders are told of the first download.
    pub receipts: bool,
    /// Octets that are charged to a user at most.
    pub user_quota: Option<u64>,
    /// Octets that are charged to a domain at most.
    pub domain_quota: Option<u64>,
    /// Where links lead, without a slash at its end; `None`: nothing is detached.
    pub public_url: Option<String>,
}

impl Attachments {
    /// What is large in mail of this direction, for a domain of ours where one decides: that of the recipient, or of who
    /// sends to others.
    pub fn sizes(&self, direction: Direction, domain: Option<&AcceptedDomain>) -> Sizes {
        let by_direction = match direction {
            Direction::Outbound => self.sizes,
            Direction::Internal => self.sizes.with(self.sizes_internal),
            Direction::Inbound => self.sizes.with(self.sizes_inbound),
        };
        domain.map_or(by_direction, |domain| by_direction.with(domain.files_sizes))
    }
}

/// What is large, in octets; [`u64::MAX`]: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Parts of a message are moved.
    pub moved: detach::Limits,
    /// Past it a message that should have become smaller is refused: `552 5.3.4`.
    pub hard_limit: u64,
}

impl Sizes {
    /// With what a narrower setting says in their place.
    fn with(self, own: OwnSizes) -> Sizes {
        Sizes {
            moved: detach::Limits {
                part_over: own.part_over.unwrap_or(self.moved.part_over),
                message_over: own.message_over.unwrap_or(self.moved.message_over),
            },
            hard_limit: own.hard_limit.unwrap_or(self.hard_limit),
        }
    }
}

/// Sizes of a narrower setting; `None`: as the wider one says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnSizes {
    /// See [`detach::Limits::part_over`].
    pub part_over: Option<u64>,
    /// See [`detach::Limits::message_over`].
    pub message_over: Option<u64>,
    /// See [`Sizes::hard_limit`].
    pub hard_limit: Option<u64>,
}

/// Where detached files are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keeping {
    /// A bucket of S3; `None`: files below `data_dir`.
    pub bucket: Option<Bucket>,
    /// What they are encrypted with: the first is for new files, all are for those that are there. Empty: they are not.
    pub keys: Vec<Secret>,
}

/// A bucket of S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Before every object's name, without slashes at its ends; may be empty.
    pub prefix: String,
    /// `https://host:port` of a server that is not Amazon's.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// Access key id and its key; `None`: as the environment says.
    pub login: Option<(String, Secret)>,
}

/// Whether strangers' files are detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// No.
    Off,
    /// Yes, and nobody gets them before clamd has looked.
    Scanned,
    /// Yes, though nobody has looked at them.
    Unscanned,
}
