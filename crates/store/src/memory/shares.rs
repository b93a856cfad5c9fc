//! Shares, links, blobs and the audit log in memory.

use std::collections::{BTreeMap, HashMap};

use vouchsafe_core::attachments::{
    AttachmentStore, AuditRow, BlobRef, Check, Landing, Share, ShareChange, ShareFilter, SharedFile, Telling,
    UploadLog, Usage,
};
use vouchsafe_core::links::TokenHash;
use vouchsafe_core::ports::{BoxFuture, StoreFault};
use vouchsafe_core::{MessageId, Timestamp};

use super::{MemoryStore, ready};
use crate::limit_of;
use crate::queue;
use crate::shares::{Line, Ready, check_line, line, links_gone, matches, replaces, used_up};

/// What a store knows of detached files.
#[derive(Default)]
pub struct Shares {
    shares: BTreeMap<MessageId, Share>,
    links: HashMap<TokenHash, MessageId>,
    sender_links: HashMap<TokenHash, MessageId>,
    fetched: BTreeMap<([u8; 32], u32), u64>,
    blobs: BTreeMap<String, Blob>,
    audit: Vec<AuditRow>,
    uploads: BTreeMap<String, String>,
}

struct Blob {
    sha256: [u8; 32],
    reference: BlobRef,
    doomed: bool,
    check: Check,
    scanned: bool,
}

impl Shares {
    /// What a message's acceptance brings. An equal blob that is there takes the place of a fresh one.
    pub fn insert(&mut self, ready: &Ready) {
        let mut share = ready.share.clone();
        for (file, fresh) in share.files.iter_mut().zip(&ready.blobs) {
            let equal =
                |blob: &&Blob| !blob.doomed && blob.sha256 == fresh.sha256 && blob.reference.len == fresh.len;
            let mut equal: Vec<&Blob> = self.blobs.values().filter(equal).collect();
            equal.sort_by_key(|blob| blob.check != Check::Found);
            let there = equal.into_iter().find(|there| replaces(there.check, there.scanned, file.check));
            let there = there.map(|blob| blob.reference.clone());
            if there.as_ref().is_none_or(|there| there.name != fresh.name) {
                let (sha256, reference, doomed) = (fresh.sha256, fresh.reference(), there.is_some());
                let blob = Blob { sha256, reference, doomed, check: file.check, scanned: false };
                self.blobs.insert(fresh.name.clone(), blob);
            }
            file.blob = Some(there.unwrap_or_else(|| fresh.reference()));
        }
        for token in &ready.tokens {
            self.links.insert(*token, share.message);
        }
        let created = share.created;
        self.shares.insert(share.message, share);
        self.write_down(ready.line(), &ready.who, created);
    }

    fn write_down(&mut self, line: Line, who: &str, now: Timestamp) {
        let last = self.audit.last().map(|row| (row.number, row.chain.as_str()));
        self.audit.push(line.behind(last, who, now));
    }

    /// Changes a share.
    pub fn change(&mut self, change: &ShareChange, who: &str, now: Timestamp) -> Result<(), StoreFault> {
        let message = match change {
            ShareChange::Downloaded { link, .. } | ShareChange::Asked { link } => {
                let found = self.links.get(link).copied();
                found.ok_or_else(|| StoreFault::Missing(format!("link {}", link.id())))?
            }
            ShareChange::Revoke { message, .. }
            | ShareChange::Extend { message, .. }
            | ShareChange::Hold { message, .. }
            | ShareChange::Erase { message }
            | ShareChange::Password { message, .. }
            | ShareChange::Told { message, .. }
            | ShareChange::SenderLink { message, .. } => *message,
        };
        let missing = || StoreFault::Missing(format!("detached files of message {message}"));
        let share = self.shares.get_mut(&message).ok_or_else(missing)?;
        match change {
            ShareChange::Downloaded { link, files } => {
                let row = share.links.iter().find(|row| row.id == link.id()).ok_or_else(missing)?;
                for position in files {
                    let fetched = self.fetched.get(&(link.0, *position)).copied().unwrap_or(0);
                    let is_there = share.files.iter().any(|file| file.position == *position);
                    if !is_there || !row.leads_to(*position) {
                        return Err(missing());
                    }
                    if share.cap.is_some_and(|cap| fetched >= u64::from(cap)) {
                        return Err(used_up(*link));
                    }
                }
                for position in files {
                    *self.fetched.entry((link.0, *position)).or_default() += 1;
                }
                share.files.iter_mut().filter(|file| files.contains(&file.position)).for_each(|file| {
                    file.downloads += 1;
                });
                for row in share.links.iter_mut().filter(|row| row.id == link.id()) {
                    row.downloads += files.len() as u64;
                    row.last_download = Some(now);
                }
            }
            ShareChange::Revoke { link: Some(link), .. } => {
                let row = share.links.iter_mut().find(|row| row.id == *link).ok_or_else(missing)?;
                row.revoked.get_or_insert(now);
            }
            ShareChange::Revoke { link: None, .. } => {
                share.revoked.get_or_insert(now);
            }
            ShareChange::Extend { until, .. } => {
                share.expires = *until;
                (share.revoked, share.reminded, share.asked) = (None, false, false);
            }
            ShareChange::Hold { on, .. } => share.hold = *on,
            ShareChange::Password { hash, .. } => share.password = hash.clone(),
            ShareChange::Told { what: Telling::Reminder, .. } => share.reminded = true,
            ShareChange::Told { what: Telling::Receipt, .. } => share.receipted = true,
            ShareChange::Told { what: Telling::MoreTime, .. } => share.asked = false,
            ShareChange::Asked { .. } => share.asked = true,
            ShareChange::SenderLink { link, .. } => {
                self.sender_links.insert(*link, message);
            }
            ShareChange::Erase { .. } if share.hold => return Err(missing()),
            ShareChange::Erase { .. } => self.erase(message),
        }
        if let Some(line) = line(change, message) {
            self.write_down(line, who, now);
        }
        Ok(())
    }

    /// The first place of a blob in every message that has it, with its name there.
    fn files_of(&self, blob: &str) -> Vec<(MessageId, u32, String)> {
        let is_it = |file: &&SharedFile| file.blob.as_ref().is_some_and(|known| known.name == blob);
        let found = |share: &Share| {
            let file = share.files.iter().find(is_it)?;
            Some((share.message, file.position, file.file_name.clone()))
        };
        self.shares.values().filter_map(found).collect()
    }

    fn set_check(&mut self, blob: &str, check: Check, detail: &str, who: &str, now: Timestamp) {
        let Some(known) = self.blobs.get_mut(blob) else { return };
        let before = std::mem::replace(&mut known.check, check);
        known.scanned = true;
        for (message, position, name) in self.files_of(blob) {
            if let Some(line) = check_line(before, check, (position, &name), detail, message) {
                self.write_down(line, who, now);
            }
        }
    }

    fn erase(&mut self, message: MessageId) {
        self.shares.remove(&message);
        let gone = self.links.extract_if(|_, of| *of == message).map(|(link, _)| link.0);
        let gone: Vec<[u8; 32]> = gone.collect();
        self.fetched.retain(|(link, _), _| !gone.contains(link));
        self.sender_links.retain(|_, of| *of != message);
        let named = |name: &str| {
            let mut files = self.shares.values().flat_map(|share| &share.files);
            files.any(|file| file.blob.as_ref().is_some_and(|blob| blob.name == name))
        };
        let doomed: Vec<String> = self.blobs.keys().filter(|name| !named(name)).cloned().collect();
        for name in doomed {
            if let Some(blob) = self.blobs.get_mut(&name) {
                blob.doomed = true;
            }
        }
    }
}

impl Shares {
    /// A share as it is looked up: what a scanner says belongs to the blobs.
    fn shown(&self, message: &MessageId) -> Option<Share> {
        let mut share = self.shares.get(message)?.clone();
        for file in &mut share.files {
            let blob = file.blob.as_ref().and_then(|blob| self.blobs.get(&blob.name));
            file.check = blob.map_or(Check::Found, |blob| blob.check);
        }
        Some(share)
    }
}

impl AttachmentStore for MemoryStore {
    fn landing(&self, link: TokenHash) -> BoxFuture<'_, Result<Option<Landing>, StoreFault>> {
        let state = self.lock();
        let shares = &state.shares;
        let found = shares.links.get(&link).and_then(|message| shares.shown(message)).and_then(|share| {
            let row = share.links.iter().find(|row| row.id == link.id()).cloned()?;
            let downloads = row.downloads;
            let fetched = shares.fetched.range((link.0, 0)..=(link.0, u32::MAX));
            let fetched = fetched.map(|((_, position), count)| (*position, *count)).collect();
            Some(Landing { share: share.behind(row), downloads, fetched })
        });
        ready(Ok(found))
    }

    fn sender_share(&self, link: TokenHash) -> BoxFuture<'_, Result<Option<Share>, StoreFault>> {
        let state = self.lock();
        let shares = &state.shares;
        ready(Ok(shares.sender_links.get(&link).and_then(|message| shares.shown(message))))
    }

    fn shares(&self, filter: ShareFilter) -> BoxFuture<'_, Result<Vec<Share>, StoreFault>> {
        let state = self.lock();
        let shown = |message: &MessageId| state.shares.shown(message);
        let found = state.shares.shares.keys().filter_map(shown).filter(|share| matches(&filter, share));
        let waits = |share: &Share| state.messages.get(&share.message).is_some_and(|stored| stored.open > 0);
        let mut found: Vec<Share> = found.filter(|share| !(filter.left_queue && waits(share))).collect();
        if filter.newest_first {
            found.reverse();
        }
        let beyond = |share: &Share| match (filter.behind, filter.newest_first) {
            (None, _) => true,
            (Some(behind), true) => share.message < behind,
            (Some(behind), false) => share.message > behind,
        };
        found.retain(beyond);
        found.truncate(limit_of(filter.limit));
        ready(Ok(found))
    }

    fn change(
        &self,
        change: ShareChange,
        who: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        let done = state.check().and_then(|()| state.shares.change(&change, &who, now));
        if let (Ok(()), Some((message, words))) = (&done, links_gone(&change, &who)) {
            state.change_each(|delivery, _| {
                delivery.message.id == message && queue::hold_linked(delivery, &words)
            });
        }
        ready(done)
    }

    fn usage(&self, owner: String, domain: String) -> BoxFuture<'_, Result<Usage, StoreFault>> {
        let state = self.lock();
        let sum = |name: &str, of: fn(&Share) -> &String| {
            let all = state.shares.shares.values().filter(|share| !name.is_empty() && of(share) == name);
            all.map(Share::size).sum()
        };
        ready(Ok(Usage {
            user: sum(&owner, |share| &share.owner),
            domain: sum(&domain, |share| &share.domain),
        }))
    }

    fn doomed_blobs(&self, limit: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        let state = self.lock();
        let doomed = state.shares.blobs.iter().filter(|(_, blob)| blob.doomed);
        ready(Ok(doomed.take(limit).map(|(name, _)| name.clone()).collect()))
    }

    fn forget_blobs(&self, names: Vec<String>) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        state.shares.blobs.retain(|name, blob| !blob.doomed || !names.contains(name));
        ready(Ok(()))
    }

    fn unknown_blobs(&self, names: Vec<String>) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        let state = self.lock();
        ready(Ok(names.into_iter().filter(|name| !state.shares.blobs.contains_key(name)).collect()))
    }

    fn unchecked_blobs(&self, limit: usize) -> BoxFuture<'_, Result<Vec<BlobRef>, StoreFault>> {
        let state = self.lock();
        let waiting = |blob: &&Blob| blob.check == Check::Waiting && !blob.doomed;
        let blobs = state.shares.blobs.values().filter(waiting).take(limit);
        ready(Ok(blobs.map(|blob| blob.reference.clone()).collect()))
    }

    fn set_check(
        &self,
        blob: String,
        check: Check,
        detail: String,
        who: String,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), StoreFault>> {
        let mut state = self.lock();
        ready(state.check().map(|()| state.shares.set_check(&blob, check, &detail, &who, now)))
    }

    fn messages_of(&self, blob: String) -> BoxFuture<'_, Result<Vec<MessageId>, StoreFault>> {
        let state = self.lock();
        ready(Ok(state.shares.files_of(&blob).into_iter().map(|(message, ..)| message).collect()))
    }

    fn audit(
        &self,
        after: i64,
        message: Option<MessageId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreFault>> {
        let state = self.lock();
        let of_it = |row: &&AuditRow| message.is_none_or(|message| row.message == Some(message));
        let lines = state.shares.audit.iter().filter(|row| row.number > after).filter(of_it);
        ready(Ok(lines.take(limit_of(limit)).cloned().collect()))
    }
}

impl UploadLog for MemoryStore {
    fn upload_begun(&self, name: String, upload: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.lock().shares.uploads.insert(name, upload);
        ready(Ok(()))
    }

    fn upload_ended(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.lock().shares.uploads.remove(&name);
        ready(Ok(()))
    }

    fn uploads(&self) -> BoxFuture<'_, Result<Vec<(String, String)>, StoreFault>> {
        let state = self.lock();
        ready(Ok(state.shares.uploads.iter().map(|(name, upload)| (name.clone(), upload.clone())).collect()))
    }
}
