//! Senders are told what became of their files: fetched, not fetched and soon over, wanted for longer.
//!
//! Which mail is due is `Share::untold`'s decision, how it reads `core::share_mail`'s. The mail is queued in one
//! transaction with the row that says so: none is lost, none is sent twice. Each has a fresh link to the sender's own page.
//! Proof: `transcripts/e2e/files_*`.

use vouchsafe_core::MessageId;
use vouchsafe_core::attachments::{Share, ShareChange, ShareFilter, ShareNews, Telling};
use vouchsafe_core::links::Token;
use vouchsafe_core::ports::{Clock, StoreFault};
use vouchsafe_core::share_mail::{ShareMail, mail, sender_link};
use vouchsafe_smtp::Mailbox;

use crate::gateway::Gateway;

/// Shares of one round at most; what is left is for the next.
const ROUND: usize = 200;

/// One round. A fault is logged; the next round tries again.
pub(crate) async fn round(gateway: &Gateway) {
    if let Err(fault) = tell_all(gateway).await {
        tracing::error!(blame = "us", %fault, "senders of files cannot be told what became of them; tried again shortly");
    }
}

async fn tell_all(gateway: &Gateway) -> Result<(), StoreFault> {
    let settings = gateway.settings.load_full();
    let Some(public_url) = &settings.attachments.public_url else { return Ok(()) };
    let before = gateway.clock.now() + settings.attachments.reminder;
    let due = ShareFilter { untold: Some(before), limit: ROUND, ..ShareFilter::default() };
    for share in gateway.stores.attachments.shares(due).await? {
        if let Some(what) = share.untold(before) {
            match tell(gateway, public_url, &share, what).await {
                // It was erased meanwhile.
                Ok(()) | Err(StoreFault::Missing(_)) => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(())
}

async fn tell(gateway: &Gateway, public_url: &str, share: &Share, what: Telling) -> Result<(), StoreFault> {
    let (settings, now) = (gateway.settings.load_full(), gateway.clock.now());
    let (message, rules) = (share.message, &settings.attachments);
    let wanted = match what {
        Telling::Reminder => !rules.reminder.is_zero() && now < share.expires,
        Telling::Receipt => rules.receipts,
        Telling::MoreTime => true,
    };
    if let Some(to) = Mailbox::parse(&share.sender, true).ok().filter(|_| wanted) {
        let token = Token::new(rand::random());
        let mut mail = mail(&ShareMail {
            hostname: &settings.hostname,
            id: MessageId::at(now),
            now,
            to: &to,
            accepted_domain: settings.domain(to.domain()).map(|domain| domain.name.as_str()),
            share,
            what,
            link: &sender_link(public_url, &token),
            language: rules.language,
        });
        mail.news = Some(ShareNews { message, what, link: token.hash() });
        let id = mail.envelope.id;
        gateway.stores.mail.accept(mail).await?;
        gateway.deliverer.wake();
        tracing::info!(id = %message, mail = %id, ?what, "the sender of files is told");
        return Ok(());
    }
    let told = ShareChange::Told { message, what };
    gateway.stores.attachments.change(told, String::new(), now).await
}
