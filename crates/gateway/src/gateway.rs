//! What all sessions share: settings, store, delegates, users, clocks. Built once by the supervisor's caller.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use vouchsafe_config::Settings;
use vouchsafe_core::attachments::{AttachmentStore, BlobStore};
use vouchsafe_core::guard::Guard;
use vouchsafe_core::ports::{
    Clock, GuardStore, History, HistoryEvent, MailStore, SettingsStore, VerdictStore,
};
use vouchsafe_net::authentication::Verifier;
use vouchsafe_net::client::{Connector, Hello};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::stream::Dial;

use crate::admin::Admins;
use crate::aliases::AliasFile;
use crate::delegate::offers::Offers;
use crate::delegate::refusals::Refusals;
use crate::delegate::{Delegates, Means, lock};
use crate::delivery::{self, Deliverer};
use crate::intake::Budget;
use crate::lists::Lists;
use crate::meter::Meter;
use crate::readiness::Readiness;
use crate::running::Running;
use crate::stored::Stored;
use crate::tasks::Tasks;
use crate::trace::Hub;
use crate::users::Users;

/// The stores, chosen by the binary.
#[derive(Clone)]
pub struct Stores {
    /// Messages and queue.
    pub mail: Arc<dyn MailStore>,
    /// Users and small values.
    pub settings: Arc<dyn SettingsStore>,
    /// What happened.
    pub history: Arc<dyn History>,
    /// What delegates accepted.
    pub verdicts: Arc<dyn VerdictStore>,
    /// Counters of the guard.
    pub guard: Arc<dyn GuardStore>,
    /// Shares, links, the audit log of detached files.
    pub attachments: Arc<dyn AttachmentStore>,
    /// Detached files; without them nothing is detached.
    pub blobs: Option<Arc<dyn BlobStore>>,
}

impl Stores {
    /// All of them in one.
    pub fn of<S>(store: Arc<S>) -> Stores
    where
        S: MailStore + SettingsStore + History + VerdictStore + GuardStore + AttachmentStore + 'static,
    {
        Stores {
            mail: store.clone(),
            settings: store.clone(),
            history: store.clone(),
            verdicts: store.clone(),
            guard: store.clone(),
            attachments: store,
            blobs: None,
        }
    }

    /// The same with a place for detached files.
    pub fn with_blobs(self, blobs: Arc<dyn BlobStore>) -> Stores {
        Stores { blobs: Some(blobs), ..self }
    }
}

/// The gateway without its listeners.
pub struct Gateway {
    /// The settings in force; a transaction keeps the snapshot it began with.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The stores.
    pub stores: Stores,
    /// The clocks.
    pub clock: Arc<SystemClock>,
    /// Who is asked.
    pub delegates: Delegates,
    /// Wrong logins and unknown recipients, over all delegates.
    pub guard: Arc<Mutex<Guard>>,
    /// Local users.
    pub users: Users,
    /// Administrators.
    pub admins: Admins,
    /// Settings that the store holds.
    pub stored: Stored,
    /// Recipient lists.
    pub lists: Lists,
    /// What logins may send as beside their own addresses.
    pub aliases: AliasFile,
    /// Sends what was taken.
    pub deliverer: Arc<Deliverer>,
    /// Counts what happens.
    pub meter: Arc<Meter>,
    /// Sessions of clients.
    pub running: Running,
    /// Live dialogues.
    pub trace: Hub,
    /// Owner of all tasks.
    pub tasks: Tasks,
    /// Memory for bodies.
    pub budget: Arc<Budget>,
    /// Looks at mail of strangers.
    pub verifier: Verifier,
    /// Opens our connections, and knows them when they come back to us.
    pub connector: Arc<Connector>,
    /// Whether mail can be taken.
    pub readiness: Readiness,
}

impl Gateway {
    /// Must be called inside a tokio runtime.
    pub fn new(
        settings: Settings,
        mut stores: Stores,
        dial: Arc<dyn Dial>,
        clock: Arc<SystemClock>,
    ) -> Arc<Gateway> {
        let trace = Hub::new(clock.clone());
        let tasks = Tasks::default();
        let connector = Arc::new(Connector::new(dial));
        let hello = Hello { name: settings.hostname.clone() };
        // The key of the store takes this one's place before the first listener opens.
        let guard = Arc::new(Mutex::new(Guard::new(rand::random())));
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let meter = Meter::new(Arc::clone(&stores.history), Arc::clone(&settings));
        stores.history = meter.clone();
        let means = Means {
            connector: Arc::clone(&connector),
            hello: hello.clone(),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
            trace: trace.clone(),
            guard: Arc::clone(&guard),
            verdicts: Arc::clone(&stores.verdicts),
            offers: Arc::new(Offers::new(Arc::clone(&stores.settings))),
            refusals: Arc::new(Refusals::new(Arc::clone(&stores.settings))),
            settings: Arc::clone(&settings),
        };
        let delegates = Delegates::new(means, &settings.load().delegates);
        let budget = Budget::new(settings.load().limits.body_memory);
        let sink = trace.clone();
        let deliverer = Deliverer::new(delivery::Deps {
            store: Arc::clone(&stores.mail),
            history: Arc::clone(&stores.history),
            clock: clock.clone(),
            settings: Arc::clone(&settings),
            connector: Arc::clone(&connector),
            hello: hello.clone(),
            // An attempt of a second whose lines are all taken is not written down for nobody.
            trace: Arc::new(move |endpoint| {
                sink.active().then(|| sink.sink("delivery", &endpoint.to_string(), 'N')).flatten()
            }),
        });
        let users = Users::new(Arc::clone(&stores.settings));
        let admins = Admins::new(Arc::clone(&stores.settings));
        let stored = Stored::new(Arc::clone(&stores.settings));
        Arc::new(Gateway {
            settings,
            stores,
            clock,
            delegates,
            guard,
            users,
            admins,
            stored,
            lists: Lists::default(),
            aliases: AliasFile::default(),
            deliverer,
            meter,
            running: Running::default(),
            trace,
            tasks,
            budget,
            verifier: Verifier::default(),
            connector,
            readiness: Readiness::default(),
        })
    }

    /// Puts new settings in force. Running transactions keep theirs.
    pub fn apply(&self, settings: Settings) {
        self.delegates.update(&settings.delegates);
        self.delegates.restore();
        self.settings.store(Arc::new(settings));
        self.deliverer.wake();
    }

    /// Whether this client has named too many unknown recipients to be answered now.
    pub fn guesses_recipients(&self, client: IpAddr) -> bool {
        let budget = self.settings.load().guard.unknown_recipients;
        lock(&self.guard).guesses_recipients(client, &budget, self.clock.tick())
    }

    /// Counts an unknown recipient that this client named.
    pub fn unknown_recipient(&self, client: IpAddr, session: &str) {
        let budget = self.settings.load().guard.unknown_recipients;
        if lock(&self.guard).unknown_recipient(client, &budget, self.clock.tick()) {
            tracing::warn!(%session, %client, blame = "client",
                "too many unknown recipients, not answered for now");
        }
    }

    /// Records what happened.
    pub fn record(&self, event: HistoryEvent) {
        self.stores.history.record(event);
    }
}
