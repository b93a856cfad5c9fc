//! The requests of `control` that are about detached files. Each change goes to the store, which writes it to the audit
//! log in the same transaction. Proof: `crates/vouchsafe/tests/attachments.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::{Share, ShareChange, ShareFilter};
use vouchsafe_core::ports::{Clock, StoreFault};

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
}

impl ShareAct {
    /// For the audit log of administrators.
    pub fn verb(&self) -> &'static str {
        match self {
            ShareAct::Revoke { .. } => "revoke",
            ShareAct::Extend { .. } => "extend",
            ShareAct::Hold { on: true } => "hold",
            ShareAct::Hold { on: false } => "release",
            ShareAct::Erase => "erase",
        }
    }

    fn change(&self, share: &Share) -> ShareChange {
        let message = share.message;
        match self {
            ShareAct::Revoke { link } => ShareChange::Revoke { message, link: link.clone() },
            ShareAct::Extend { until } => ShareChange::Extend { message, until: *until },
            ShareAct::Hold { on } => ShareChange::Hold { message, on: *on },
            ShareAct::Erase => ShareChange::Erase { message },
        }
    }
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
    if matches!(act, ShareAct::Revoke { link: Some(_) }) && filter.message.is_none() {
        return Err("a link is of one message; name that, too".to_owned());
    }
    let store = &gateway.stores.attachments;
    let shares = store.shares(ShareFilter { limit: AT_ONCE, now, ..filter }).await.map_err(words)?;
    let (mut count, mut held) = (0, 0);
    for share in &shares {
        if *act == ShareAct::Erase && share.hold {
            held += 1;
            continue;
        }
        match store.change(act.change(share), format!("admin {}", caller.name), now).await {
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

fn words(fault: StoreFault) -> String {
    fault.to_string()
}
