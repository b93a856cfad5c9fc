//! Files and the real clamd, with a signature of our own: what is clean is given, what is harmful never, what clamd cannot
//! take or say now is neither.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vouchsafe_core::attachments::{
    Access, AttachmentStore, BlobStore, Check, Detached, Detachment, LinkRules, Share, ShareFilter,
};
use vouchsafe_core::links::LinkSecret;
use vouchsafe_core::policy::{self, Block, Client, Decision};
use vouchsafe_core::ports::{Accepted, Body, Clock, History, HistoryFilter, MailStore, QueueFilter};
use vouchsafe_core::{Envelope, MessageId, Origin};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::scanning;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath};
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_testkit::clamd::{Clamd, HARMFUL, NAME};

struct World {
    gateway: Arc<Gateway>,
    store: Arc<MemoryStore>,
    blobs: Arc<Blobs>,
}

impl World {
    fn new(dir: &Path, more: &str) -> World {
        let settings = common::settings_of(&format!(
            "hostname = \"gate.example\"\ndata_dir = {:?}\n[[listener]]\nname = \"mx\"\nkind = \"mx\"\n\
             address = \"127.0.0.1:2525\"\n[attachments]\n{more}\n",
            dir.display().to_string()
        ));
        let (store, blobs) = (MemoryStore::new(), Blobs::memory());
        let stores = Stores::of(store.clone()).with_blobs(blobs.clone());
        let clock = Arc::new(SystemClock::new());
        let gateway = Gateway::new(settings, stores, Arc::new(TcpDialer::new()), clock);
        World { gateway, store, blobs }
    }

    /// A message with this file is taken.
    async fn take(&self, file: &[u8], known_sender: bool) -> MessageId {
        let now = self.gateway.clock.now();
        let mut writer = self.blobs.create().await.unwrap();
        writer.write(Bytes::copy_from_slice(file)).await.unwrap();
        let parts = vec![Detached {
            blob: writer.seal().await.unwrap(),
            file_name: "plan.bin".to_owned(),
            media_type: "application/octet-stream".to_owned(),
            position: 0,
        }];
        let links = LinkRules {
            per_recipient: true,
            blind: Vec::new(),
            expire: Duration::from_secs(3_600),
            access: Access::Link,
            downloads: None,
            secret: LinkSecret::new([1; 32]),
        };
        let check = Check::Waiting;
        let detached = Detachment { subject: String::new(), check, parts, forms: Vec::new(), links };
        let from = Mailbox::parse("alice@home.example", false).unwrap();
        let mail = MailFrom::new(ReversePath::Mailbox(from));
        let origin = Origin {
            session: String::new(),
            listener: "mx".to_owned(),
            client: None,
            port: None,
            helo: String::new(),
            esmtp: true,
            login: None,
            known_sender,
            proven: false,
        };
        let id = MessageId::at(now);
        let mut envelope = Envelope::new(id, now, origin, mail);
        let mailbox = Mailbox::parse("bob@abroad.example", false).unwrap();
        let user = Client { authenticated: true, ..Client::default() };
        let Decision::Permit(permit) = policy::decide(&user, &mailbox, Block::None) else {
            panic!("users may relay")
        };
        envelope.add(RcptTo { mailbox, notify: None, orcpt: None }, permit);
        let body = Body::Memory(Bytes::from_static(b"Subject: x\r\n\r\nbody\r\n"));
        let (head, detached) = (Bytes::new(), Some(detached));
        let message = Accepted { envelope, head, body, due: now, claim: false, detached, news: None };
        self.store.accept(message).await.unwrap();
        id
    }

    async fn share(&self, message: MessageId) -> Share {
        let filter = ShareFilter { message: Some(message), ..ShareFilter::default() };
        self.store.shares(filter).await.unwrap().remove(0)
    }

    async fn check(&self, message: MessageId) -> Check {
        self.share(message).await.files[0].check
    }

    /// Recipients of what is in the queue, but for Bob.
    async fn told(&self) -> Vec<String> {
        let rows = self.store.list(QueueFilter::default()).await.unwrap();
        let all = rows.iter().flat_map(|row| row.recipients.iter().map(|(to, ..)| to.clone()));
        all.filter(|to| to != "bob@abroad.example").collect()
    }

    async fn lines(&self) -> Vec<String> {
        let lines = self.store.audit(0, None, 100).await.unwrap();
        lines.into_iter().filter(|line| line.what == "scan").map(|line| line.detail).collect()
    }
}

#[tokio::test]
async fn the_real_clamd_decides_who_gets_what() {
    let dir = tempfile::tempdir().unwrap();
    let clamd = Clamd::start(dir.path());
    let world = World::new(dir.path(), &format!("clamd = {:?}\nclamd_size = \"900 KiB\"", clamd.address()));
    let clean = world.take(&vec![b'x'; 800_000], true).await;
    let empty = world.take(b"", true).await;
    let bad = [&vec![b'y'; 300_000], HARMFUL, b" and more"].concat();
    let harmful = world.take(&bad, true).await;
    let large = world.take(&vec![b'z'; 1_000_000], true).await;
    scanning::round(&world.gateway).await.unwrap();
    assert_eq!((world.check(clean).await, world.check(empty).await), (Check::Clear, Check::Clear));
    assert_eq!((world.check(harmful).await, world.check(large).await), (Check::Found, Check::Unscannable));
    // The sender is one of ours, and is told of what is harmful.
    assert_eq!(world.told().await, ["alice@home.example"]);
    let lines = world.lines().await;
    assert_eq!(lines[0], format!("file 0 (plan.bin): harmful: {NAME}"));
    assert!(lines[1].contains("not checked: 1000000 octets are more than clamd_size"), "{}", lines[1]);
    let events = world.store.search(HistoryFilter { kind: "scan".to_owned(), ..HistoryFilter::default() });
    assert_eq!(events.await.unwrap().len(), 2);
    // A stranger sends the same: found again, and nobody is mailed.
    let again = world.take(&bad, false).await;
    assert_eq!(world.check(again).await, Check::Waiting);
    scanning::round(&world.gateway).await.unwrap();
    assert_eq!((world.check(again).await, world.told().await.len()), (Check::Found, 1));
    assert!(world.store.unchecked_blobs(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_clamd_that_takes_less_than_we_were_told_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let clamd = Clamd::start(dir.path());
    let world = World::new(dir.path(), &format!("clamd = {:?}\nclamd_size = \"1 GB\"", clamd.address()));
    let large = world.take(&vec![b'x'; 5_000_000], true).await;
    scanning::round(&world.gateway).await.unwrap();
    assert_eq!(world.check(large).await, Check::Unscannable);
    assert!(world.lines().await[0].contains("size limit exceeded"), "{:?}", world.lines().await);
}

#[tokio::test]
async fn without_clamd_files_wait_and_without_a_setting_they_are_not_checked() {
    let dir = tempfile::tempdir().unwrap();
    let gone = World::new(dir.path(), &format!("clamd = \"unix:{}/gone.ctl\"", dir.path().display()));
    let message = gone.take(b"file", true).await;
    let fault = scanning::round(&gone.gateway).await.unwrap_err();
    assert!(fault.contains("gone.ctl") && fault.contains("is clamd running"), "{fault}");
    assert_eq!(gone.check(message).await, Check::Waiting);
    let none = World::new(dir.path(), "");
    let message = none.take(b"file", true).await;
    scanning::round(&none.gateway).await.unwrap();
    assert_eq!(none.check(message).await, Check::Unscannable);
}
