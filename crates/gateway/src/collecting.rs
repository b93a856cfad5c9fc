//! What nobody can have any more goes: shares whose time is up, then blobs that no share names, then blobs that nobody
//! knows (a crash between a blob and its message leaves such). Uploads that were cut off are aborted first.
//!
//! A blob goes before its row: cut off between the two, it is deleted again. A share on hold stays, and so does one whose
//! message is still in the queue: the files were taken with it (promise 1). A task of its own: a bucket that does not
//! answer must not keep the guard's counters from being written.
//! Proof: below, `transcripts/e2e/detach_files_go_when_their_time_is_up.txt`.

use std::time::Duration;

use vouchsafe_core::attachments::{AttachmentStore, BlobStore, ShareChange, ShareFilter};
use vouchsafe_core::ports::{Clock, StoreFault};

use crate::gateway::Gateway;

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(10);
/// Shares and blobs of one round at most; what is left is for the next.
const ROUND: usize = 200;
/// Who erases, in the audit log.
const WHO: &str = "expiry";

/// Runs until the gateway stops; a round that is cut off is begun anew after the next start.
pub(crate) async fn run(gateway: &Gateway) {
    let mut stop = gateway.tasks.stop_signal();
    let mut collector = Collector::default();
    let rounds = async {
        loop {
            tokio::time::sleep(PAUSE).await;
            collector.round(gateway).await;
        }
    };
    tokio::select! {
        () = rounds => {}
        _ = stop.wait_for(|stopped| *stopped) => {}
    }
}

/// Goes through the blobs, a stretch a round.
#[derive(Default)]
struct Collector {
    /// The last blob looked at; empty at the beginning.
    seen: String,
}

impl Collector {
    /// One round. A fault is logged; the next round tries again.
    async fn round(&mut self, gateway: &Gateway) {
        let attachments = &*gateway.stores.attachments;
        let expired = erase_expired(gateway, attachments).await;
        let collected = match &gateway.stores.blobs {
            Some(blobs) => self.collect(attachments, &**blobs).await,
            None => Ok(()),
        };
        for fault in [expired, collected].into_iter().filter_map(Result::err) {
            tracing::error!(blame = "us", %fault, "detached files that are due cannot be removed; tried again shortly");
        }
    }

    async fn collect(
        &mut self,
        attachments: &dyn AttachmentStore,
        blobs: &dyn BlobStore,
    ) -> Result<(), StoreFault> {
        // A fault of this keeps nothing else from going.
        let aborted = match self.seen.is_empty() {
            true => blobs.abort_cut_off().await,
            false => Ok(()),
        };
        let doomed = attachments.doomed_blobs(ROUND).await?;
        for name in &doomed {
            blobs.delete(name.clone()).await?;
        }
        if !doomed.is_empty() {
            attachments.forget_blobs(doomed).await?;
        }
        let names = blobs.list(self.seen.clone(), ROUND).await?;
        let Some(last) = names.last().cloned() else {
            self.seen.clear();
            return aborted;
        };
        for name in attachments.unknown_blobs(names).await? {
            tracing::info!(blob = %name, "removing a file that no message has");
            blobs.delete(name).await?;
        }
        self.seen = last;
        aborted
    }
}

async fn erase_expired(gateway: &Gateway, attachments: &dyn AttachmentStore) -> Result<(), StoreFault> {
    let now = gateway.clock.now();
    let grace = gateway.settings.load().attachments.grace;
    let filter = ShareFilter {
        expires_before: Some(now - grace),
        hold: Some(false),
        left_queue: true,
        limit: ROUND,
        ..ShareFilter::default()
    };
    for share in attachments.shares(filter).await? {
        let erase = ShareChange::Erase { message: share.message };
        match attachments.change(erase, WHO.to_owned(), now).await {
            // Put on hold, or erased by hand, since it was listed.
            Ok(()) | Err(StoreFault::Missing(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vouchsafe_store::blobs::Blobs;
    use vouchsafe_store::memory::MemoryStore;

    use super::*;

    #[tokio::test]
    async fn a_blob_that_no_message_has_goes_once_its_maker_lets_go() {
        let (store, blobs) = (MemoryStore::new(), Blobs::memory());
        let mut writer = blobs.create().await.unwrap();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        let blob = writer.seal().await.unwrap();
        let mut collector = Collector::default();
        let there = async || blobs.open(blob.reference(), 0..1).await.is_ok();
        collector.collect(&*store, &*blobs).await.unwrap();
        assert!(there().await, "it is on its way to a message");
        let reference = blob.reference();
        drop(blob);
        collector.collect(&*store, &*blobs).await.unwrap();
        assert!(blobs.open(reference, 0..1).await.is_err());
    }
}
