//! Argon2id for local users and administrators: checks and hashes, a few at once.
//!
//! A check against nobody takes as long as one against somebody. Never stores, never logs.

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Argon2, PasswordHash};
use tokio::sync::{OnceCell, Semaphore};
use vouchsafe_core::ports::StoreFault;
use vouchsafe_smtp::Secret;

/// Hashes computed at once: each takes 19 MiB and tens of milliseconds of one core, so a login storm must queue.
const AT_ONCE: usize = 2;

/// The places in which passwords are checked.
pub struct Passwords {
    places: Semaphore,
    decoy: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { places: Semaphore::new(AT_ONCE), decoy: OnceCell::new() }
    }
}

impl Passwords {
    /// Whether the password is that of the hash; `None`: nobody's, which takes the same time.
    pub async fn check(&self, hash: Option<String>, password: Secret) -> Result<bool, StoreFault> {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self.decoy().await?,
        };
        Ok(self.blocking(move || verify(&hash, &password)).await? && known)
    }

    /// A fresh PHC string.
    pub async fn hash(&self, password: Secret) -> Result<String, StoreFault> {
        self.blocking(move || hash(&password)).await?
    }

    async fn decoy(&self) -> Result<String, StoreFault> {
        let made = self.decoy.get_or_try_init(|| self.hash(Secret::new(*b"nobody's password")));
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
