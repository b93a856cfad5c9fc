//! The requests of `control` that are about detached files. Each change goes to the store, which writes it to the audit
//! log in the same transaction. Proof: `crates/vouchsafe/tests/attachments.rs`, `crates/gateway/tests/scanning.rs`.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::{Check, Share, ShareChange, ShareFilter, SharedFile};
use vouchsafe_core::ports::{Clock, HistoryEvent, StoreFault};
use vouchsafe_core::scan::Word;

use crate::admin::Caller;
use crate::control::{Request, Response};
use crate::gateway::Gateway;

/// Messages that one request changes at most.
const AT_ONCE: usize = 10_000;
/// Lines of the audit log given at once.
const LINES: usize = 1_000;

/// What an administrator does to detached files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are what the variant's sentence names")]
pub enum ShareAct {
    /// The links lead nowhere from now on, or one of them, by its id.
    Revoke { link: Option<String> },
    /// The links are good until then, also if they were taken back or have expired.
    Extend { until: Timestamp },
    /// Nothing is deleted, whatever is due; or no longer so.
    Hold { on: bool },
    /// Files and links are deleted. What is on hold stays.
    Erase,
    /// Recipients get files that could not be checked or were refused, and with `harmful` those in which something was
    /// found: this one of a message, or all of it.
    Release { file: Option<u32>, harmful: bool },
    /// Nobody gets this file of a message any more, or any of it, also when it comes again.
    Refuse { file: Option<u32> },
}

impl ShareAct {
    /// For the audit log of administrators.
    pub fn verb(&self) -> &'static str {
        match self {
            ShareAct::Revoke { .. } => "revoke",
            ShareAct::Extend { .. } => "extend",
            ShareAct::Hold { on: true } => "hold",
            ShareAct::Hold { on: false } => "release from hold",
            ShareAct::Erase => "erase",
            ShareAct::Release { harmful: false, .. } => "give free",
            ShareAct::Release { harmful: true, .. } => "give free though harmful",
            ShareAct::Refuse { .. } => "refuse",
        }
    }

    fn deed(&self, share: &Share) -> Deed {
        let message = share.message;
        Deed::Change(match self {
            ShareAct::Revoke { link } => ShareChange::Revoke { message, link: link.clone() },
            ShareAct::Extend { until } => ShareChange::Extend { message, until: *until },
            ShareAct::Hold { on } => ShareChange::Hold { message, on: *on },
            ShareAct::Erase => ShareChange::Erase { message },
            ShareAct::Release { file, harmful } => {
                return Deed::Say(Word::Release { harmful: *harmful }, *file);
            }
            ShareAct::Refuse { file } => return Deed::Say(Word::Refuse, *file),
        })
    }
}

/// What is done to a share, or said of its files.
enum Deed {
    Change(ShareChange),
    Say(Word, Option<u32>),
}

/// What a filter names, in words.
pub fn named(filter: &ShareFilter) -> String {
    let ShareFilter { message, address, text, sender, recipient, .. } = filter;
    let words = [
        message.map(|id| format!("message {id}")),
        sender.as_ref().map(|sender| format!("from {sender}")),
        recipient.as_ref().map(|recipient| format!("to {recipient}")),
        address.as_ref().map(|text| format!("of {text}")),
        text.as_ref().map(|text| format!("with {text}")),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Carries one of them out.
pub(crate) async fn answer(gateway: &Gateway, caller: &Caller, request: Request) -> Result<Response, String> {
    let store = &gateway.stores.attachments;
    Ok(match request {
        Request::AttachmentsAct { filter, act } => change(gateway, caller, filter, &act).await?,
        Request::AttachmentsAudit { after, message } => {
            Response::ShareAudit { rows: store.audit(after, message, LINES).await.map_err(words)? }
        }
        Request::AttachmentsList { filter } => {
            let now = gateway.clock.now();
            let shares = store.shares(ShareFilter { now, ..filter }).await.map_err(words)?;
            Response::Shares { now, shares }
        }
        _ => return Err("this is not about detached files; nothing was done".to_owned()),
    })
}

async fn change(
    gateway: &Gateway,
    caller: &Caller,
    filter: ShareFilter,
    act: &ShareAct,
) -> Result<Response, String> {
    let now = gateway.clock.now();
    if named(&filter).is_empty() {
        return Err("whose files is not said; name a message, a sender or a recipient".to_owned());
    }
    if matches!(act, ShareAct::Extend { until } if *until <= now) {
        return Err("that time has passed; name one to come".to_owned());
    }
    let of_one = matches!(
        act,
        ShareAct::Revoke { link: Some(_) } | ShareAct::Release { .. } | ShareAct::Refuse { .. }
    );
    if of_one && filter.message.is_none() {
        return Err("links and files are named by their message; name that, too".to_owned());
    }
    let store = &gateway.stores.attachments;
    let shares = store.shares(ShareFilter { limit: AT_ONCE, now, ..filter }).await.map_err(words)?;
    let (mut count, mut held) = (0, 0);
    for share in &shares {
        if *act == ShareAct::Erase && share.hold {
            held += 1;
            continue;
        }
        let who = format!("admin {}", caller.name);
        let done = match act.deed(share) {
            Deed::Change(change) => store.change(change, who, now).await,
            Deed::Say(word, file) => {
                say(gateway, share, word.files(&share.files, file)?, word.check(), &who).await
            }
        };
        match done {
            Ok(()) => count += 1,
            // Put on hold or erased since it was listed, or it has no such link.
            Err(StoreFault::Missing(what)) if shares.len() == 1 => {
                return Err(format!("not found: {what}; `vouchsafe attachments list` shows what there is"));
            }
            Err(StoreFault::Missing(_)) => {}
            Err(fault) => return Err(words(fault)),
        }
    }
    Ok(Response::SharesChanged { count, held })
}

/// Says this of files. Equal files are one blob, and are decided about once.
async fn say(
    gateway: &Gateway,
    share: &Share,
    files: Vec<&SharedFile>,
    check: Check,
    who: &str,
) -> Result<(), StoreFault> {
    let blobs: BTreeSet<&str> =
        files.iter().filter_map(|file| file.blob.as_ref()).map(|blob| blob.name.as_str()).collect();
    let names: Vec<&str> = files.iter().map(|file| file.file_name.as_str()).collect();
    let now = gateway.clock.now();
    for blob in blobs {
        let store = &gateway.stores.attachments;
        store.set_check(blob.to_owned(), check, String::new(), who.to_owned(), now).await?;
    }
    let said = if check == Check::Clear { "given free" } else { "refused" };
    gateway.record(HistoryEvent {
        at: now,
        session: String::new(),
        message: Some(share.message),
        kind: "scan".to_owned(),
        sender: share.sender.clone(),
        recipient: String::new(),
        blame: "us".to_owned(),
        detail: format!("{}: {said} by {who}", names.join(", ")),
    });
    Ok(())
}

fn words(fault: StoreFault) -> String {
    fault.to_string()
}
