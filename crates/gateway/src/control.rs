//! The one door for whoever runs the gateway: CLI, control socket, and later the page. A request, a response; the
//! same types everywhere, so that the next caller gets the same checks for free.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::{AuditRow, Share, ShareFilter};
use vouchsafe_core::envelope::MessageId;
use vouchsafe_core::figures::{Figure, Span};
use vouchsafe_core::guard;
use vouchsafe_core::ports::{
    Clock, HistoryEvent, HistoryFilter, QueueAction, QueueFilter, QueueRow, QueueStats, StoreFault,
};
use vouchsafe_core::relay_probe::Standing;
use vouchsafe_core::trial;
use vouchsafe_smtp::{Mailbox, Secret};

use crate::admin::accounts::AdminRow;
use crate::admin::audit::Entry;
use crate::admin::control::{Examined, SentTest};
use crate::admin::sessions::Session;
use crate::admin::tokens::TokenRow;
use crate::admin::{self, Caller, Role};
use crate::delegate::{Delegate, Health, Tested, lock};
use crate::delivery::{NotReturned, Returned};
use crate::gateway::Gateway;
use crate::meter;
use crate::running::RunningSession;
use crate::shares::{self, ShareAct};
use crate::stored::{Draft, SettingRow, Version, Wish};
use crate::trace::{Line, Pace, Watch};

/// Events that a report of trials sums up at most.
const TRIALS: usize = 100_000;
/// Running sessions listed at most.
const RUNNING: usize = 200;

/// What can be asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are what the variant's sentence names")]
pub enum Request {
    /// Numbers and health.
    Status,
    /// Deliveries in the queue.
    QueueList {
        #[serde(flatten)]
        filter: QueueFilter,
    },
    /// One message: its deliveries and its history.
    QueueShow { message: MessageId },
    /// Retry, hold, release or delete what the filter names.
    QueueAct {
        #[serde(flatten)]
        filter: QueueFilter,
        action: QueueAction,
    },
    /// Gives a message up that is not being tried: its recipients fail, and its sender gets a notice where one is due.
    QueueBounce { message: MessageId },
    /// Local users.
    UsersList,
    /// Adds a user; refused if it is there.
    UserAdd { name: String, password: String },
    /// Sets the password of a user that is there.
    UserPassword { name: String, password: String },
    /// Removes a user.
    UserRemove { name: String },
    /// Asks a delegate about a recipient, on a connection of its own, with the whole dialogue.
    TestRecipient { delegate: Option<String>, address: String },
    /// Tries a login at a delegate; a wrong one counts there like any other.
    TestLogin { delegate: Option<String>, login: String, password: String },
    /// Cached verdicts about addresses that contain `text`.
    VerdictsList {
        #[serde(default)]
        text: String,
    },
    /// Addresses that contain `text` and exist, as far as the delegates said so for good: for a recipient list.
    VerdictsExport {
        #[serde(default)]
        text: String,
    },
    /// Forgets verdicts about an address, an `@domain`, or all (empty), and all that is known of credentials if all.
    VerdictsFlush { what: String },
    /// What the guard counts, the fullest first.
    GuardList,
    /// Forgets what is held against an account (as the delegate is shown it), or an address and its network.
    GuardLift { what: String },
    /// What delegates on trial would have decided otherwise.
    TrialReport,
    /// The newest events that fit.
    History {
        #[serde(flatten)]
        filter: HistoryFilter,
    },
    /// What was counted and measured over a span that ends now.
    Figures {
        #[serde(default)]
        span: Span,
    },
    /// Sessions of clients whose address, id or listener contains `text`.
    Running {
        #[serde(default)]
        text: String,
    },
    /// Every setting with its help, value and source, and the version of what the store holds.
    SettingsShow,
    /// What changes of the stored settings would mean.
    SettingsDraft { changes: Vec<Wish> },
    /// Changes the stored settings; in force at once.
    SettingsChange { changes: Vec<Wish> },
    /// Versions of the stored settings, the newest first.
    SettingsHistory,
    /// Makes the stored settings what they were in a version.
    SettingsRollback { version: u64 },
    /// Looks at a server and says what it means and what to set here.
    Doctor {
        server: String,
        next_hop: bool,
        name: String,
        known: Option<String>,
        login: Option<String>,
        password: Option<String>,
    },
    /// Sends a message through our own listener for the Internet, and shows the dialogue.
    TestMessage { sender: String, recipient: String },
    /// Administrators.
    AdminsList,
    /// Adds one; without a password that of the mail account counts.
    AdminAdd { name: String, password: Option<String>, role: Role },
    /// Sets a password; their sessions end.
    AdminPassword { name: String, password: String },
    /// Sets a role.
    AdminRole { name: String, role: Role },
    /// Switches one-time codes off.
    AdminCodesOff { name: String },
    /// Removes one.
    AdminRemove { name: String },
    /// Tokens of programs that use the API.
    TokensList,
    /// Makes a token, good for so many days or until it is removed.
    TokenAdd { name: String, role: Role, days: Option<u32> },
    /// Removes a token.
    TokenRemove { name: String },
    /// Sessions of the page.
    SessionsList,
    /// Ends one.
    SessionEnd { id: String },
    /// Who did what: the newest entries that contain `text`.
    AuditList {
        #[serde(default)]
        text: String,
        limit: usize,
    },
    /// Detached files: messages with their files and links.
    AttachmentsList {
        #[serde(flatten)]
        filter: ShareFilter,
    },
    /// Takes links back, extends, holds, erases, releases or refuses what the filter names; it must name something.
    AttachmentsAct { filter: ShareFilter, act: ShareAct },
    /// Lines of the audit log of detached files behind this number, of one message if it is named, at most 1,000.
    AttachmentsAudit {
        #[serde(default)]
        after: i64,
        #[serde(default)]
        message: Option<MessageId>,
    },
    /// Live dialogues whose peer, session or text contain `text`; many responses, until the caller hangs up.
    Trace {
        #[serde(default)]
        text: String,
    },
}

/// What comes back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "response", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are what the variant's sentence names")]
pub enum Response {
    /// To `Status`.
    Status(Status),
    /// To `QueueList`.
    Queue { rows: Vec<QueueRow> },
    /// To `QueueShow`.
    Message { rows: Vec<QueueRow>, history: Vec<HistoryEvent> },
    /// To `QueueAct` and `VerdictsFlush`: how many were changed.
    Changed { count: u64 },
    /// To `QueueBounce`: recipients given up, and notices that the sender gets.
    Bounced { recipients: u64, notices: u64 },
    /// To `UsersList`.
    Users { users: Vec<UserRow> },
    /// To the tests.
    Tested(Tested),
    /// To `VerdictsList`: (delegate, address, the delegate's words).
    Verdicts { rows: Vec<(String, String, String)> },
    /// To `GuardList`.
    Guard { rows: Vec<guard::Row> },
    /// To `VerdictsExport`: sorted, each once.
    Addresses { addresses: Vec<String> },
    /// To `TrialReport`: refusals first, then the most frequent.
    Trial { rows: Vec<trial::Row> },
    /// To `History`.
    History { events: Vec<HistoryEvent> },
    /// To `Figures`: the words of the figures; for each slot when it began and its values in that order.
    Figures { seconds: u64, names: Vec<String>, slots: Vec<(Timestamp, Vec<u64>)> },
    /// To `Running`: the oldest 200.
    Running { sessions: Vec<RunningSession> },
    /// To `SettingsShow`.
    Settings { version: u64, rows: Vec<SettingRow> },
    /// To `SettingsDraft`.
    Draft(Draft),
    /// To `SettingsHistory`.
    Versions { versions: Vec<Version> },
    /// To `SettingsChange` and `SettingsRollback`.
    Version(Version),
    /// To `Doctor`.
    Examined(Examined),
    /// To `TestMessage`.
    Sent(SentTest),
    /// To `AdminsList`.
    Admins { admins: Vec<AdminRow> },
    /// To `TokensList`.
    Tokens { tokens: Vec<TokenRow> },
    /// To `TokenAdd`: the only time that the token is shown.
    Token { name: String, token: String },
    /// To `SessionsList`.
    Sessions { sessions: Vec<Session> },
    /// To `AuditList`.
    Audit { entries: Vec<Entry> },
    /// To `AttachmentsList`.
    Shares { now: Timestamp, shares: Vec<Share> },
    /// To `AttachmentsAct`: how many messages it was done to, and how many are on hold and stay.
    SharesChanged { count: u64, held: u64 },
    /// To `AttachmentsAudit`.
    ShareAudit { rows: Vec<AuditRow> },
    /// To `Trace`.
    Line(Line),
    /// Done, nothing to tell.
    Done,
    /// Not done, and why, and what to do.
    Refused { why: String },
}

/// Numbers and health.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// What we call ourselves.
    pub hostname: String,
    /// Version of this program.
    pub version: String,
    /// The queue.
    pub queue: QueueStats,
    /// (name, reachable): false while its breaker is open.
    pub delegates: Vec<(String, bool)>,
    /// Of the delegate that decides for any domain, if there is one.
    pub any_domain: Option<AnyDomain>,
    /// How the delegates are, by name.
    #[serde(default)]
    pub health: BTreeMap<String, Health>,
    /// Sessions of clients.
    #[serde(default)]
    pub sessions: usize,
    /// When the oldest message of the queue came.
    #[serde(default)]
    pub oldest: Option<Timestamp>,
    /// Octets that the file system has left.
    #[serde(default)]
    pub free: Option<u64>,
}

/// Whether strangers' mail is taken for domains without a block of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnyDomain {
    /// Who decides.
    pub delegate: String,
    /// It refuses domains of others.
    pub open: bool,
    /// Why it is not open.
    pub why: String,
}

/// A local user, without its hash.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserRow {
    /// Login name.
    pub name: String,
    /// When it was added.
    pub created: Timestamp,
}

/// Why a request is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It needs this role.
    Role(Role),
    /// It is a test, and there were too many in this minute.
    TooMany,
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Denied::Role(role) => write!(f, "this needs the role {}; ask an administrator", role.word()),
            Denied::TooMany => write!(f, "too many tests in this minute; wait a little"),
        }
    }
}

/// The door.
#[derive(Clone)]
pub struct Control {
    gateway: Arc<Gateway>,
}

impl Control {
    /// Over a gateway, running or not.
    pub fn new(gateway: Arc<Gateway>) -> Control {
        Control { gateway }
    }

    /// Carries a request out for whoever may open the control socket. `Trace` needs a running gateway's socket.
    pub async fn run(&self, request: Request) -> Response {
        self.run_as(&Caller::command_line(), request).await
    }

    /// Carries a request out if the caller may; what changes something goes into the audit log.
    pub async fn run_as(&self, caller: &Caller, request: Request) -> Response {
        match self.admit(caller, &request) {
            Ok(()) => self.run_admitted(caller, request).await,
            Err(denied) => Response::Refused { why: denied.to_string() },
        }
    }

    /// Whether the caller may ask for this now; a test takes one of those of this minute.
    pub fn admit(&self, caller: &Caller, request: &Request) -> Result<(), Denied> {
        if caller.role < request.needs() {
            return Err(Denied::Role(request.needs()));
        }
        let free = *caller == Caller::command_line() || !request.is_test();
        match free || self.gateway.admins.may_test(self.gateway.clock.tick()) {
            true => Ok(()),
            false => Err(Denied::TooMany),
        }
    }

    /// Carries out what was [admitted](Control::admit).
    pub async fn run_admitted(&self, caller: &Caller, request: Request) -> Response {
        let sentence = request.sentence();
        let response = self.carry_out(caller, request).await.unwrap_or_else(|why| Response::Refused { why });
        if let Some(what) = sentence {
            let outcome = match &response {
                Response::Refused { why } => why.clone(),
                _ => "done".to_owned(),
            };
            let entry = Entry { at: self.gateway.clock.now(), by: caller.name.clone(), what, outcome };
            if let Err(fault) = self.gateway.admins.record(&entry).await {
                tracing::error!(blame = "us", %fault, by = entry.by, what = entry.what, "not in the audit log");
            }
        }
        response
    }

    /// The gateway behind the door: logins of the page, and numbers that cost nothing to read.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Live lines that contain `text`.
    pub fn trace(&self, text: &str, pace: Pace) -> Watch {
        self.gateway.trace.watch(text, pace)
    }

    async fn carry_out(&self, caller: &Caller, request: Request) -> Result<Response, String> {
        let gateway = &self.gateway;
        let mail = &gateway.stores.mail;
        Ok(match request {
            Request::Status => Response::Status(self.status().await?),
            Request::QueueList { filter } => {
                Response::Queue { rows: mail.list(filter).await.map_err(words)? }
            }
            Request::QueueShow { message } => self.show(message).await?,
            Request::QueueAct { filter, action } => {
                let count = mail.act(filter, action, gateway.clock.now()).await.map_err(words)?;
                if matches!(action, QueueAction::Retry | QueueAction::Release) {
                    gateway.deliverer.try_now();
                }
                Response::Changed { count }
            }
            Request::QueueBounce { message } => self.bounce(message).await?,
            Request::UsersList => {
                let row =
                    |user: vouchsafe_core::ports::User| UserRow { name: user.name, created: user.created };
                let users = gateway.users.list().await.map_err(words)?;
                Response::Users { users: users.into_iter().map(row).collect() }
            }
            Request::UserAdd { name, password } => self.set_user(&name, password, false).await?,
            Request::UserPassword { name, password } => self.set_user(&name, password, true).await?,
            Request::UserRemove { name } => {
                gateway.users.remove(&name).await.map_err(words)?;
                Response::Done
            }
            Request::TestRecipient { delegate, address } => {
                let mailbox =
                    Mailbox::parse(&address, true).map_err(|bad| format!("{address}: {}", bad.0))?;
                Response::Tested(self.delegate(delegate)?.test_recipient(&mailbox).await)
            }
            Request::TestLogin { delegate, login, password } => {
                let password = Secret::new(password);
                Response::Tested(self.delegate(delegate)?.test_login(&login, &password).await)
            }
            Request::VerdictsList { text } => self.verdicts(&text),
            Request::VerdictsExport { text } => {
                let all = gateway.delegates.all();
                let mut addresses: Vec<String> =
                    all.values().flat_map(|delegate| delegate.known_good(&text)).collect();
                addresses.sort_unstable();
                addresses.dedup();
                Response::Addresses { addresses }
            }
            Request::VerdictsFlush { what } => self.flush(&what),
            Request::GuardList => {
                let budgets = gateway.settings.load().guard;
                let rows = lock(&gateway.guard).list(&budgets, gateway.clock.tick(), 1000);
                Response::Guard { rows }
            }
            Request::GuardLift { what } => self.lift(&what)?,
            Request::TrialReport => {
                let events = gateway.stores.history.trials(TRIALS).await.map_err(words)?;
                Response::Trial { rows: trial::report(&events) }
            }
            Request::History { filter } => {
                Response::History { events: gateway.stores.history.search(filter).await.map_err(words)? }
            }
            Request::Figures { span } => self.figures(span).await?,
            Request::Running { text } => {
                Response::Running { sessions: gateway.running.list(text.trim(), RUNNING) }
            }
            Request::SettingsShow
            | Request::SettingsDraft { .. }
            | Request::SettingsChange { .. }
            | Request::SettingsHistory
            | Request::SettingsRollback { .. } => admin::control::settings(gateway, caller, request).await?,
            Request::Doctor { .. } | Request::TestMessage { .. } => {
                admin::control::test(gateway, caller, request).await?
            }
            Request::AdminsList
            | Request::AdminAdd { .. }
            | Request::AdminPassword { .. }
            | Request::AdminRole { .. }
            | Request::AdminCodesOff { .. }
            | Request::AdminRemove { .. }
            | Request::TokensList
            | Request::TokenAdd { .. }
            | Request::TokenRemove { .. }
            | Request::SessionsList
            | Request::SessionEnd { .. }
            | Request::AuditList { .. } => admin::control::people(gateway, request).await?,
            Request::AttachmentsList { .. }
            | Request::AttachmentsAct { .. }
            | Request::AttachmentsAudit { .. } => shares::answer(gateway, caller, request).await?,
            Request::Trace { .. } => {
                return Err("trace needs a running gateway: start `vouchsafe serve`".to_owned());
            }
        })
    }

    async fn status(&self) -> Result<Status, String> {
        let delegates = self.gateway.delegates.all();
        let standing = |(name, delegate): (&String, &Arc<Delegate>)| {
            let (open, why) = match delegate.relay_standing()? {
                Standing::Open => (true, String::new()),
                Standing::Unproven(why) => (false, format!("it has not refused both relay_probe yet {why}")),
                Standing::Relays(why) => (false, format!("it takes mail for domains of others: {why}")),
            };
            Some(AnyDomain { delegate: name.clone(), open, why: why.trim_end().to_owned() })
        };
        let any_domain = delegates.iter().find_map(standing);
        Ok(Status {
            any_domain,
            health: meter::healths(&self.gateway),
            sessions: self.gateway.running.count(),
            oldest: meter::oldest(&self.gateway).await.map_err(words)?,
            free: self.gateway.stores.mail.free_space(),
            hostname: self.gateway.settings.load().hostname.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            queue: self.gateway.stores.mail.stats().await.map_err(words)?,
            delegates: delegates.iter().map(|(name, delegate)| (name.clone(), !delegate.is_open())).collect(),
        })
    }

    async fn figures(&self, span: Span) -> Result<Response, String> {
        let slots = self.gateway.meter.span(&self.gateway, span).await.map_err(words)?;
        Ok(Response::Figures {
            seconds: span.step().as_secs(),
            names: Figure::ALL.iter().map(|figure| figure.word().to_owned()).collect(),
            slots: slots.into_iter().map(|slot| (slot.at, slot.values.to_vec())).collect(),
        })
    }

    async fn show(&self, message: MessageId) -> Result<Response, String> {
        let filter = QueueFilter { message: Some(message), ..QueueFilter::default() };
        let rows = self.gateway.stores.mail.list(filter).await.map_err(words)?;
        let of_message = HistoryFilter { text: message.to_string(), ..HistoryFilter::default() };
        let mut history = self.gateway.stores.history.search(of_message).await.map_err(words)?;
        history.reverse();
        if rows.is_empty() && history.is_empty() {
            return Err(format!(
                "no message {message}; `vouchsafe queue list` and `vouchsafe history` show ids"
            ));
        }
        Ok(Response::Message { rows, history })
    }

    async fn bounce(&self, message: MessageId) -> Result<Response, String> {
        match self.gateway.deliverer.give_up(message).await {
            Ok(Returned { recipients, notices }) => Ok(Response::Bounced { recipients, notices }),
            Err(NotReturned::Missing) => Err(format!(
                "message {message} is not in the queue; `vouchsafe queue list` shows what is there"
            )),
            Err(NotReturned::UnderWay) => Err(format!(
                "message {message} is being tried just now; hold it (`vouchsafe queue hold {message}`), then bounce it"
            )),
            Err(NotReturned::Store(fault)) => Err(words(fault)),
        }
    }

    async fn set_user(&self, name: &str, password: String, there: bool) -> Result<Response, String> {
        if name.is_empty() || name.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err("a user name has no spaces and is not empty".to_owned());
        }
        if password.is_empty() {
            return Err("the password is empty".to_owned());
        }
        match (self.gateway.users.exists(name).await.map_err(words)?, there) {
            (true, false) => {
                return Err(format!("user {name} is there; `vouchsafe users password {name}` changes it"));
            }
            (false, true) => return Err(format!("no user {name}; `vouchsafe users add {name}` adds it")),
            _ => {}
        }
        let now = self.gateway.clock.now();
        self.gateway.users.set(name, Secret::new(password), now).await.map_err(words)?;
        Ok(Response::Done)
    }

    /// The named delegate, or the only one.
    fn delegate(&self, name: Option<String>) -> Result<Arc<Delegate>, String> {
        let all = self.gateway.delegates.all();
        let names = || all.keys().cloned().collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => {
                all.get(&name).cloned().ok_or_else(|| format!("no delegate {name}; there are: {}", names()))
            }
            None if all.len() == 1 => all.values().next().cloned().ok_or_else(String::new),
            None if all.is_empty() => {
                Err("no delegate is set; add [delegate.NAME] to the settings".to_owned())
            }
            None => Err(format!("name a delegate with --delegate; there are: {}", names())),
        }
    }

    fn verdicts(&self, text: &str) -> Response {
        let all = self.gateway.delegates.all();
        let rows = all.iter().flat_map(|(name, delegate)| {
            let found = delegate.verdicts(text, 1000);
            found.into_iter().map(|(address, said)| (name.clone(), address, said))
        });
        Response::Verdicts { rows: rows.collect() }
    }

    fn lift(&self, what: &str) -> Result<Response, String> {
        let address = what.parse().ok();
        match lock(&self.gateway.guard).lift(what, address) {
            true => Ok(Response::Done),
            false => Err(format!("nothing is held against {what}; `vouchsafe guard list` shows what is")),
        }
    }

    fn flush(&self, what: &str) -> Response {
        let all = self.gateway.delegates.all();
        let count = all.values().map(|delegate| delegate.flush(what)).sum::<usize>();
        if what.is_empty() {
            all.values().for_each(|delegate| delegate.flush_credentials());
        }
        Response::Changed { count: count as u64 }
    }
}

fn words(fault: StoreFault) -> String {
    fault.to_string()
}
