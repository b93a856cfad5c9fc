//! Local users: names and Argon2id hashes in the settings store.
//!
//! A right name with a wrong password and an unknown name take the same time and get the same reply.

use std::sync::Arc;

use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{SettingsStore, StoreFault, User};
use vouchsafe_smtp::Secret;

use crate::passwords::Passwords;

/// The local users.
pub struct Users {
    store: Arc<dyn SettingsStore>,
    passwords: Passwords,
}

impl Users {
    /// Over the given store.
    pub fn new(store: Arc<dyn SettingsStore>) -> Users {
        Users { store, passwords: Passwords::default() }
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
        let hash = user.map(|user| user.password_hash);
        self.passwords.check(hash, password).await.map(Some)
    }

    /// Adds a user or sets its password.
    pub async fn set(&self, name: &str, password: Secret, now: Timestamp) -> Result<(), StoreFault> {
        let name = name.to_lowercase();
        let created = self.find(&name).await?.map_or(now, |user| user.created);
        let password_hash = self.passwords.hash(password).await?;
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
}
