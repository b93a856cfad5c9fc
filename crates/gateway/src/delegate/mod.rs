//! The delegates: asked about recipients and logins, handed no mail. One [`Delegate`] per `[delegate.NAME]`.
//!
//! Recipient sessions and AUTH sessions are apart; a dead, slow or lying delegate ends in Unavailable and holds up
//! nobody else. Proof: `transcripts/delegate/`, the in-process rung, the tests with real Postfix and Dovecot.

mod logins;
pub mod offers;
mod own_login;
mod pace;
mod recipients;
pub mod refusals;
mod relay_gate;
mod tally;
mod test;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use vouchsafe_config as settings;
use vouchsafe_core::guard::Guard;
use vouchsafe_core::ports::{Clock, VerdictStore};
use vouchsafe_core::relay_probe::{Proof, Standing};
use vouchsafe_core::verdict::Verdict;
use vouchsafe_net::client::{Connector, Hello};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_smtp::sasl::{Mechanism, Names};
use vouchsafe_smtp::{Mailbox, Secret};

use crate::tasks::Tasks;
use crate::trace::Hub;
use logins::Logins;
pub use logins::{Asked, Credential, Exchange, LoginClient, Step, unfit};
use offers::Offers;
use pace::Pace;
pub use recipients::Asker;
use recipients::Recipients;
use refusals::Refusals;
use tally::Tally;
pub use tally::{Health, LATENCIES};
pub use test::Tested;

/// Verdicts kept per delegate, yes and no each.
const CACHED_VERDICTS: usize = 1_000_000;

/// What delegates share with the rest of the gateway.
#[derive(Clone)]
pub struct Means {
    /// Opens connections.
    pub connector: Arc<Connector>,
    /// How we greet.
    pub hello: Hello,
    /// The clocks.
    pub clock: Arc<SystemClock>,
    /// Starts tasks.
    pub tasks: Tasks,
    /// Takes dialogues.
    pub trace: Hub,
    /// Counts wrong logins, over all delegates.
    pub guard: Arc<std::sync::Mutex<Guard>>,
    /// Keeps what was accepted across restarts.
    pub verdicts: Arc<dyn VerdictStore>,
    /// What the delegates were last seen to offer.
    pub offers: Arc<Offers>,
    /// How early they were seen to close a session.
    pub refusals: Arc<Refusals>,
    /// The settings in force, for the budgets of the guard.
    pub settings: Arc<ArcSwap<settings::Settings>>,
}

/// One server that is asked.
pub struct Delegate {
    settings: settings::Delegate,
    means: Means,
    recipients: Recipients,
    logins: Logins,
    tally: Arc<Tally>,
    restored: AtomicBool,
}

impl Delegate {
    fn new(settings: &settings::Delegate, means: &Means) -> Arc<Delegate> {
        let tally = Arc::new(Tally::default());
        let pace = Arc::new(Pace::of(settings, &means.clock));
        Arc::new(Delegate {
            settings: settings.clone(),
            means: means.clone(),
            recipients: Recipients::new(
                settings.clone(),
                means.clone(),
                Arc::clone(&tally),
                Arc::clone(&pace),
            ),
            logins: Logins::new(settings.clone(), means.clone(), Arc::clone(&tally), pace),
            tally,
            restored: AtomicBool::new(false),
        })
    }
    /// Its name in the settings.
    pub fn name(&self) -> &str {
        &self.settings.name
    }
    /// Does this recipient exist? From the cache, or asked; at most `deadline` long.
    pub async fn recipient(&self, mailbox: &Mailbox, asker: &Asker<'_>) -> Verdict {
        self.recipients.ask(mailbox, asker).await
    }
    /// What is remembered of this recipient; nobody is asked.
    pub fn remembered(&self, mailbox: &Mailbox) -> Option<Verdict> {
        self.recipients.remembered(mailbox)
    }
    /// Proof that it refuses domains of others, where it decides for any domain.
    pub fn relay_proof(&self) -> Option<Proof> {
        self.recipients.relay_proof()
    }
    /// Whether it decides for any domain, and how that stands.
    pub fn relay_standing(&self) -> Option<Standing> {
        self.recipients.relay_standing()
    }
    /// Is this login right? At most `deadline` long.
    pub async fn login(&self, login: &str, credential: &Credential, client: &LoginClient) -> Asked {
        self.logins.ask(login, credential, client).await
    }
    /// Begins an exchange of a challenge mechanism with this client; the first step comes from [`Exchange::begin`].
    /// `initial` is the client's first response and whom it names.
    pub fn exchange(
        &self,
        mechanism: Mechanism,
        names: Names,
        initial: Option<(Option<String>, Secret)>,
        client: LoginClient,
    ) -> Exchange {
        self.logins.begin(mechanism, names, initial, client)
    }
    /// Forgets verdicts about an address, an `@domain`, or all (empty); how many.
    pub fn flush(&self, what: &str) -> usize {
        self.recipients.flush(what)
    }
    /// Cached verdicts about addresses that contain `text`.
    pub fn verdicts(&self, text: &str, limit: usize) -> Vec<(String, String)> {
        self.recipients.search(text, limit)
    }
    /// Addresses that contain `text` and exist, as far as the delegate said so for good.
    pub fn known_good(&self, text: &str) -> Vec<String> {
        self.recipients.known_good(text)
    }
    /// Forgets what is known of credentials.
    pub fn flush_credentials(&self) {
        self.logins.flush();
    }
    /// Finds out behind the scenes what it offers, where that is not known yet.
    fn learn(&self) {
        if self.means.offers.is_unseen(&self.settings) {
            self.logins.learn();
        }
    }
    /// Writes behind what changed of the accepted recipients; returns at once.
    fn save(&self) {
        self.recipients.save();
    }
    /// Takes up what an earlier run knew, once.
    fn restore(self: &Arc<Self>) {
        if self.restored.swap(true, Ordering::Relaxed) {
            return;
        }
        let delegate = Arc::clone(self);
        self.means.tasks.spawn("verdicts of the last run", async move {
            match delegate.means.verdicts.load_verdicts(delegate.settings.name.clone()).await {
                Ok(kept) => delegate.recipients.restore(kept),
                Err(fault) => tracing::warn!(blame = "us", delegate = %delegate.settings.name, %fault,
                    "verdicts of the last run cannot be read; recipients are asked anew"),
            }
        });
    }
    /// How it is, and what it was asked.
    pub fn health(&self) -> Health {
        let (sessions, sessions_at_most, waiting) = self.recipients.load();
        let refusals = self.means.refusals.allowed(&self.settings, self.means.clock.now());
        let refusals_learned = (refusals < self.settings.refusals).then_some(refusals as u64);
        let reachable = !self.is_open();
        Health { reachable, sessions, sessions_at_most, waiting, refusals_learned, ..self.tally.health() }
    }
    /// The delegate is left alone for now: it could not be reached several times.
    pub fn is_open(&self) -> bool {
        self.recipients.is_open()
    }
}

/// All delegates by name; replaced when the settings change, kept where theirs did not.
pub struct Delegates {
    means: Means,
    by_name: ArcSwap<BTreeMap<String, Arc<Delegate>>>,
}

impl Delegates {
    /// As the settings say.
    pub fn new(means: Means, settings: &BTreeMap<String, settings::Delegate>) -> Delegates {
        let delegates = Delegates { means, by_name: ArcSwap::default() };
        delegates.update(settings);
        delegates
    }
    /// Takes new settings; a delegate whose own did not change keeps its cache and sessions.
    pub fn update(&self, settings: &BTreeMap<String, settings::Delegate>) {
        self.save();
        let old = self.by_name.load();
        let new = settings.iter().map(|(name, wanted)| {
            let kept = old.get(name).filter(|delegate| delegate.settings == *wanted);
            (name.clone(), kept.map_or_else(|| Delegate::new(wanted, &self.means), Arc::clone))
        });
        self.by_name.store(Arc::new(new.collect()));
    }
    /// Writes behind what changed; returns at once.
    pub(crate) fn save(&self) {
        self.by_name.load().values().for_each(|delegate| delegate.save());
    }
    /// Has those that decide for any domain show, where that is due, that they refuse domains of others.
    pub(crate) fn test_relaying(&self) {
        self.by_name.load().values().for_each(|delegate| delegate.recipients.test_relaying());
    }
    /// Takes up what an earlier run, or a delegate with other settings, knew.
    pub(crate) fn restore(&self) {
        self.by_name.load().values().for_each(Delegate::restore);
    }
    /// How early they were seen to close a session.
    pub fn refusals(&self) -> &Refusals {
        &self.means.refusals
    }
    /// What they were last seen to offer.
    pub fn offers(&self) -> &Offers {
        &self.means.offers
    }
    /// Clients find no way to log in: what the delegates that answer for logins offer is found out, where it is unknown.
    pub(crate) fn learn(&self, settings: &settings::Settings) {
        for source in settings.relay.logins.sources() {
            if let settings::LoginSource::Delegate(name) = source
                && let Some(delegate) = self.get(name)
            {
                delegate.learn();
            }
        }
    }
    /// The delegate of this name.
    pub fn get(&self, name: &str) -> Option<Arc<Delegate>> {
        self.by_name.load().get(name).cloned()
    }
    /// All of them.
    pub fn all(&self) -> Arc<BTreeMap<String, Arc<Delegate>>> {
        self.by_name.load_full()
    }
}

/// Locks a mutex whose holders never panic while they hold it; if one did, its data is still whole enough to serve.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
