//! The sender's own page: how often his files were fetched; more time, taking them back, a password.
//!
//! His links are drawn when he is mailed; whoever holds one acts as the sender.

use std::net::IpAddr;

use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::{Share, ShareChange};
use vouchsafe_core::links::Token;
use vouchsafe_core::ports::Clock;
use vouchsafe_smtp::Secret;

use super::{Downloads, Refusal, unavailable};

/// Characters of a password.
const PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;

/// What the sender wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The links are good for as long again as links are.
    Extend,
    /// They lead nowhere from now on.
    Recall,
    /// A password is asked for from now on; empty: none any more.
    Password(String),
}

impl Downloads {
    /// The share that a sender's link leads to, in whatever state, as long as the files are there.
    pub async fn manage(&self, token: &str, client: Option<IpAddr>) -> Result<Share, Refusal> {
        self.admit(client)?;
        let token: Token = token.parse().map_err(|_| Refusal::Nothing)?;
        let found = self.gateway.stores.attachments.sender_share(token.hash()).await.map_err(unavailable)?;
        let grace = self.gateway.settings.load().attachments.grace;
        let now = self.gateway.clock.now();
        found.filter(|share| now < share.expires + grace).ok_or_else(|| self.nothing(client))
    }

    /// Until when the links would be good if they were extended now: never less than they are.
    pub fn extension(&self, share: &Share) -> Timestamp {
        let until = self.gateway.clock.now() + self.gateway.settings.load().attachments.expire;
        until.max(share.expires)
    }

    /// The time now, to show states by.
    pub fn now(&self) -> Timestamp {
        self.gateway.clock.now()
    }

    /// Does what the sender wants. False: it is no password.
    pub async fn act(&self, token: &str, wish: Wish, client: Option<IpAddr>) -> Result<bool, Refusal> {
        let share = self.manage(token, client).await?;
        let message = share.message;
        let change = match wish {
            Wish::Extend => ShareChange::Extend { message, until: self.extension(&share) },
            Wish::Recall => ShareChange::Revoke { message, link: None },
            Wish::Password(text) if text.is_empty() => ShareChange::Password { message, hash: None },
            Wish::Password(text) if !PASSWORD.contains(&text.chars().count()) => return Ok(false),
            Wish::Password(text) => {
                let hash = self.passwords.hash(Secret::new(text.into_bytes())).await.map_err(unavailable)?;
                ShareChange::Password { message, hash: Some(hash) }
            }
        };
        let client = client.map(|client| client.to_string()).unwrap_or_default();
        tracing::info!(id = %message, client, "the sender changed what becomes of his files");
        self.change(change, format!("sender, {client}")).await.map(|()| true)
    }
}
