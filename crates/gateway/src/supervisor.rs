//! The supervisor: opens the listeners, starts every long-lived task, reloads, and ends all in order.
//!
//! On stop no new session is taken, sessions end at their next command boundary, a commit or an attempt under way is
//! finished; what is still in the queue is there at the next start.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use vouchsafe_config::{
    AuthWithoutTls, Limits, Listener, ListenerKind, ListenerTls, ProxyProtocol, Settings,
};
use vouchsafe_core::policy;
use vouchsafe_core::ports::Clock;
use vouchsafe_net::authentication::signing::Keys;
use vouchsafe_net::proxy::{self, Told};
use vouchsafe_net::server::{Connection, drive};
use vouchsafe_net::server_tls;
use vouchsafe_net::stream::BoxStream;
use vouchsafe_smtp::Reply;
use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::sasl::Mechanism;
use vouchsafe_smtp::server::{Config, Why};

use crate::collecting;
use crate::control::Control;
use crate::control_socket;
use crate::delegate::lock;
use crate::gateway::Gateway;
use crate::housekeeping;
use crate::reception::{Rename, Session};
use crate::running::RunningSession;
use crate::scanning;

/// How long sessions and attempts may take to come to an end.
const DRAIN: Duration = Duration::from_secs(30);
/// Pause after the system refused us a socket (too many open files): sessions that end give theirs back.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// A gateway with its sockets.
pub struct Supervisor {
    gateway: Arc<Gateway>,
    acceptor: Arc<ArcSwap<TlsAcceptor>>,
    sessions: Arc<Sessions>,
}

impl Supervisor {
    /// Loads the certificate and the keys that sign. Errors are words for the administrator.
    pub fn new(gateway: Arc<Gateway>) -> Result<Supervisor, String> {
        let acceptor = certificate(&gateway.settings.load())?;
        gateway.deliverer.sign_with(keys(&gateway.settings.load())?);
        Ok(Supervisor {
            gateway,
            acceptor: Arc::new(ArcSwap::from_pointee(acceptor)),
            sessions: Arc::default(),
        })
    }

    /// Binds every listener and the control socket, and starts all tasks. Returns the bound addresses.
    pub async fn start(&self, control_socket: Option<&Path>) -> Result<Vec<(String, SocketAddr)>, String> {
        let settings = self.gateway.settings.load_full();
        let mut bound = Vec::new();
        let mut sockets = Vec::new();
        for listener in &settings.listeners {
            for address in &listener.addresses {
                let socket = vouchsafe_net::listener::bind(*address).map_err(|fault| {
                    format!("listener {}: {address}: {fault}; is another server there, or is the port below 1024 and this user not root?", listener.name)
                })?;
                let address = socket.local_addr().map_err(|fault| fault.to_string())?;
                let kind = format!("{:?}", listener.kind).to_lowercase();
                tracing::info!("listening on {address} ({kind} {})", listener.name);
                bound.push((listener.name.clone(), address));
                sockets.push((socket, listener.name.clone()));
            }
        }
        if let Some(path) = control_socket {
            control_socket::serve(path, Control::new(Arc::clone(&self.gateway)), &self.gateway.tasks)
                .await
                .map_err(|fault| format!("control socket {}: {fault}", path.display()))?;
        }
        self.start_tasks().await?;
        for (socket, name) in sockets {
            let port = self.port(name);
            self.gateway.tasks.spawn("listener", async move { port.accept(socket).await });
        }
        self.gateway.readiness.listening();
        Ok(bound)
    }

    /// Takes up what an earlier run knew and starts what runs without a listener: delivery and housekeeping.
    pub async fn start_tasks(&self) -> Result<(), String> {
        // Promise 6: what an earlier run asked counts before the first question of this one.
        housekeeping::restore(&self.gateway)
            .await
            .map_err(|fault| format!("the guard's counters cannot be read: {fault}"))?;
        self.gateway.delegates.offers().restore().await.map_err(|fault| {
            format!("the mechanisms that the delegates offered last cannot be read: {fault}")
        })?;
        let learned = self.gateway.delegates.refusals().restore().await;
        learned.map_err(|fault| format!("what was learned of the delegates cannot be read: {fault}"))?;
        self.gateway.delegates.restore();
        self.gateway.delegates.test_relaying();
        let (deliverer, stop) = (Arc::clone(&self.gateway.deliverer), self.gateway.tasks.stop_signal());
        self.gateway.tasks.spawn("delivery", deliverer.run(stop));
        let gateway = Arc::clone(&self.gateway);
        self.gateway.tasks.spawn("housekeeping", async move { housekeeping::run(&gateway).await });
        let gateway = Arc::clone(&self.gateway);
        self.gateway.tasks.spawn("collecting", async move { collecting::run(&gateway).await });
        let gateway = Arc::clone(&self.gateway);
        self.gateway.tasks.spawn("scanning", async move { scanning::run(&gateway).await });
        Ok(())
    }

    /// A session on a connection that is already there: what the listeners do for each of theirs.
    pub async fn session(&self, listener: &str, stream: BoxStream, peer: Option<SocketAddr>) {
        self.port(listener.to_owned()).session(stream, peer, None).await;
    }

    /// Puts checked settings in force. A certificate or key that cannot be loaded keeps the old ones and says so.
    pub fn reload(&self, settings: Settings) -> Result<(), String> {
        let (acceptor, keys) = (certificate(&settings)?, keys(&settings)?);
        self.acceptor.store(Arc::new(acceptor));
        self.gateway.deliverer.sign_with(keys);
        self.gateway.apply(settings);
        Ok(())
    }

    /// TLS with our certificate as it is whenever that is asked.
    pub fn acceptor(&self) -> impl Fn() -> TlsAcceptor + Send + Sync + 'static {
        let acceptor = Arc::clone(&self.acceptor);
        move || TlsAcceptor::clone(&acceptor.load())
    }

    /// Ends everything in order; true if all came to an end in time.
    pub async fn stop(&self) -> bool {
        self.gateway.tasks.stop();
        let in_time = tokio::time::timeout(DRAIN, self.gateway.tasks.ended()).await.is_ok();
        housekeeping::save(&self.gateway).await;
        self.gateway.meter.close(&self.gateway).await;
        in_time
    }

    fn port(&self, name: String) -> Port {
        Port {
            gateway: Arc::clone(&self.gateway),
            acceptor: Arc::clone(&self.acceptor),
            sessions: Arc::clone(&self.sessions),
            name,
            made: Mutex::default(),
        }
    }
}

/// The DKIM keys. The error names the file.
fn keys(settings: &Settings) -> Result<Keys, String> {
    let places = settings.dkim.iter().map(|key| (&*key.domain, &*key.selector, &*key.key));
    Keys::load(places).map_err(|fault| format!("dkim.key: {fault}"))
}

fn certificate(settings: &Settings) -> Result<TlsAcceptor, String> {
    match &settings.tls {
        Some(files) => server_tls::from_files(&files.certificate, &files.key),
        None => server_tls::self_signed(&settings.data_dir, &settings.hostname),
    }
}

/// Running sessions, in all and by address.
#[derive(Default)]
struct Sessions {
    all: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A session's place; given back when dropped.
struct Place {
    sessions: Arc<Sessions>,
    address: Option<IpAddr>,
}

impl Sessions {
    /// Takes a place; the reply says why there is none (the place is counted all the same while it is refused).
    fn enter(self: &Arc<Self>, limits: &Limits) -> (Place, Option<Reply>) {
        let all = self.all.fetch_add(1, Ordering::Relaxed) + 1;
        let refuse =
            (all > limits.sessions).then(|| Reply::new(421, (4, 3, 2), "Too many sessions, try again later"));
        (Place { sessions: Arc::clone(self), address: None }, refuse)
    }
}

impl Place {
    /// From now on it is this client's; the reply says why it has too many.
    fn belongs_to(&mut self, address: Option<IpAddr>, limits: &Limits) -> Option<Reply> {
        self.leave_address();
        self.address = address;
        let address = address?;
        let mut by_address = lock(&self.sessions.by_address);
        let here = by_address.entry(address).or_default();
        *here += 1;
        (*here > limits.sessions_per_address)
            .then(|| Reply::new(421, (4, 7, 0), "Too many sessions from your address, try again later"))
    }

    fn leave_address(&mut self) {
        let Some(address) = self.address.take() else { return };
        let mut by_address = lock(&self.sessions.by_address);
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sessions.all.fetch_sub(1, Ordering::Relaxed);
        self.leave_address();
    }
}

/// One listener with what its sessions need.
struct Port {
    gateway: Arc<Gateway>,
    acceptor: Arc<ArcSwap<TlsAcceptor>>,
    sessions: Arc<Sessions>,
    name: String,
    made: Mutex<Option<Made>>,
}

/// Machine settings of a listener, made once for each version of the settings: [auth in clear][newlines made CRLF]
/// [XCLIENT believed]. Made anew when a delegate offers other mechanisms.
#[derive(Clone)]
struct Made {
    settings: Arc<Settings>,
    /// Which version of the delegates' mechanisms is announced.
    offers: u64,
    listener: Arc<Listener>,
    configs: [[[Arc<Config>; 2]; 2]; 2],
}

impl Port {
    async fn accept(self, socket: TcpListener) {
        let port = Arc::new(self);
        let mut stop = port.gateway.tasks.stop_signal();
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = stop.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let serving = Arc::clone(&port);
                    let at = stream.local_addr().ok();
                    port.gateway.tasks.spawn("session", async move {
                        serving.session(Box::new(stream), Some(peer), at).await;
                    });
                }
                Err(fault) => {
                    tracing::warn!(blame = "us", listener = %port.name, %fault, "no socket for a client");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            }
        }
    }

    /// `at`: where the connection arrived.
    async fn session(&self, stream: BoxStream, peer: Option<SocketAddr>, at: Option<SocketAddr>) {
        let Some(made) = self.made() else { return };
        let (mut place, full) = self.sessions.enter(&made.settings.limits);
        let named = |peer: Option<SocketAddr>| {
            peer.is_some_and(|peer| policy::in_networks(peer.ip().to_canonical(), &made.listener.proxies))
        };
        let accepted = peer;
        let (stream, peer) = match named(peer) {
            true => match self.behind_proxy(&made, stream, peer).await {
                Some(told) => told,
                None => return,
            },
            false => (stream, peer),
        };
        // A pipe has no ends.
        let ends = at.and(peer).map(|peer| (peer, at.filter(|_| Some(peer) == accepted)));
        // Asked of whoever the PROXY header named: what a client sends through a front end is its own word.
        let xclient = named(peer);
        let address = peer.map(|peer| peer.ip().to_canonical());
        // A front end's sessions are its clients'.
        let many = place.belongs_to(address.filter(|_| !xclient), &made.settings.limits);
        let refuse = full.or(many);
        let implicit = made.listener.tls == ListenerTls::Implicit;
        let acceptor =
            (made.listener.tls != ListenerTls::Off).then(|| TlsAcceptor::clone(&self.acceptor.load()));
        let config = made.config(address, xclient);
        let mut session = Session::new(Arc::clone(&self.gateway), Arc::clone(&made.listener), peer, refuse);
        session.between(ends);
        let id = session.id.clone();
        let _running = self.gateway.running.begin(RunningSession {
            session: id.clone(),
            client: address,
            listener: self.name.clone(),
            since: self.gateway.clock.now(),
        });
        let _place = match xclient {
            true => {
                session.let_rename(rename(made, place));
                None
            }
            false => {
                drop(made);
                Some(place)
            }
        };
        tracing::debug!(session = %id, client = ?address, listener = %self.name, "session began");
        let connection = Connection { stream, acceptor, implicit };
        let drain = self.gateway.tasks.stop_signal();
        let why = drive(connection, config, &self.gateway.clock, &mut session, drain).await;
        if why == Why::Protocol("PROXY header") {
            tracing::warn!(blame = "client", session = %id, client = ?address, listener = %self.name,
                "sent a PROXY header, but is not in listener.proxies");
        }
        if session.found_no_login() {
            self.gateway.delegates.learn(&self.gateway.settings.load());
        }
        tracing::debug!(session = %id, client = ?address, listener = %self.name, ?why, "session ended");
    }

    /// What a named front end says in its PROXY header. `None`: nothing that can be served.
    async fn behind_proxy(
        &self,
        made: &Made,
        stream: BoxStream,
        peer: Option<SocketAddr>,
    ) -> Option<(BoxStream, Option<SocketAddr>)> {
        let odd = |what: &str| {
            tracing::warn!(blame = "client", proxy = ?peer, listener = %self.name, "PROXY header: {what}");
            None
        };
        if made.listener.proxy_protocol == ProxyProtocol::Off {
            return Some((stream, peer));
        }
        match proxy::read(stream).await {
            Ok((stream, Told::Client(client))) => Some((stream, Some(client))),
            Ok((stream, Told::Itself)) => Some((stream, peer)),
            Ok((_, Told::Nothing)) if made.listener.proxy_protocol == ProxyProtocol::Required => {
                odd("there is none, but proxy_protocol is required")
            }
            Ok((stream, Told::Nothing)) => Some((stream, peer)),
            Ok((_, Told::Gone)) => None,
            Err(what) => odd(&what),
        }
    }

    /// The listener under the settings in force. One that a reload took away serves on as it was until the restart.
    fn made(&self) -> Option<Made> {
        let settings = self.gateway.settings.load_full();
        let offers = self.gateway.delegates.offers();
        let version = offers.version();
        let mut made = lock(&self.made);
        let fits = |made: &Made| Arc::ptr_eq(&made.settings, &settings) && made.offers == version;
        if !made.as_ref().is_some_and(fits) {
            let listener = settings.listeners.iter().find(|listener| listener.name == self.name).cloned();
            let listener =
                listener.map(Arc::new).or_else(|| made.as_ref().map(|made| Arc::clone(&made.listener)))?;
            let mechanisms = match listener.kind {
                ListenerKind::Submission => offers.announced(&settings),
                ListenerKind::Mx | ListenerKind::Trusted => Vec::new(),
            };
            *made = Some(Made::new(settings, listener, version, &mechanisms));
        }
        made.clone()
    }
}

/// Moves a session's place to the client that XCLIENT names.
fn rename(made: Made, mut place: Place) -> Rename {
    Box::new(move |client| {
        let address = client.ip().to_canonical();
        match place.belongs_to(Some(address), &made.settings.limits) {
            Some(refused) => Err(refused),
            None => Ok(made.config(Some(address), true)),
        }
    })
}

impl Made {
    fn new(settings: Arc<Settings>, listener: Arc<Listener>, offers: u64, mechanisms: &[Mechanism]) -> Made {
        let config = |auth_in_clear, bare_newline, xclient| {
            let submission = listener.kind == ListenerKind::Submission;
            let mechanisms = mechanisms.iter().map(|mechanism| mechanism.name().to_owned());
            Arc::new(Config {
                hostname: settings.hostname.clone(),
                starttls: listener.tls == ListenerTls::StartTls,
                mechanisms: mechanisms.collect(),
                auth_in_clear,
                auth_required: submission,
                message_size: listener.message_size,
                bare_newline,
                close_on_early_data: listener.kind == ListenerKind::Mx,
                greet_wait: listener.greet_wait,
                xclient,
                limits: settings.limits.session.clone(),
            })
        };
        let told = |clear, newline| [false, true].map(|xclient| config(clear, newline, xclient));
        let pair = |clear| [told(clear, listener.bare_newline), told(clear, BareNewline::Normalize)];
        Made { configs: [pair(false), pair(true)], settings, offers, listener }
    }

    fn config(&self, client: Option<IpAddr>, xclient: bool) -> Arc<Config> {
        let clear = match self.listener.auth_without_tls {
            AuthWithoutTls::Never => false,
            AuthWithoutTls::Loopback => client.is_some_and(|client| client.is_loopback()),
            AuthWithoutTls::Always => true,
        };
        let excluded =
            client.is_some_and(|client| policy::in_networks(client, &self.listener.bare_newline_exclude));
        Arc::clone(&self.configs[usize::from(clear)][usize::from(excluded)][usize::from(xclient)])
    }
}
