//! Local users: names and Argon2id hashes in the settings store.
//!
//! A right name with a wrong password and an unknown name take the same time and get the same reply.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use tokio::sync::{OnceCell, Semaphore};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{SettingsStore, StoreFault, User};
use vouchsafe_smtp::Secret;

/// Hashes computed at once: each takes 19 MiB and tens of milliseconds of one core, so a login storm must queue.
const AT_ONCE: usize = 2;

/// The local users.
pub struct Users {
    store: Arc<dyn SettingsStore>,
    places: Semaphore,
    decoy: OnceCell<String>,
}

impl Users {
    /// Over the given store.
    pub fn new(store: Arc<dyn SettingsStore>) -> Users {
        Users { store, places: Semaphore::new(AT_ONCE), decoy: OnceCell::new() }
    }

    /// Whether there is a local user of this name (a login name, or an address for the `local` recipient source).
    pub async fn exists(&self, name: &str) -> Result<bool, StoreFault> {
        Ok(self.find(name).await?.is_some())
    }

    /// Checks a password. `None`: no such user (checked in the same time as a wrong password when `alone`).
    pub async fn check(&self, name: &str, password: Secret, alone: bool) -> Result<Option<bool>, StoreFault> {
        let user = self.find(name).await?;
        if user.is_none() && !alone {
            return Ok(None);
        }
        let known = user.is_some();
        let hash = match user {
            Some(user) => user.password_hash,
            None => self.decoy().await?,
        };
        let right = self.blocking(move || verify(&hash, &password)).await?;
        Ok(Some(known && right))
    }

    /// Adds a user or sets its password.
    pub async fn set(&self, name: &str, password: Secret, now: Timestamp) -> Result<(), StoreFault> {
        let name = name.to_lowercase();
        let created = self.find(&name).await?.map_or(now, |user| user.created);
        let password_hash = self.blocking(move || hash(&password)).await??;
        self.store.put_user(User { name, password_hash, created }).await
    }

    /// Removes a user.
    pub async fn remove(&self, name: &str) -> Result<(), StoreFault> {
        match self.find(name).await? {
            Some(user) => self.store.remove_user(user.name).await,
            None => Err(StoreFault::Missing(format!("user {name}"))),
        }
    }

    /// All users.
    pub async fn list(&self) -> Result<Vec<User>, StoreFault> {
        self.store.users().await
    }

    async fn find(&self, name: &str) -> Result<Option<User>, StoreFault> {
        let name = name.to_lowercase();
        Ok(self.store.users().await?.into_iter().find(|user| user.name == name))
    }

    async fn decoy(&self) -> Result<String, StoreFault> {
        let made = self
            .decoy
            .get_or_try_init(|| async { self.blocking(|| hash(&Secret::new(*b"nobody's password"))).await? });
        made.await.cloned()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreFault> {
        let broken = |why: &str| StoreFault::Broken(format!("password check: {why}"));
        let _place = self.places.acquire().await.map_err(|_| broken("shut down"))?;
        tokio::task::spawn_blocking(work).await.map_err(|_| broken("did not end"))
    }
}

fn verify(hash: &str, password: &Secret) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.expose(), &hash).is_ok())
}

/// Argon2id with the crate's defaults (19 MiB, two passes: OWASP's first choice) and a random salt.
fn hash(password: &Secret) -> Result<String, StoreFault> {
    Argon2::default()
        .hash_password(password.expose())
        .map(|hash| hash.to_string())
        .map_err(|fault| StoreFault::Broken(format!("password hash: {fault}")))
}
