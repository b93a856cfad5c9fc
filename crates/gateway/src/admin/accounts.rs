//! Accounts of administrators: password (or the delegate's word for a mail account), role, one-time codes.
//!
//! The last admin cannot be removed nor made less. While there is no account, a one-time password opens the door to
//! the first one and to nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::ports::StoreFault;
use vouchsafe_core::{Timestamp, verdict::Verdict};
use vouchsafe_smtp::{Secret, Tick};

use super::{Admins, Role, check_name, digest, hex, throttle, totp};
use crate::delegate::lock;
use crate::delegate::{Credential, LoginClient};
use crate::gateway::Gateway;
use crate::sources;

const KIND: &str = "account";
/// Shortest password (ASVS 6.2.1 and 6.2.9 like length better than rules).
pub const SHORTEST: usize = 10;
/// Longest; Argon2 would take it all.
const LONGEST: usize = 256;

#[derive(Clone, Serialize, Deserialize)]
struct Record {
    role: Role,
    /// Argon2id; `None`: the account's mail password, whoever answers for logins says.
    password_hash: Option<String>,
    /// Base32; the secret of the one-time codes.
    totp: Option<String>,
    /// The last step whose code was used.
    #[serde(default)]
    totp_used: u64,
    created: Timestamp,
}

/// An account without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdminRow {
    /// Login name; for `by_mail` the mail account's.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Its password is that of the mail account, asked as mail logins are.
    pub by_mail: bool,
    /// One-time codes are on.
    pub totp: bool,
    /// When it was added.
    pub created: Timestamp,
}

/// Why a login was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Name, password or code is wrong; which one is not told.
    Wrong,
    /// The password is right; the code is to be given with it.
    CodeWanted,
    /// Too many wrong ones.
    Wait(Duration),
    /// Nobody can tell now.
    Unavailable(String),
}

impl Admins {
    /// All, by name.
    pub async fn accounts(&self) -> Result<Vec<AdminRow>, StoreFault> {
        Ok(self.load::<Record>(KIND).await?.into_iter().rev().map(row).collect())
    }

    /// One.
    pub async fn account(&self, name: &str) -> Result<Option<AdminRow>, StoreFault> {
        Ok(self.find(name).await?.map(|record| row((name.to_lowercase(), record))))
    }

    /// Makes the one-time password of the first run, if there is no account: to be printed once.
    pub async fn first_password(&self) -> Result<Option<String>, StoreFault> {
        if !self.load::<Record>(KIND).await?.is_empty() {
            return Ok(None);
        }
        let octets: [u8; 10] = rand::random();
        let word = totp::base32(&octets).to_lowercase();
        let word = format!("{}-{}-{}-{}", &word[..4], &word[4..8], &word[8..12], &word[12..]);
        *lock(&self.first) = Some(digest(&word));
        Ok(Some(word))
    }

    /// Whether the first account is still to be made.
    pub fn is_first_run(&self) -> bool {
        lock(&self.first).is_some()
    }

    /// Makes the first account with the one-time password.
    pub async fn begin(
        &self,
        once: &str,
        name: &str,
        password: String,
        client: Option<IpAddr>,
        (now, tick): (Timestamp, Tick),
    ) -> Result<(), String> {
        let key = throttle::network(client);
        let wait = lock(&self.throttle).wait(&key, tick);
        if !wait.is_zero() {
            return Err(format!("too many wrong attempts; wait {} s", wait.as_secs() + 1));
        }
        let once = once.trim().to_lowercase();
        if *lock(&self.first) != Some(digest(&once)) {
            lock(&self.throttle).wrong(&key, tick);
            return Err("that is not the one-time password; `serve` printed it at its start".to_owned());
        }
        if !self.accounts().await.map_err(|fault| fault.to_string())?.is_empty() {
            *lock(&self.first) = None;
            return Err("there is an administrator by now; log in".to_owned());
        }
        self.add(name, Some(password), Role::Admin, now).await
    }

    /// Adds one; without a password its mail account's counts.
    pub async fn add(
        &self,
        name: &str,
        password: Option<String>,
        role: Role,
        now: Timestamp,
    ) -> Result<(), String> {
        check_name(name)?;
        let name = name.to_lowercase();
        if self.find(&name).await.map_err(words)?.is_some() {
            return Err(format!(
                "administrator {name} is there; `vouchsafe admin password {name}` changes it"
            ));
        }
        let password_hash = match password {
            Some(password) => Some(self.hash(password).await?),
            None => None,
        };
        let record = Record { role, password_hash, totp: None, totp_used: 0, created: now };
        self.save(KIND, &name, &record).await.map_err(words)?;
        *lock(&self.first) = None;
        Ok(())
    }

    /// Sets a password. All sessions of the account end but the one named.
    pub async fn set_password(&self, name: &str, password: String, but: Option<&str>) -> Result<(), String> {
        let mut record = self.there(name).await?;
        record.password_hash = Some(self.hash(password).await?);
        self.save(KIND, &name.to_lowercase(), &record).await.map_err(words)?;
        self.sessions().end_all(&name.to_lowercase(), but).await.map_err(words)
    }

    /// Sets a role.
    pub async fn set_role(&self, name: &str, role: Role) -> Result<(), String> {
        let mut record = self.there(name).await?;
        if record.role == Role::Admin && role != Role::Admin {
            self.keep_one(name).await?;
        }
        record.role = role;
        self.save(KIND, &name.to_lowercase(), &record).await.map_err(words)
    }

    /// Removes one, with its sessions.
    pub async fn remove(&self, name: &str) -> Result<(), String> {
        let record = self.there(name).await?;
        if record.role == Role::Admin {
            self.keep_one(name).await?;
        }
        let name = name.to_lowercase();
        self.store.remove_record(KIND, name.clone()).await.map_err(words)?;
        self.sessions().end_all(&name, None).await.map_err(words)
    }

    /// Switches one-time codes on: the secret counts once a code made with it is given.
    pub async fn set_totp(&self, name: &str, secret: &str, code: &str, now: Timestamp) -> Result<(), String> {
        let mut record = self.there(name).await?;
        let octets = totp::from_base32(secret).filter(|octets| octets.len() == 20);
        let octets = octets.ok_or("that is no secret of ours; begin anew")?;
        let step = totp::check(&octets, code, now, 0)
            .ok_or("the code does not fit; is the clock of your phone right?")?;
        (record.totp, record.totp_used) = (Some(secret.to_owned()), step);
        self.save(KIND, &name.to_lowercase(), &record).await.map_err(words)
    }

    /// Switches one-time codes off.
    pub async fn clear_totp(&self, name: &str) -> Result<(), String> {
        let mut record = self.there(name).await?;
        record.totp = None;
        self.save(KIND, &name.to_lowercase(), &record).await.map_err(words)
    }

    async fn hash(&self, password: String) -> Result<String, String> {
        if password.chars().count() < SHORTEST {
            return Err(format!(
                "the password is shorter than {SHORTEST} letters; a few words are easy to keep"
            ));
        }
        if password.len() > LONGEST {
            return Err(format!("the password is longer than {LONGEST} octets; choose a shorter one"));
        }
        self.passwords.hash(Secret::new(password)).await.map_err(words)
    }

    async fn find(&self, name: &str) -> Result<Option<Record>, StoreFault> {
        let name = name.to_lowercase();
        Ok(self.load::<Record>(KIND).await?.into_iter().find(|(known, _)| *known == name).map(|(_, r)| r))
    }

    async fn there(&self, name: &str) -> Result<Record, String> {
        let found = self.find(name).await.map_err(words)?;
        found.ok_or_else(|| format!("no administrator {name}; `vouchsafe admin list` shows them"))
    }

    /// Refuses to leave nobody who may everything.
    async fn keep_one(&self, name: &str) -> Result<(), String> {
        let others = self.accounts().await.map_err(words)?;
        let name = name.to_lowercase();
        match others.iter().any(|other| other.role == Role::Admin && other.name != name) {
            true => Ok(()),
            false => Err(format!("{name} is the last admin; make another one first")),
        }
    }
}

/// A login on the page.
pub struct Attempt {
    /// Name as typed.
    pub name: String,
    /// Password as typed.
    pub password: String,
    /// One-time code, or empty.
    pub code: String,
    /// The client.
    pub client: Option<IpAddr>,
    /// What its browser says it is.
    pub agent: String,
}

/// Tries a login; the token of a new session. Wrong ones wait longer and longer, by network and by name within it.
pub async fn log_in(gateway: &Arc<Gateway>, attempt: Attempt) -> Result<String, Refusal> {
    use vouchsafe_core::ports::Clock;
    let Attempt { name, password, code, client, agent } = attempt;
    let (admins, now, tick) = (&gateway.admins, gateway.clock.now(), gateway.clock.tick());
    let name = name.trim().to_lowercase();
    let network = throttle::network(client);
    // A name that nobody can have is not worth remembering.
    let known = if check_name(&name).is_ok() { name.as_str() } else { "" };
    let keys = [network.clone(), format!("{network} {known}")];
    {
        let mut throttle = lock(&admins.throttle);
        let wait = keys.iter().map(|key| throttle.wait(key, tick)).max().unwrap_or_default();
        if !wait.is_zero() {
            return Err(Refusal::Wait(wait));
        }
        keys.iter().for_each(|key| throttle.wrong(key, tick));
    }
    let take_back = || keys.iter().for_each(|key| lock(&admins.throttle).take_back(key, tick));
    let unavailable = |cause: String| {
        take_back();
        Refusal::Unavailable(cause)
    };
    let broken = |fault: StoreFault| unavailable(fault.to_string());
    let found = admins.find(&name).await.map_err(broken)?;
    let by_mail = found.as_ref().is_some_and(|record| record.password_hash.is_none());
    let right = if by_mail {
        let settings = gateway.settings.load_full();
        let password = Secret::new(password);
        let asked = LoginClient { counted: client, identity: None, session: "web".to_owned() };
        let credential = Credential::Password(password);
        match sources::login(gateway, &settings, &name, &credential, &asked).await.verdict {
            Verdict::Accept(_) => true,
            Verdict::Reject { .. } => false,
            Verdict::Unavailable { cause, .. } => return Err(unavailable(cause)),
            Verdict::PassOn { tell, .. } => return Err(unavailable(tell.to_string())),
        }
    } else {
        let hash = found.as_ref().and_then(|record| record.password_hash.clone());
        admins.passwords.check(hash, Secret::new(password)).await.map_err(broken)?
    };
    let wrong = || {
        tracing::warn!(blame = "client", client = ?client, account = %name.escape_debug(), "wrong login on the web page");
        Refusal::Wrong
    };
    let mut record = found.filter(|_| right).ok_or_else(wrong)?;
    if let Some(secret) = &record.totp {
        if code.trim().is_empty() {
            take_back();
            return Err(Refusal::CodeWanted);
        }
        let octets = totp::from_base32(secret).unwrap_or_default();
        let step = totp::check(&octets, &code, now, record.totp_used).ok_or_else(wrong)?;
        // A code counts once (RFC 6238 §5.2).
        record.totp_used = step;
        admins.save(KIND, &name, &record).await.map_err(broken)?;
    }
    keys.iter().for_each(|key| lock(&admins.throttle).right(key));
    let client = client.map_or_else(|| "local".to_owned(), |address| address.to_canonical().to_string());
    admins.sessions().begin(&name, client, &agent, now).await.map_err(broken)
}

/// The id of a session's token, to end it.
pub fn session_id(token: &str) -> String {
    hex(&digest(token))
}

fn row((name, record): (String, Record)) -> AdminRow {
    let Record { role, password_hash, totp, created, .. } = record;
    AdminRow { name, role, by_mail: password_hash.is_none(), totp: totp.is_some(), created }
}

fn words(fault: StoreFault) -> String {
    fault.to_string()
}
