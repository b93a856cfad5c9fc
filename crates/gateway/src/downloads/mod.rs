//! The door of the download pages: what whoever holds a link may see and do. Not for administrators: it knows links, and
//! nothing else of the gateway.
//!
//! A link opens a page; a button on it asks for a file, which is counted, and gives a grant with which the file is read
//! for a day, in as many pieces as it takes. What is opened without the button (by scanners of links, previews, HEAD)
//! counts nothing. A link that never was, one that has been over for longer than the grace, and what is no link at all
//! are refused alike. Proof: `crates/web/tests/downloads/`.

mod codes;
mod content;
mod sender;

pub use content::{Facts, Opened, Reading};
pub use sender::Wish;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipnet::IpNet;
use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::{Access, Landing, ShareChange, SharedFile, Standing};
use vouchsafe_core::bucket::Buckets;
use vouchsafe_core::links::{GrantKey, Token};
use vouchsafe_core::policy::in_networks;
use vouchsafe_core::ports::{Clock, StoreFault};
use vouchsafe_core::scan::{Release, release};
use vouchsafe_core::stub::Language;
use vouchsafe_smtp::Secret;

use crate::admin::throttle::Throttle;
use crate::delegate::lock;
use crate::gateway::Gateway;
use crate::passwords::Passwords;

/// Requests of one client: at once, and one more every so often. A client that fetches in pieces makes many.
const REQUESTS: (u32, Duration) = (300, Duration::from_millis(100));
/// Well-formed links that lead nowhere, of one client: past these it is not answered for a while.
const GUESSES: (u32, Duration) = (40, Duration::from_secs(15));
/// Files read at once by one client, and by all: each holds two chunks in memory.
const READINGS: (usize, usize) = (48, 1000);
/// A grant to read a file.
const GRANT: Duration = Duration::from_secs(24 * 3600);
/// A password or a code, once said, is good for so long.
const PASS: Duration = Duration::from_secs(2 * 3600);
/// Grants that are not for one file.
const ALL: u32 = u32::MAX;
const PASSWORD: u32 = u32::MAX - 1;
const CODE: u32 = u32::MAX - 2;
/// Name of the key in the store with which grants are made.
const KEY: &str = "grant_key";

/// Who follows a link.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    /// The client's address, where it has one.
    pub client: Option<IpAddr>,
    /// Passes that it got for a password or a code.
    pub passes: &'a [&'a str],
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The file at this position.
    File(u32),
    /// All of them, in an archive.
    All,
}

impl Which {
    fn number(self) -> u32 {
        match self {
            Which::File(position) => position,
            Which::All => ALL,
        }
    }
}

/// Why somebody gets nothing, or not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing; the same for whatever never was and is no more.
    Nothing,
    /// It comes too often; again after this.
    Wait(Duration),
    /// Nobody can tell now.
    Unavailable,
    /// The password that the sender has set is wanted.
    Password {
        /// One was given, and it is wrong.
        wrong: bool,
    },
    /// A code that is mailed is wanted.
    Code(Wanted),
    /// The sender or an administrator took the link back.
    Revoked,
    /// The time is up.
    Expired {
        /// Since then.
        until: Timestamp,
        /// The sender may be asked for more.
        may_ask: bool,
        /// That was done already.
        asked: bool,
    },
    /// The link has fetched the file as often as it may.
    UsedUp,
    /// It is not given now: it is being checked, was not, or is harmful.
    Withheld(Release),
}

/// How a code is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The only address that it can go to, with most of it hidden; `None`: whoever asks must name his own.
    pub to: Option<String>,
    /// One was given, and it is wrong or too old.
    pub wrong: bool,
}

/// The door. One for all listeners.
pub struct Downloads {
    gateway: Arc<Gateway>,
    key: GrantKey,
    passwords: Passwords,
    limits: Mutex<Limits>,
    readings: Arc<Readings>,
}

struct Limits {
    requests: Buckets<IpAddr>,
    guesses: Buckets<IpAddr>,
    passwords: Throttle,
    codes: codes::Codes,
}

impl Downloads {
    /// Takes up the key of earlier grants, or makes one.
    pub async fn open(gateway: Arc<Gateway>) -> Result<Arc<Downloads>, StoreFault> {
        let settings = &gateway.stores.settings;
        let key = match settings.value(KEY).await?.and_then(|text| from_hex(&text)) {
            Some(key) => key,
            None => {
                let key: [u8; 32] = rand::random();
                settings.put_value(KEY, vouchsafe_core::attachments::hex(&key)).await?;
                key
            }
        };
        let limits = Limits {
            requests: Buckets::new(REQUESTS.0, REQUESTS.1),
            guesses: Buckets::new(GUESSES.0, GUESSES.1),
            passwords: Throttle::default(),
            codes: codes::Codes::default(),
        };
        Ok(Arc::new(Downloads {
            gateway,
            key: GrantKey::new(key),
            passwords: Passwords::default(),
            limits: Mutex::new(limits),
            readings: Arc::default(),
        }))
    }

    /// The client's address: the peer's, or what trusted proxies say of theirs, the nearest word first.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        client(peer, forwarded, &self.gateway.settings.load().web.proxies)
    }

    /// Our name, for pages.
    pub fn hostname(&self) -> String {
        self.gateway.settings.load().hostname.clone()
    }

    /// The language of pages, where a browser names none that there is.
    pub fn language(&self) -> Language {
        self.gateway.settings.load().attachments.language
    }

    /// Recipients reach the pages over TLS.
    pub fn is_secure(&self) -> bool {
        let settings = self.gateway.settings.load();
        settings.attachments.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
    }

    /// Where a link leads: the files and what is known of them.
    pub async fn visit(&self, token: &str, visitor: Visitor<'_>) -> Result<Landing, Refusal> {
        self.enter(token, visitor).await.map(|(_, landing)| landing)
    }

    /// Whether a file of a share is given.
    pub fn release(&self, landing: &Landing, file: &SharedFile) -> Release {
        release(file.check, landing.share.known_sender, self.gateway.settings.load().attachments.unscanned)
    }

    /// Counts a download and gives the grant to read it. Only what comes by a button may call this.
    pub async fn fetch(&self, token: &str, which: Which, visitor: Visitor<'_>) -> Result<String, Refusal> {
        let (token, landing) = self.enter(token, visitor).await?;
        let files = self.wanted(&landing, which)?;
        if files.iter().any(|file| landing.left(file.position) == Some(0)) {
            return Err(Refusal::UsedUp);
        }
        let files: Vec<u32> = files.iter().map(|file| file.position).collect();
        let (link, message) = (token.hash(), landing.share.message);
        let client = visitor.client.map(|client| client.to_string()).unwrap_or_default();
        tracing::info!(id = %message, link = link.id(), client, ?files, "files are fetched");
        let change = ShareChange::Downloaded { link, files };
        self.change(change, client).await.map_err(|refusal| match refusal {
            // Somebody took the last one a moment before.
            Refusal::Nothing => Refusal::UsedUp,
            other => other,
        })?;
        Ok(self.key.grant(&token, which.number(), self.gateway.clock.now() + GRANT))
    }

    /// What a grant opens. Nothing is counted.
    pub async fn granted(
        &self,
        token: &str,
        which: Which,
        grant: &str,
        client: Option<IpAddr>,
    ) -> Result<Opened, Refusal> {
        let (token, landing) = self.find(token, client).await?;
        if !self.key.holds(&token, which.number(), grant, self.gateway.clock.now()) {
            return Err(Refusal::Nothing);
        }
        standing(&landing, self.landing_standing(&landing))?;
        let files = self.wanted(&landing, which)?;
        Ok(Opened::new(&landing.share, &files, which))
    }

    /// Reads a stretch of what was opened.
    pub async fn read(
        &self,
        opened: &Opened,
        range: std::ops::Range<u64>,
        client: Option<IpAddr>,
    ) -> Result<Reading, Refusal> {
        let place = self.readings.enter(bucket(client)).ok_or(Refusal::Wait(Duration::from_secs(30)))?;
        let blobs = self.gateway.stores.blobs.clone().ok_or(Refusal::Nothing)?;
        opened.read(blobs, range, place).await.map_err(unavailable)
    }

    /// Gives a pass for the sender's password.
    pub async fn unlock(
        &self,
        token: &str,
        password: &str,
        client: Option<IpAddr>,
    ) -> Result<String, Refusal> {
        let (token, landing) = self.find(token, client).await?;
        standing(&landing, self.landing_standing(&landing))?;
        let Some(hash) = landing.share.password.clone() else { return Err(Refusal::Nothing) };
        let key = format!("{} {}", token.hash().id(), bucket(client));
        let wait = {
            let mut limits = lock(&self.limits);
            let wait = limits.passwords.wait(&key, self.gateway.clock.tick());
            if wait.is_zero() {
                // Counts as wrong until it is known to be right: guesses made at once count each other.
                limits.passwords.wrong(&key, self.gateway.clock.tick());
            }
            wait
        };
        if !wait.is_zero() {
            return Err(Refusal::Wait(wait));
        }
        let right = self.passwords.check(Some(hash), Secret::new(password.as_bytes())).await;
        match right.map_err(unavailable)? {
            true => {
                lock(&self.limits).passwords.right(&key);
                Ok(self.key.grant(&token, PASSWORD, self.gateway.clock.now() + PASS))
            }
            false => Err(Refusal::Password { wrong: true }),
        }
    }

    /// Asks the sender for more time, once until he is told.
    pub async fn ask_for_time(&self, token: &str, client: Option<IpAddr>) -> Result<(), Refusal> {
        let (token, landing) = self.find(token, client).await?;
        match standing(&landing, self.landing_standing(&landing)) {
            Err(Refusal::Expired { may_ask: true, asked: false, .. }) => {
                let who = client.map(|client| client.to_string()).unwrap_or_default();
                self.change(ShareChange::Asked { link: token.hash() }, who).await
            }
            Err(Refusal::Expired { may_ask: true, asked: true, .. }) => Ok(()),
            Err(refusal) => Err(refusal),
            // It was extended meanwhile.
            Ok(()) => Ok(()),
        }
    }

    /// A link as its page shows it: not over, with what else is asked for.
    async fn enter(&self, token: &str, visitor: Visitor<'_>) -> Result<(Token, Landing), Refusal> {
        let (token, landing) = self.find(token, visitor.client).await?;
        standing(&landing, self.landing_standing(&landing))?;
        let now = self.gateway.clock.now();
        let has = |what| visitor.passes.iter().any(|pass| self.key.holds(&token, what, pass, now));
        if landing.share.password.is_some() && !has(PASSWORD) {
            return Err(Refusal::Password { wrong: false });
        }
        if landing.share.access == Access::Code && !has(CODE) {
            return Err(Refusal::Code(Wanted { to: codes::only_address(&landing), wrong: false }));
        }
        Ok((token, landing))
    }

    /// A link that is there, in whatever state.
    async fn find(&self, token: &str, client: Option<IpAddr>) -> Result<(Token, Landing), Refusal> {
        self.admit(client)?;
        let token: Token = token.parse().map_err(|_| Refusal::Nothing)?;
        let found = self.gateway.stores.attachments.landing(token.hash()).await.map_err(unavailable)?;
        match found.filter(|landing| self.landing_standing(landing) != Standing::Gone) {
            Some(landing) => Ok((token, landing)),
            None => Err(self.nothing(client)),
        }
    }

    /// Counts a request.
    fn admit(&self, client: Option<IpAddr>) -> Result<(), Refusal> {
        let (client, now) = (bucket(client), self.gateway.clock.tick());
        let mut limits = lock(&self.limits);
        let guessing = limits.guesses.wait(&client, now);
        if !guessing.is_zero() {
            return Err(Refusal::Wait(guessing));
        }
        limits.requests.take(client, now).map_err(Refusal::Wait)
    }

    /// Counts a link that led nowhere.
    fn nothing(&self, client: Option<IpAddr>) -> Refusal {
        let (client, now) = (bucket(client), self.gateway.clock.tick());
        let mut limits = lock(&self.limits);
        if limits.guesses.take(client, now).is_ok() && !limits.guesses.wait(&client, now).is_zero() {
            tracing::warn!(%client, blame = "client", "too many links that lead nowhere, not answered for now");
        }
        Refusal::Nothing
    }

    fn landing_standing(&self, landing: &Landing) -> Standing {
        landing.standing(self.gateway.clock.now(), self.gateway.settings.load().attachments.grace)
    }

    /// The files that are asked for; all must be given.
    fn wanted<'a>(&self, landing: &'a Landing, which: Which) -> Result<Vec<&'a SharedFile>, Refusal> {
        let is_meant = |file: &&SharedFile| which == Which::All || which == Which::File(file.position);
        let files: Vec<&SharedFile> = landing.share.files.iter().filter(is_meant).collect();
        if files.is_empty() {
            return Err(Refusal::Nothing);
        }
        let held = files.iter().map(|file| self.release(landing, file)).find(|release| !release.is_given());
        held.map_or(Ok(files), |held| Err(Refusal::Withheld(held)))
    }

    async fn change(&self, change: ShareChange, who: String) -> Result<(), Refusal> {
        let changed = self.gateway.stores.attachments.change(change, who, self.gateway.clock.now()).await;
        changed.map_err(|fault| match fault {
            StoreFault::Missing(_) => Refusal::Nothing,
            fault => unavailable(fault),
        })
    }
}

/// What a link that does not show its files shows.
fn standing(landing: &Landing, standing: Standing) -> Result<(), Refusal> {
    let share = &landing.share;
    match standing {
        Standing::Open => Ok(()),
        Standing::Revoked => Err(Refusal::Revoked),
        Standing::Expired => Err(Refusal::Expired {
            until: share.expires,
            // Only senders that are known to be who they say are ever mailed.
            may_ask: share.known_sender && !share.sender.is_empty(),
            asked: share.asked,
        }),
        Standing::Gone => Err(Refusal::Nothing),
    }
}

fn unavailable(fault: StoreFault) -> Refusal {
    tracing::error!(blame = "us", %fault, "a download page could not be made");
    Refusal::Unavailable
}

/// The client from which proxies forward: read from the nearest on, up to the first that is no proxy of ours.
fn client<'a>(
    peer: IpAddr,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    proxies: &[IpNet],
) -> IpAddr {
    let mut client = peer.to_canonical();
    for said in forwarded.rev() {
        if !in_networks(client, proxies) {
            break;
        }
        match said.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            Err(_) => break,
        }
    }
    client
}

/// Whom requests are counted for: an address, or the /64 that one IPv6 client has.
fn bucket(client: Option<IpAddr>) -> IpAddr {
    match client.map(|client| client.to_canonical()) {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(IpAddr::V6(v6)) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (!0 << 64))),
        Some(v4) => v4,
    }
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let octet = |at: usize| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok();
    let octets: Vec<u8> = (0..32).map_while(octet).collect();
    octets.try_into().ok()
}

/// Files being read, by client.
#[derive(Default)]
struct Readings(Mutex<HashMap<IpAddr, usize>>);

/// One of them; given back when dropped.
struct Place {
    readings: Arc<Readings>,
    client: IpAddr,
}

impl Readings {
    fn enter(self: &Arc<Readings>, client: IpAddr) -> Option<Place> {
        let mut by_client = lock(&self.0);
        let all: usize = by_client.values().sum();
        let here = by_client.entry(client).or_default();
        if *here >= READINGS.0 || all >= READINGS.1 {
            return None;
        }
        *here += 1;
        Some(Place { readings: Arc::clone(self), client })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_client = lock(&self.readings.0);
        if let Some(here) = by_client.get_mut(&self.client) {
            *here -= 1;
            if *here == 0 {
                by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proxies_of_ours_say_who_a_client_is() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let told = |peer: &str, list: &[&'static str]| client(ip(peer), list.iter().copied(), &proxies);
        assert_eq!(told("192.0.2.1", &["203.0.113.9"]), ip("192.0.2.1"));
        assert_eq!(told("10.0.0.1", &["203.0.113.9"]), ip("203.0.113.9"));
        // What the client itself put in front is its own word.
        assert_eq!(told("10.0.0.1", &["198.51.100.1", " 203.0.113.9", "10.2.3.4"]), ip("203.0.113.9"));
        assert_eq!(told("::ffff:10.0.0.1", &["unknown"]), ip("10.0.0.1"));
        assert_eq!(told("10.0.0.1", &[]), ip("10.0.0.1"));
    }

    #[test]
    fn one_client_has_so_many_readings_at_once() {
        let readings = Arc::new(Readings::default());
        let (one, other) = (bucket(Some("2001:db8::1".parse().unwrap())), bucket(None));
        assert_eq!(one, bucket(Some("2001:db8::ffff:1".parse().unwrap())));
        let mut places: Vec<Place> = (0..READINGS.0).map(|_| readings.enter(one).unwrap()).collect();
        assert!(readings.enter(one).is_none());
        assert!(readings.enter(other).is_some());
        places.pop();
        assert!(readings.enter(one).is_some());
        drop(places);
        assert!(lock(&readings.0).is_empty());
    }
}
