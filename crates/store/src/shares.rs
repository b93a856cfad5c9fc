//! The rules of shares that both stores have in common: what `accept` makes of a detachment, what a change means. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use vouchsafe_core::attachments::{
    AuditRow, Check, Detachment, Form, FormFor, LinkRow, SealedBlob, Share, ShareChange, ShareFilter,
    SharedFile, charged, hex,
};
use vouchsafe_core::links::{LinkSecret, Sharing, TokenHash};
use vouchsafe_core::outcome::LinksGone;
use vouchsafe_core::ports::StoreFault;
use vouchsafe_core::{Envelope, MessageId, Timestamp};

/// A detachment made ready to be written.
pub struct Ready {
    /// The share, its links in the order of `tokens`.
    pub share: Share,
    /// The digests of the tokens.
    pub tokens: Vec<TokenHash>,
    /// The blobs, in the order of the share's files; held until this is dropped, which is after the commit.
    pub blobs: Vec<SealedBlob>,
    /// The forms, by their numbers.
    pub forms: Vec<Arc<Form>>,
    /// The form of each recipient that has one.
    form_of: BTreeMap<u32, u32>,
    /// Where tokens come from.
    pub secret: LinkSecret,
    /// Who shares one.
    pub sharing: Sharing,
    /// Who sent it, for the audit log.
    pub who: String,
}

impl Ready {
    /// Of a message with `content` octets, accepted at `now`.
    pub fn new(
        detachment: Detachment,
        envelope: &Envelope,
        content: u64,
        now: Timestamp,
    ) -> Result<Ready, StoreFault> {
        let sharing = detachment.sharing();
        let Detachment { subject, parts, check, forms, links } = detachment;
        let form_of = form_of(&forms, envelope, content)?;
        let address = |index: &u32| envelope.recipients()[*index as usize].0.mailbox.as_str().to_owned();
        let mut tokens = Vec::new();
        let mut rows = Vec::new();
        for (number, form) in (0..).zip(&forms) {
            let all = parts.iter().all(|part| form.files.contains(&part.position));
            for (group, members) in sharing.groups(number, form.recipients.iter().copied()) {
                let token = links.secret.token(group).hash();
                rows.push(LinkRow {
                    id: token.id(),
                    recipients: members.iter().map(address).collect(),
                    files: (!all).then(|| form.files.clone()),
                    revoked: None,
                    downloads: 0,
                    last_download: None,
                });
                tokens.push(token);
            }
        }
        let mut blobs = Vec::new();
        let mut files = Vec::new();
        for part in parts {
            files.push(SharedFile {
                position: part.position,
                file_name: part.file_name,
                media_type: part.media_type,
                size: part.blob.len,
                sha256: hex(&part.blob.sha256),
                downloads: 0,
                check,
                blob: Some(part.blob.reference()),
            });
            blobs.push(part.blob);
        }
        let (owner, domain) = charged(envelope);
        let share = Share {
            message: envelope.id,
            created: now,
            expires: now + links.expire,
            sender: envelope.mail.reverse_path.as_str().to_owned(),
            subject,
            owner,
            domain,
            known_sender: envelope.origin.known_sender,
            hold: false,
            revoked: None,
            access: links.access,
            cap: links.downloads,
            password: None,
            reminded: false,
            receipted: false,
            asked: false,
            files,
            links: rows,
        };
        let form = |(number, form): (u32, FormFor)| {
            let (secret, sharing) = (links.secret.clone(), sharing.clone());
            Arc::new(Form { number, recipe: form.recipe, content, secret, sharing })
        };
        let origin = &envelope.origin;
        let client = origin.client.map(|client| client.to_string());
        let who = origin.login.clone().or(client).unwrap_or_default();
        Ok(Ready {
            share,
            tokens,
            blobs,
            forms: (0..).zip(forms).map(form).collect(),
            form_of,
            secret: links.secret.clone(),
            sharing,
            who,
        })
    }

    /// The number of a recipient's form.
    pub fn form_of(&self, recipient: u32) -> Option<u32> {
        self.form_of.get(&recipient).copied()
    }

    /// The form of this number.
    pub fn form(&self, number: u32) -> Option<Arc<Form>> {
        self.forms.get(number as usize).cloned()
    }

    /// The line of the audit log.
    pub fn line(&self) -> Line {
        let Share { files, expires, .. } = &self.share;
        let detail =
            format!("{} files, {} octets, until {}", files.len(), self.share.size(), expires.rfc3339());
        Line { what: "store", message: self.share.message, detail }
    }
}

/// The number of each recipient's form, where the forms fit the message and its recipients.
fn form_of(forms: &[FormFor], envelope: &Envelope, content: u64) -> Result<BTreeMap<u32, u32>, StoreFault> {
    let mut form_of = BTreeMap::new();
    for (number, form) in (0..).zip(forms) {
        if form.recipe.content_end() > content {
            return Err(StoreFault::Broken(format!("form {number} is longer than the message")));
        }
        for index in &form.recipients {
            let is_there = (*index as usize) < envelope.recipients().len();
            if !is_there || form_of.insert(*index, number).is_some() {
                return Err(StoreFault::Broken(format!("recipient {index} has no place for form {number}")));
            }
        }
    }
    Ok(form_of)
}

/// A line for the audit log.
pub struct Line {
    /// What was done.
    pub what: &'static str,
    /// To which message.
    pub message: MessageId,
    /// Words.
    pub detail: String,
}

impl Line {
    /// Behind the line with this number and digest.
    pub fn behind(self, last: Option<(i64, &str)>, who: &str, now: Timestamp) -> AuditRow {
        let (number, before) = last.map_or((1, ""), |(number, chain)| (number + 1, chain));
        let mut row = AuditRow {
            number,
            at: now,
            what: self.what.to_owned(),
            who: who.to_owned(),
            message: Some(self.message),
            detail: self.detail,
            chain: String::new(),
        };
        row.chain = row.chained(before);
        row
    }
}

/// The line that a change of a share leaves; none for what only says who was told.
pub fn line(change: &ShareChange, message: MessageId) -> Option<Line> {
    let (what, detail) = match change {
        ShareChange::Downloaded { link, files } => {
            let files: Vec<String> = files.iter().map(u32::to_string).collect();
            ("fetch", format!("files {}, link {}", files.join(" "), link.id()))
        }
        ShareChange::Revoke { link: Some(link), .. } => ("revoke", format!("link {link}")),
        ShareChange::Revoke { link: None, .. } => ("revoke", "all links".to_owned()),
        ShareChange::Extend { until, .. } => ("extend", format!("until {}", until.rfc3339())),
        ShareChange::Hold { on: true, .. } => ("hold", String::new()),
        ShareChange::Hold { on: false, .. } => ("release", String::new()),
        ShareChange::Erase { .. } => ("erase", String::new()),
        ShareChange::Password { hash: Some(_), .. } => ("password", "set".to_owned()),
        ShareChange::Password { hash: None, .. } => ("password", "removed".to_owned()),
        ShareChange::Told { .. } | ShareChange::Asked { .. } | ShareChange::SenderLink { .. } => return None,
    };
    Some(Line { what, message, detail })
}

/// The message whose links lead nowhere after this change, with the words that it is held with if it still waits.
pub fn links_gone(change: &ShareChange, who: &str) -> Option<(MessageId, String)> {
    match change {
        ShareChange::Erase { message } => Some((*message, LinksGone::Deleted.words(who))),
        ShareChange::Revoke { message, link: None } => Some((*message, LinksGone::TakenBack.words(who))),
        _ => None,
    }
}

/// The refusal of a download past the cap.
pub fn used_up(link: TokenHash) -> StoreFault {
    StoreFault::Missing(format!("downloads left for link {}", link.id()))
}

/// The line that is written of a message's file when this is said of it; none where a scanner finds it clear.
pub fn check_line(
    before: Check,
    check: Check,
    file: (u32, &str),
    detail: &str,
    message: MessageId,
) -> Option<Line> {
    let said = match (check, before) {
        (Check::Clear, Check::Waiting) => return None,
        (Check::Clear, _) => "given free",
        (Check::Waiting, _) => "to be checked",
        (Check::Found, _) => "harmful",
        (Check::Unscannable, _) => "not checked",
        (Check::Refused, _) => "refused",
    };
    let (position, name) = file;
    let detail = format!("file {position} ({name}): {said}: {detail}");
    Some(Line { what: "scan", message, detail: detail.trim_end_matches(": ").to_owned() })
}

/// Whether a fresh blob may be replaced by an equal one that is there, of which this is known. `scanned`: a scanner, or
/// an administrator, has said so. What an administrator refused stays refused when it comes again.
pub fn replaces(there: Check, scanned: bool, fresh: Check) -> bool {
    match (fresh, there) {
        (Check::Waiting, Check::Clear) => scanned,
        (Check::Waiting, Check::Found | Check::Unscannable) => false,
        _ => true,
    }
}

/// Whether the filter names a share with its files and links.
pub fn matches(filter: &ShareFilter, share: &Share) -> bool {
    let all = || share.links.iter().flat_map(|link| &link.recipients).map(|address| address.to_lowercase());
    let sender = share.sender.to_lowercase();
    filter.message.is_none_or(|message| message == share.message)
        && filter.sender.as_ref().is_none_or(|wanted| sender == wanted.to_lowercase())
        && filter
            .recipient
            .as_ref()
            .is_none_or(|wanted| all().any(|address| address == wanted.to_lowercase()))
        && filter.expires_before.is_none_or(|before| share.expires < before)
        && filter.hold.is_none_or(|hold| share.hold == hold)
        && filter.state.is_none_or(|state| share.state(filter.now) == state)
        && filter.check.is_none_or(|check| share.files.iter().any(|file| file.check == check))
        && filter.untold.is_none_or(|before| share.untold(before).is_some())
        && filter.address.as_ref().is_none_or(|text| {
            let text = text.to_lowercase();
            sender.contains(&text)
                || share.owner.contains(&text)
                || all().any(|address| address.contains(&text))
        })
        && filter.text.as_ref().is_none_or(|text| {
            let text = text.to_lowercase();
            share.message.to_string().contains(&text)
                || sender.contains(&text)
                || share.owner.contains(&text)
                || all().any(|address| address.contains(&text))
                || share.files.iter().any(|file| file.file_name.to_lowercase().contains(&text))
        })
}
