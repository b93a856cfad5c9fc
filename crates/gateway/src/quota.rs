//! How much the files behind links may take, by user and by domain: asked before a message comes, if its size is
//! declared, and of what was really moved at the dot. Proof: `transcripts/e2e/quota_*`.

use vouchsafe_config::{Attachments, Settings};
use vouchsafe_core::attachments::charged;
use vouchsafe_core::envelope::Envelope;
use vouchsafe_core::ports::StoreFault;
use vouchsafe_smtp::Reply;

use crate::detaching::classes;
use crate::gateway::Stores;

/// Octets of files that a message of the declared size has at least, if its large parts can be moved: base64 is four
/// octets for three, and what the smallest `message_over` of its recipients allows may stay. `None`: nobody can tell, or
/// nobody asks.
pub(crate) fn expected(envelope: &Envelope, settings: &Settings, stores: &Stores) -> Option<u64> {
    settings.attachments.user_quota.or(settings.attachments.domain_quota)?;
    let declared = envelope.mail.size?;
    let message_over = classes::detach(envelope, settings, stores)?.rules.limits.message_over;
    // Line ends of base64 take another part in forty.
    (declared > message_over).then(|| (declared - message_over) / 10 * 7)
}

/// Why so many more octets of files are not taken.
pub(crate) async fn refusal(
    stores: &Stores,
    envelope: &Envelope,
    settings: &Attachments,
    more: u64,
) -> Result<Option<Reply>, StoreFault> {
    let (user_quota, domain_quota) = (settings.user_quota, settings.domain_quota);
    if user_quota.or(domain_quota).is_none() {
        return Ok(None);
    }
    let (owner, domain) = charged(envelope);
    let usage = stores.attachments.usage(owner.clone(), domain.clone()).await?;
    let over = |name: &str, used: u64, quota: Option<u64>| {
        !name.is_empty() && quota.is_some_and(|quota| used.saturating_add(more) > quota)
    };
    if over(&owner, usage.user, user_quota) {
        tracing::info!(id = %envelope.id, owner, used = usage.user, more, "the quota of files is used up");
        let words = "Your files behind links fill your quota: take some back, or wait until they expire";
        return Ok(Some(Reply::new(552, (5, 2, 2), words)));
    }
    if over(&domain, usage.domain, domain_quota) {
        tracing::warn!(id = %envelope.id, domain, used = usage.domain, more, "the domain's quota of files is used up");
        let words = "The files behind links fill the quota of the domain, try again later";
        return Ok(Some(Reply::new(452, (4, 3, 1), words)));
    }
    Ok(None)
}
