//! Detached files and clamd: every blob that waits is shown to it, one after the other, right after its message was taken.
//!
//! A message never waits for clamd, and nobody gets a file before it has said that nothing is in it. What it finds is
//! never given out: the audit log and the history have it, and a sender of our own is told; a stranger never is. A clamd
//! that cannot be reached changes nothing: the file waits. What it cannot take is the administrator's rule
//! (`core::scan::release`). Proof: `crates/gateway/tests/scanning.rs`, with the real clamd.

use std::io;
use std::time::Duration;

use vouchsafe_core::MessageId;
use vouchsafe_core::attachments::{BlobRef, BlobStore, Check, Share, ShareFilter};
use vouchsafe_core::ports::{Clock, HistoryEvent, StoreFault};
use vouchsafe_core::scan::{self, Answer, ScannerAt};
use vouchsafe_net::clamd::Instream;
use vouchsafe_smtp::Mailbox;

use crate::gateway::Gateway;

/// How often it is looked for files that wait.
const LOOK: Duration = Duration::from_secs(2);
/// The same while clamd cannot be reached.
const OUTAGE: Duration = Duration::from_secs(30);
/// Files of one round at most.
const ROUND: usize = 16;
/// Who says so, in the audit log.
const WHO: &str = "clamd";

/// Runs until the gateway stops.
pub(crate) async fn run(gateway: &Gateway) {
    let mut stop = gateway.tasks.stop_signal();
    let mut wait = LOOK;
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stopped| *stopped) => return,
        }
        // A scan that is cut off by the end is begun anew at the next start.
        let round = tokio::select! {
            round = round(gateway) => round,
            _ = stop.wait_for(|stopped| *stopped) => return,
        };
        wait = match round {
            Ok(()) => LOOK,
            Err(why) => {
                tracing::error!(blame = "us", "files wait to be checked: {why}");
                OUTAGE
            }
        };
    }
}

/// Shows what waits to clamd. The fault is for the administrator; what waits goes on waiting.
pub async fn round(gateway: &Gateway) -> Result<(), String> {
    let Some(blobs) = &gateway.stores.blobs else { return Ok(()) };
    let waiting = gateway.stores.attachments.unchecked_blobs(ROUND).await;
    for blob in waiting.map_err(|fault| fault.to_string())? {
        let settings = gateway.settings.load_full();
        let answer = match &settings.attachments.clamd {
            None => Answer::Unscannable("no scanner is set".to_owned()),
            Some(_) if blob.len > settings.attachments.clamd_size => {
                Answer::Unscannable(format!("{} octets are more than clamd_size", blob.len))
            }
            Some(at) => look(at, &**blobs, &blob).await?,
        };
        let said = say(gateway, &blob, answer).await;
        said.map_err(|fault| fault.to_string())?;
    }
    Ok(())
}

/// What clamd says of a blob.
async fn look(at: &ScannerAt, blobs: &dyn BlobStore, blob: &BlobRef) -> Result<Answer, String> {
    let advice = "is clamd running, and may we use its socket?";
    let unreachable = |error: io::Error| format!("clamd at {at}: {error}; {advice}");
    let mut scan = Instream::begin(at).await.map_err(unreachable)?;
    let mut reader = match blobs.open(blob.clone(), 0..blob.len).await {
        Ok(reader) => reader,
        Err(fault) => return unread(fault),
    };
    loop {
        match reader.next().await {
            Ok(Some(chunk)) if scan.send(&chunk).await.map_err(unreachable)? => {}
            Ok(_) => break,
            Err(fault) => return unread(fault),
        }
    }
    match scan::answer(&scan.finish().await.map_err(unreachable)?) {
        Answer::Unavailable(words) => Err(format!("clamd at {at} said: {words}")),
        answer => Ok(answer),
    }
}

/// A file that is not what was written is not asked about again.
fn unread(fault: StoreFault) -> Result<Answer, String> {
    match fault {
        StoreFault::Corrupt(why) => Ok(Answer::Unscannable(why)),
        fault => Err(fault.to_string()),
    }
}

/// Keeps the answer, and tells whom it concerns.
async fn say(gateway: &Gateway, blob: &BlobRef, answer: Answer) -> Result<(), StoreFault> {
    let (check, detail) = match answer {
        Answer::Clean => (Check::Clear, String::new()),
        Answer::Found(name) => (Check::Found, name),
        Answer::Unscannable(why) => (Check::Unscannable, why),
        Answer::Unavailable(_) => return Ok(()),
    };
    let attachments = &gateway.stores.attachments;
    let now = gateway.clock.now();
    attachments.set_check(blob.name.clone(), check, detail.clone(), WHO.to_owned(), now).await?;
    if check == Check::Clear {
        return Ok(());
    }
    for message in attachments.messages_of(blob.name.clone()).await? {
        let filter = ShareFilter { message: Some(message), ..ShareFilter::default() };
        for share in attachments.shares(filter).await? {
            tell(gateway, &share, blob, check, &detail).await;
        }
    }
    Ok(())
}

/// The history, for the administrator; a mail, for a sender of our own whose file is harmful.
async fn tell(gateway: &Gateway, share: &Share, blob: &BlobRef, check: Check, detail: &str) {
    let is_it = |name: &str| name == blob.name;
    let files = share.files.iter().filter(|file| file.blob.as_ref().is_some_and(|blob| is_it(&blob.name)));
    let names: Vec<&str> = files.map(|file| file.file_name.as_str()).collect();
    let names = names.join(", ");
    let words = match check {
        Check::Found => format!("{names}: {detail} was found: nobody gets it"),
        _ => format!("{names}: not checked: {detail}"),
    };
    tracing::warn!(blame = "client", id = %share.message, sender = share.sender, "{words}");
    gateway.record(HistoryEvent {
        at: gateway.clock.now(),
        session: String::new(),
        message: Some(share.message),
        kind: "scan".to_owned(),
        sender: share.sender.clone(),
        recipient: String::new(),
        blame: "client".to_owned(),
        detail: words,
    });
    let sender = Mailbox::parse(&share.sender, true).ok().filter(|_| share.known_sender);
    if let (Check::Found, Some(to)) = (check, sender) {
        let settings = gateway.settings.load_full();
        let now = gateway.clock.now();
        let mail = scan::notice(&scan::FoundMail {
            hostname: &settings.hostname,
            id: MessageId::at(now),
            now,
            to: &to,
            accepted_domain: settings.domain(to.domain()).map(|domain| domain.name.as_str()),
            share,
            files: &names,
            found: detail,
            language: settings.attachments.language,
        });
        match gateway.stores.mail.accept(mail).await {
            Ok(_) => gateway.deliverer.wake(),
            Err(fault) => {
                tracing::error!(blame = "us", %fault, "the sender of a harmful file cannot be told");
            }
        }
    }
}
