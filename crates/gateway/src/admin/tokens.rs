//! Tokens of the API: named, bound to a role, shown once, kept as digests.

use serde::{Deserialize, Serialize};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::StoreFault;

use super::{Admins, Caller, Role, check_name, digest, hex, random_token};

const KIND: &str = "token";
/// What tells a token of ours from other secrets, for scanners and people.
const PREFIX: &str = "vsafe_";

#[derive(Serialize, Deserialize)]
struct Record {
    role: Role,
    digest: String,
    created: Timestamp,
}

/// A token without what opens the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it was made.
    pub created: Timestamp,
}

impl Admins {
    /// All tokens, by name.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreFault> {
        let records = self.load::<Record>(KIND).await?.into_iter().rev();
        Ok(records.map(|(name, r)| TokenRow { name, role: r.role, created: r.created }).collect())
    }

    /// Makes one; the only time it is told.
    pub async fn add_token(&self, name: &str, role: Role, now: Timestamp) -> Result<String, String> {
        check_name(name)?;
        let there = self.load::<Record>(KIND).await.map_err(|fault| fault.to_string())?;
        if there.iter().any(|(known, _)| known == name) {
            return Err(format!("token {name} is there; remove it first or choose another name"));
        }
        let token = format!("{PREFIX}{}", random_token());
        let record = Record { role, digest: hex(&digest(&token)), created: now };
        self.save(KIND, name, &record).await.map_err(|fault| fault.to_string())?;
        Ok(token)
    }

    /// Removes one.
    pub async fn remove_token(&self, name: &str) -> Result<(), StoreFault> {
        if !self.load::<Record>(KIND).await?.iter().any(|(known, _)| known == name) {
            return Err(StoreFault::Missing(format!("token {name}")));
        }
        self.store.remove_record(KIND, name.to_owned()).await
    }

    /// Who comes with this token.
    pub async fn bearer(&self, token: &str) -> Result<Option<Caller>, StoreFault> {
        // Digests of 256 random bits: comparing them tells nothing by its time.
        let wanted = hex(&digest(token));
        let found = self.load::<Record>(KIND).await?.into_iter().find(|(_, record)| record.digest == wanted);
        Ok(found.map(|(name, record)| Caller { name: format!("token {name}"), role: record.role }))
    }
}
