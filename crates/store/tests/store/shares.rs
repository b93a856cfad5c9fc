//! Detached files, run on every store: links lead to durable blobs, equal content is kept once, and what nobody names
//! any more goes in two steps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vouchsafe_core::attachments::{
    Access, AttachmentStore, BlobStore, Check, Detached, Detachment, FormFor, LinkRules, ShareChange,
    ShareFilter, ShareNews, ShareState, Standing, Telling,
};
use vouchsafe_core::links::{LinkSecret, Token};
use vouchsafe_core::ports::{Accepted, MailStore, QueueAction, QueueFilter, StoreFault};
use vouchsafe_core::recipe::{Piece, Recipe, SlotCoding};
use vouchsafe_core::{MessageId, RecipientState, RouteKey, Timestamp};
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::disk::SimDisk;
use vouchsafe_store::memory::MemoryStore;

use crate::given::*;
use crate::s3::Server;

trait Subject: MailStore + AttachmentStore {}
impl<T: MailStore + AttachmentStore> Subject for T {}

struct Given {
    store: Arc<dyn Subject>,
    blobs: Arc<Blobs>,
    _dir: Option<tempfile::TempDir>,
    _server: Option<Server>,
}

fn memory() -> Given {
    Given { store: MemoryStore::new(), blobs: Blobs::memory(), _dir: None, _server: None }
}

fn sqlite() -> Given {
    let dir = scratch();
    let disk = Arc::new(SimDisk::new());
    let store = open(dir.path(), disk.clone());
    let blobs = Blobs::files(disk, &dir.path().join("blobs")).unwrap();
    Given { store, blobs, _dir: Some(dir), _server: None }
}

fn encrypted() -> Given {
    let given = sqlite();
    Given { blobs: given.blobs.encrypted(crate::sealed::keys(1)), ..given }
}

fn s3() -> Given {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(SimDisk::new()));
    let server = Server::start();
    Given { blobs: server.blobs(store.clone()), store, _dir: Some(dir), _server: Some(server) }
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod in_memory { $(#[test] fn $test() { crate::given::run(super::$test(super::memory())) })* }
        mod encrypted { $(#[test] fn $test() { crate::given::run(super::$test(super::encrypted())) })* }
        mod on_s3 { $(#[test] fn $test() { crate::given::run(super::$test(super::s3())) })* }
        mod on_disk { $(#[test] fn $test() { crate::given::run(super::$test(super::sqlite())) })* }
    };
}

suite! {
    a_blob_is_read_in_stretches,
    a_dropped_blob_leaves_nothing,
    who_holds_a_blob_keeps_it_from_being_listed,
    links_lead_to_the_files,
    shares_are_found_by_what_an_administrator_knows,
    a_cap_holds_for_each_file_and_link,
    what_a_scanner_says_belongs_to_the_content,
    what_nobody_was_asked_about_does_not_stand_for_what_is_to_be_checked,
    what_an_administrator_says_stands,
    a_sender_has_links_of_his_own,
    a_sender_is_told_and_it_is_noted_or_neither,
    equal_content_is_kept_once,
    a_form_stays_with_its_route_until_the_message_leaves,
    recipients_of_one_route_have_forms_and_files_of_their_own,
    forms_that_do_not_fit_the_message_are_refused,
    what_waits_with_links_that_went_is_held,
    a_hold_forbids_erasing_and_every_change_is_written_down,
}

fn secret(number: u128) -> LinkSecret {
    LinkSecret::new([number as u8; 32])
}

/// Message `number` with one detached file of these octets; the route of one.example gets a form.
pub async fn detached(blobs: &dyn BlobStore, number: u128, file: &Bytes) -> Result<Accepted, StoreFault> {
    let mut writer = blobs.create().await?;
    for chunk in file.chunks(100_000) {
        writer.write(file.slice_ref(chunk)).await?;
    }
    let blob = writer.seal().await?;
    let recipe = Recipe::new(vec![Piece::Body { from: 0, to: 10 }, Piece::Slot(SlotCoding::Plain)]).unwrap();
    let mut message = small(number, &["a@one.example", "b@far.test", "c@one.example"]);
    message.detached = Some(Detachment {
        subject: "The plan".to_owned(),
        check: Check::Clear,
        parts: vec![Detached {
            blob,
            file_name: "plan.pdf".to_owned(),
            media_type: "application/pdf".to_owned(),
            position: 0,
        }],
        forms: vec![FormFor { recipients: vec![0, 2], recipe, files: vec![0] }],
        links: LinkRules {
            per_recipient: true,
            blind: Vec::new(),
            expire: Duration::from_secs(86_400),
            access: Access::Link,
            downloads: Some(2),
            secret: secret(number),
        },
    });
    Ok(message)
}

/// The file that a recipient's link leads to.
pub async fn fetch(
    store: &dyn AttachmentStore,
    blobs: &dyn BlobStore,
    number: u128,
    recipient: u32,
) -> Result<Vec<u8>, StoreFault> {
    let landing = store.landing(secret(number).token(recipient).hash()).await?;
    let landing = landing.ok_or_else(|| StoreFault::Missing("link".to_owned()))?;
    let blob = landing.share.files[0].blob.clone().unwrap();
    let len = blob.len;
    read_blob(blobs, blob, 0..len).await
}

async fn read_blob(
    blobs: &dyn BlobStore,
    blob: vouchsafe_core::attachments::BlobRef,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, StoreFault> {
    let mut reader = blobs.open(blob, range).await?;
    let mut octets = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty() && chunk.len() <= 256 * 1024);
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

async fn a_blob_is_read_in_stretches(given: Given) {
    let file = octets(id(1), 700_001);
    let mut writer = given.blobs.create().await.unwrap();
    for chunk in file.chunks(50_000) {
        writer.write(file.slice_ref(chunk)).await.unwrap();
    }
    let blob = writer.seal().await.unwrap();
    assert_eq!(blob.len, 700_001);
    for range in [0..700_001, 0..1, 300_000..600_000, 700_000..900_000, 700_001..700_002, 5..5] {
        let read = read_blob(&*given.blobs, blob.reference(), range.clone()).await.unwrap();
        let at = |place: u64| (place as usize).min(file.len());
        assert_eq!(read, file[at(range.start)..at(range.end)], "{range:?}");
    }
    given.blobs.delete(blob.name.clone()).await.unwrap();
    given.blobs.delete(blob.name.clone()).await.unwrap();
    let gone = read_blob(&*given.blobs, blob.reference(), 0..10).await;
    assert!(matches!(gone, Err(StoreFault::Corrupt(_))));
}

async fn a_dropped_blob_leaves_nothing(given: Given) {
    let mut writer = given.blobs.create().await.unwrap();
    writer.write(octets(id(1), 300_000)).await.unwrap();
    drop(writer);
    assert!(given.blobs.list(String::new(), 10).await.unwrap().is_empty());
}

async fn who_holds_a_blob_keeps_it_from_being_listed(given: Given) {
    let mut names = Vec::new();
    let mut held = Vec::new();
    for _ in 0..5 {
        let blob = given.blobs.create().await.unwrap().seal().await.unwrap();
        names.push(blob.name.clone());
        held.push(blob);
    }
    assert!(given.blobs.list(String::new(), 2).await.unwrap().is_empty());
    drop(held);
    let mut found: Vec<String> = Vec::new();
    loop {
        let page = given.blobs.list(found.last().cloned().unwrap_or_default(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    found.sort_unstable();
    names.sort_unstable();
    assert_eq!(found, names);
    assert_eq!(given.store.unknown_blobs(names.clone()).await.unwrap(), names);
}

async fn links_lead_to_the_files(given: Given) {
    let file = octets(id(1), 300_000);
    given.store.accept(detached(&*given.blobs, 1, &file).await.unwrap()).await.unwrap();
    for recipient in [0, 2] {
        assert_eq!(fetch(&*given.store, &*given.blobs, 1, recipient).await.unwrap(), file);
    }
    // The route of b@far.test gets the content: no link was made.
    assert!(given.store.landing(secret(1).token(1).hash()).await.unwrap().is_none());
    let token = secret(1).token(2).hash();
    given
        .store
        .change(ShareChange::Downloaded { link: token, files: vec![0] }, "192.0.2.1".to_owned(), NOW)
        .await
        .unwrap();
    let landing = given.store.landing(token).await.unwrap().unwrap();
    assert_eq!(landing.downloads, 1);
    assert_eq!(landing.share.links[0].recipients, ["c@one.example"]);
    let by =
        |recipient: &str| ShareFilter { recipient: Some(recipient.to_owned()), ..ShareFilter::default() };
    assert_eq!(given.store.shares(by("C@one.example")).await.unwrap().len(), 1);
    assert_eq!(given.store.shares(by("one.example")).await.unwrap().len(), 0);
    let usage = given.store.usage("alice".to_owned(), "from.test".to_owned()).await.unwrap();
    assert_eq!((usage.user, usage.domain), (300_000, 300_000));
}

async fn shares_are_found_by_what_an_administrator_knows(given: Given) {
    for number in 1..=4 {
        let mut message = detached(&*given.blobs, number, &octets(id(number), 100)).await.unwrap();
        if number == 4 {
            "Größe \"Ä\" 日本語.pdf".clone_into(&mut message.detached.as_mut().unwrap().parts[0].file_name);
        }
        given.store.accept(message).await.unwrap();
    }
    let change = async |change| given.store.change(change, "admin".to_owned(), NOW).await.unwrap();
    change(ShareChange::Hold { message: id(1), on: true }).await;
    change(ShareChange::Revoke { message: id(2), link: None }).await;
    change(ShareChange::Extend { message: id(3), until: NOW + Duration::from_secs(1) }).await;
    let later = NOW + Duration::from_secs(5);
    let found = async |filter: ShareFilter| -> Vec<MessageId> {
        let shares = given.store.shares(ShareFilter { now: later, ..filter }).await.unwrap();
        shares.into_iter().map(|share| share.message).collect()
    };
    let all = ShareFilter::default;
    for (state, number) in
        [(ShareState::Hold, 1), (ShareState::Revoked, 2), (ShareState::Expired, 3), (ShareState::Open, 4)]
    {
        assert_eq!(found(ShareFilter { state: Some(state), ..all() }).await, [id(number)], "{state:?}");
    }
    let name = given.store.shares(all()).await.unwrap()[0].files[0].file_name.to_uppercase();
    let holds = |text: &str| ShareFilter { text: Some(text.to_owned()), ..all() };
    assert_eq!(found(holds(&name)).await.len(), 3, "by the name of a file");
    for part in ["GRÖSSE", "größe \"ä\" 日", "ä", "\"", "日本", "PDF"] {
        let there = usize::from(part != "GRÖSSE");
        let found = found(holds(part)).await;
        assert_eq!(found.iter().filter(|found| **found == id(4)).count(), there, "{part}: {found:?}");
    }
    assert_eq!(found(holds(&id(2).to_string())).await, [id(2)], "by message");
    assert_eq!(found(holds("C@ONE.example")).await.len(), 4, "by recipient");
    let of = |text: &str| ShareFilter { address: Some(text.to_owned()), ..all() };
    assert_eq!(found(of("@ONE.")).await.len(), 4, "by a part of an address");
    assert!(found(of("日本")).await.is_empty(), "an address is no name of a file");
    assert!(found(holds("nobody")).await.is_empty());
    assert!(found(ShareFilter { check: Some(Check::Found), ..all() }).await.is_empty());
    assert_eq!(found(ShareFilter { check: Some(Check::Clear), ..all() }).await.len(), 4);
    let newest = |behind| ShareFilter { newest_first: true, behind, limit: 2, ..all() };
    assert_eq!(found(newest(None)).await, [id(4), id(3)]);
    assert_eq!(found(newest(Some(id(3)))).await, [id(2), id(1)]);
    assert_eq!(found(ShareFilter { behind: Some(id(3)), ..all() }).await, [id(4)]);
    let lines = given.store.audit(0, Some(id(2)), 100).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.what.as_str()).collect::<Vec<_>>(), ["store", "revoke"]);
    assert!(given.store.audit(lines[1].number, Some(id(2)), 100).await.unwrap().is_empty());
}

async fn a_cap_holds_for_each_file_and_link(given: Given) {
    let mut message = detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap();
    let made = message.detached.as_mut().unwrap();
    made.parts.push(Detached { position: 1, ..made.parts[0].clone() });
    made.forms[0].files = vec![0, 1];
    given.store.accept(message).await.unwrap();
    let (one, other) = (secret(1).token(0).hash(), secret(1).token(2).hash());
    let fetch = async |link, files: &[u32]| {
        let change = ShareChange::Downloaded { link, files: files.to_vec() };
        given.store.change(change, "192.0.2.1".to_owned(), NOW).await
    };
    fetch(one, &[0]).await.unwrap();
    fetch(one, &[0, 1]).await.unwrap();
    // The second file would still be had; both together are not, and nothing is counted.
    assert!(matches!(fetch(one, &[1, 0]).await, Err(StoreFault::Missing(_))));
    assert!(matches!(fetch(one, &[7]).await, Err(StoreFault::Missing(_))));
    let landing = given.store.landing(one).await.unwrap().unwrap();
    assert_eq!((landing.downloads, landing.fetched.clone()), (3, vec![(0, 2), (1, 1)]));
    assert_eq!((landing.left(0), landing.left(1)), (Some(0), Some(1)));
    fetch(other, &[0]).await.unwrap();
    let landing = given.store.landing(other).await.unwrap().unwrap();
    assert_eq!((landing.left(0), landing.left(1)), (Some(1), Some(2)));
    assert_eq!(landing.share.subject, "The plan");
    assert_eq!(landing.share.files.iter().map(|file| file.downloads).collect::<Vec<_>>(), [3, 1]);
}

async fn what_a_scanner_says_belongs_to_the_content(given: Given) {
    let mut message = detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap();
    message.detached.as_mut().unwrap().check = Check::Waiting;
    given.store.accept(message).await.unwrap();
    let check = async |number| {
        let landing = given.store.landing(secret(number).token(0).hash()).await.unwrap().unwrap();
        landing.share.files[0].check
    };
    assert_eq!(check(1).await, Check::Waiting);
    let waiting = given.store.unchecked_blobs(10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    let say = async |blob: &str, check, detail: &str| {
        let (blob, detail) = (blob.to_owned(), detail.to_owned());
        given.store.set_check(blob, check, detail, "clamd".to_owned(), NOW).await.unwrap();
    };
    say(&waiting[0].name, Check::Found, "Eicar").await;
    assert_eq!(given.store.messages_of(waiting[0].name.clone()).await.unwrap(), [id(1)]);
    assert!(given.store.unchecked_blobs(10).await.unwrap().is_empty());
    // The same content once more, from a message that nobody wants checked.
    given.store.accept(detached(&*given.blobs, 2, &octets(id(1), 100)).await.unwrap()).await.unwrap();
    assert_eq!((check(1).await, check(2).await), (Check::Found, Check::Found));
    // And from one that wants it checked: somebody is to be told, so it is asked about anew.
    let mut message = detached(&*given.blobs, 3, &octets(id(1), 100)).await.unwrap();
    message.detached.as_mut().unwrap().check = Check::Waiting;
    given.store.accept(message).await.unwrap();
    assert_eq!(check(3).await, Check::Waiting);
    let again = given.store.unchecked_blobs(10).await.unwrap();
    say(&again[0].name, Check::Unscannable, "too large").await;
    say(&again[0].name, Check::Clear, "").await;
    assert_eq!((check(1).await, check(3).await), (Check::Found, Check::Clear));
    say("gone", Check::Found, "").await;
    let lines = given.store.audit(0, None, 100).await.unwrap();
    let scans = lines.iter().filter(|line| line.what == "scan");
    let said: Vec<String> = scans.map(|line| format!("{} {}", line.message.unwrap(), line.detail)).collect();
    let want = [
        (1, "file 0 (plan.pdf): harmful: Eicar"),
        (3, "file 0 (plan.pdf): not checked: too large"),
        (3, "file 0 (plan.pdf): given free"),
    ];
    assert_eq!(said, want.map(|(number, words)| format!("{} {words}", id(number))));
}

async fn what_nobody_was_asked_about_does_not_stand_for_what_is_to_be_checked(given: Given) {
    let accept = async |number, wanted| {
        let mut message = detached(&*given.blobs, number, &octets(id(1), 100)).await.unwrap();
        message.detached.as_mut().unwrap().check = wanted;
        given.store.accept(message).await.unwrap();
    };
    let file = async |number| {
        let landing = given.store.landing(secret(number).token(0).hash()).await.unwrap().unwrap();
        let file = &landing.share.files[0];
        (file.check, file.blob.as_ref().unwrap().name.clone())
    };
    accept(1, Check::Clear).await;
    accept(2, Check::Waiting).await;
    let ((first, old), (second, new)) = (file(1).await, file(2).await);
    assert_eq!((first, second), (Check::Clear, Check::Waiting));
    assert_ne!(old, new);
    // While it waits, and once it was found clear, it does.
    accept(3, Check::Waiting).await;
    assert_eq!(file(3).await, (Check::Waiting, new.clone()));
    given.store.set_check(new.clone(), Check::Clear, String::new(), "clamd".to_owned(), NOW).await.unwrap();
    accept(4, Check::Waiting).await;
    assert_eq!(file(4).await, (Check::Clear, new));
    assert!(given.store.audit(0, None, 100).await.unwrap().iter().all(|line| line.what == "store"));
}

async fn what_an_administrator_says_stands(given: Given) {
    let accept = async |number| {
        let mut message = detached(&*given.blobs, number, &octets(id(1), 100)).await.unwrap();
        message.detached.as_mut().unwrap().check = Check::Waiting;
        given.store.accept(message).await.unwrap();
    };
    let file = async |number| {
        let landing = given.store.landing(secret(number).token(0).hash()).await.unwrap().unwrap();
        let file = &landing.share.files[0];
        (file.check, file.blob.as_ref().unwrap().name.clone())
    };
    let refused = async || {
        let filter = ShareFilter { check: Some(Check::Refused), ..ShareFilter::default() };
        given.store.shares(filter).await.unwrap().iter().map(|share| share.message).collect::<Vec<_>>()
    };
    accept(1).await;
    let blob = file(1).await.1;
    let say = async |check, who: &str| {
        given.store.set_check(blob.clone(), check, String::new(), who.to_owned(), NOW).await.unwrap();
    };
    say(Check::Clear, "clamd").await;
    assert_eq!(refused().await, []);
    say(Check::Refused, "admin carol").await;
    // It comes again, and is not asked about anew.
    accept(2).await;
    assert_eq!(file(2).await, (Check::Refused, blob.clone()));
    assert_eq!(refused().await, [id(1), id(2)]);
    say(Check::Clear, "admin dave").await;
    assert_eq!((file(1).await.0, file(2).await.0), (Check::Clear, Check::Clear));
    assert_eq!(refused().await, []);
    let lines = given.store.audit(0, None, 100).await.unwrap();
    let scans = lines.iter().filter(|line| line.what == "scan");
    let said: Vec<String> = scans.map(|line| format!("{} {}", line.who, line.detail)).collect();
    let free = "admin dave file 0 (plan.pdf): given free";
    assert_eq!(said, ["admin carol file 0 (plan.pdf): refused", free, free]);
}

async fn a_sender_has_links_of_his_own(given: Given) {
    given.store.accept(detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap()).await.unwrap();
    let message = id(1);
    let link = Token::new([9; 20]).hash();
    let change = async |change| given.store.change(change, "from.test".to_owned(), NOW).await;
    change(ShareChange::SenderLink { message, link }).await.unwrap();
    let gone = ShareChange::SenderLink { message: id(5), link: Token::new([8; 20]).hash() };
    assert!(matches!(change(gone).await, Err(StoreFault::Missing(_))));
    let share = given.store.sender_share(link).await.unwrap().unwrap();
    assert_eq!((share.message, share.files.len(), share.links.len()), (message, 1, 2));
    assert!(given.store.landing(link).await.unwrap().is_none());
    assert!(given.store.sender_share(secret(1).token(0).hash()).await.unwrap().is_none());
    change(ShareChange::Erase { message }).await.unwrap();
    assert!(given.store.sender_share(link).await.unwrap().is_none());
}

async fn a_sender_is_told_and_it_is_noted_or_neither(given: Given) {
    let message = id(1);
    let link = Token::new([9; 20]).hash();
    let tell = async |number| {
        let mail = small(number, &["sender@from.test"]);
        let news = Some(ShareNews { message, what: Telling::Receipt, link });
        given.store.accept(Accepted { news, ..mail }).await
    };
    let queued = async || given.store.stats().await.unwrap().messages;
    assert!(matches!(tell(2).await, Err(StoreFault::Missing(_))), "its files have gone");
    assert_eq!(queued().await, 0);
    assert!(matches!(content(&*given.store, id(2)).await, Err(StoreFault::Missing(_))));

    given.store.accept(detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap()).await.unwrap();
    tell(3).await.unwrap();
    assert_eq!(queued().await, 2);
    let share = given.store.sender_share(link).await.unwrap().unwrap();
    assert_eq!((share.message, share.receipted, share.reminded), (message, true, false));
    assert_eq!(content(&*given.store, id(3)).await.unwrap(), whole(&octets(id(3), 5_000)));
}

#[test]
fn a_link_shows_files_then_that_they_were_there_then_nothing() {
    let given = memory();
    crate::given::run(async move {
        given.store.accept(detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap()).await.unwrap();
        let landing = given.store.landing(secret(1).token(0).hash()).await.unwrap().unwrap();
        let (grace, second) = (Duration::from_secs(100), Duration::from_secs(1));
        let end = landing.share.expires;
        assert_eq!(landing.standing(Timestamp(end.0 - 1), grace), Standing::Open);
        assert_eq!(landing.standing(end, grace), Standing::Expired);
        assert_eq!(landing.standing(end + grace, grace), Standing::Gone);
        let mut revoked = landing.clone();
        revoked.share.links[0].revoked = Some(NOW);
        assert_eq!(revoked.standing(end, grace), Standing::Revoked);
        assert_eq!(revoked.standing(end + grace + second, grace), Standing::Gone);
    });
}

async fn equal_content_is_kept_once(given: Given) {
    let file = octets(id(1), 300_000);
    for number in [1, 2] {
        given.store.accept(detached(&*given.blobs, number, &file).await.unwrap()).await.unwrap();
    }
    let doomed = given.store.doomed_blobs(10).await.unwrap();
    assert_eq!(doomed.len(), 1);
    given.blobs.delete(doomed[0].clone()).await.unwrap();
    given.store.forget_blobs(doomed).await.unwrap();
    given.store.change(ShareChange::Erase { message: id(1) }, "admin".to_owned(), NOW).await.unwrap();
    assert!(given.store.doomed_blobs(10).await.unwrap().is_empty());
    assert_eq!(fetch(&*given.store, &*given.blobs, 2, 0).await.unwrap(), file);
    given.store.change(ShareChange::Erase { message: id(2) }, "admin".to_owned(), NOW).await.unwrap();
    assert_eq!(given.store.doomed_blobs(10).await.unwrap().len(), 1);
}

async fn a_form_stays_with_its_route_until_the_message_leaves(given: Given) {
    given.store.accept(detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap()).await.unwrap();
    let left = async || {
        let filter = ShareFilter { left_queue: true, ..ShareFilter::default() };
        given.store.shares(filter).await.unwrap().len()
    };
    let claimed = given.store.claim(NOW, 10, Vec::new()).await.unwrap();
    for delivery in claimed {
        assert_eq!(left().await, 0, "its files are still to be told of");
        let form = delivery.form.clone();
        assert_eq!(form.is_some(), delivery.route != RouteKey::Relay);
        if let Some(form) = form {
            let link = format!("https://files.example/{}", secret(1).token(2));
            assert_eq!(form.link("https://files.example", 2), link);
            assert_eq!(form.content, 5_000);
        }
        given.store.settle(settlement(&delivery, RecipientState::Delivered, NOW)).await.unwrap();
    }
    assert_eq!(left().await, 1);
    // The queue has forgotten the secret; the links are as good as before.
    assert!(given.store.landing(secret(1).token(2).hash()).await.unwrap().is_some());
}

/// Three of one route: two get forms that lead to other files, one link each for who shares it, the third the content.
async fn recipients_of_one_route_have_forms_and_files_of_their_own(given: Given) {
    let recipe = |to| Recipe::new(vec![Piece::Body { from: 0, to }, Piece::Slot(SlotCoding::Plain)]).unwrap();
    let mut message = detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap();
    let second = detached(&*given.blobs, 2, &octets(id(2), 200)).await.unwrap();
    let to = ["a@one.example", "b@far.test", "c@far.test", "d@far.test", "e@far.test"];
    message.envelope = small(1, &to).envelope;
    let made = message.detached.as_mut().unwrap();
    made.parts
        .extend(second.detached.unwrap().parts.into_iter().map(|part| Detached { position: 1, ..part }));
    made.forms = vec![
        FormFor { recipients: vec![0, 2], recipe: recipe(10), files: vec![0, 1] },
        FormFor { recipients: vec![1, 4], recipe: recipe(20), files: vec![1] },
    ];
    made.links.per_recipient = false;
    given.store.accept(message).await.unwrap();

    let claimed = given.store.claim(NOW, 10, Vec::new()).await.unwrap();
    let mut found: Vec<_> = claimed
        .iter()
        .map(|delivery| {
            let form = delivery.form.as_ref().map(|form| (form.number, form.recipe.content_end()));
            let indexes: Vec<u32> = delivery.recipients.iter().map(|recipient| recipient.index).collect();
            (indexes, delivery.route.to_string(), form)
        })
        .collect();
    found.sort();
    let relay = || "relay".to_owned();
    let want = [
        (vec![0], "domain:one.example".to_owned(), Some((0, 10))),
        (vec![1, 4], relay(), Some((1, 20))),
        (vec![2], relay(), Some((0, 10))),
        (vec![3], relay(), None),
    ];
    assert_eq!(found, want);

    let link = |index: u32| {
        let of = claimed.iter().find(|one| one.recipients.iter().any(|to| to.index == index)).unwrap();
        of.form.as_ref().map(|form| form.link("", index)[1..].parse::<Token>().unwrap().hash())
    };
    assert_eq!((link(0), link(1)), (link(2), link(4)), "who has a form in common shares its link");
    let landing = async |index| given.store.landing(link(index).unwrap()).await.unwrap().unwrap();
    let sizes = async |index| {
        let files = landing(index).await.share.files;
        files.iter().map(|file| (file.position, file.size)).collect::<Vec<_>>()
    };
    assert_eq!(sizes(0).await, [(0, 100), (1, 200)]);
    assert_eq!(sizes(4).await, [(1, 200)]);
    assert_eq!(landing(4).await.share.links[0].recipients, ["b@far.test", "e@far.test"]);
    let fetch = async |file| {
        let change = ShareChange::Downloaded { link: link(4).unwrap(), files: vec![file] };
        given.store.change(change, String::new(), NOW).await
    };
    assert!(matches!(fetch(0).await, Err(StoreFault::Missing(_))), "it is in the message itself");
    fetch(1).await.unwrap();

    let share = given.store.shares(ShareFilter::default()).await.unwrap().remove(0);
    assert_eq!(share.files.len(), 2);
    let mut files: Vec<_> = share.links.iter().map(|link| link.files.clone()).collect();
    files.sort();
    assert_eq!(files, [None, Some(vec![1])]);
    for delivery in &claimed {
        given.store.settle(settlement(delivery, RecipientState::Delivered, NOW)).await.unwrap();
    }
    assert_eq!(given.store.stats().await.unwrap().messages, 0);
}

async fn forms_that_do_not_fit_the_message_are_refused(given: Given) {
    let recipe = |to| Recipe::new(vec![Piece::Body { from: 0, to }]).unwrap();
    let form = |recipients: &[u32], to| FormFor {
        recipients: recipients.to_vec(),
        recipe: recipe(to),
        files: vec![0],
    };
    for forms in [vec![form(&[0], 5_001)], vec![form(&[3], 10)], vec![form(&[0, 1], 10), form(&[1], 10)]] {
        let mut message = detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap();
        message.detached.as_mut().unwrap().forms = forms;
        assert!(matches!(given.store.accept(message).await, Err(StoreFault::Broken(_))));
    }
    assert_eq!(given.store.stats().await.unwrap().messages, 0);
}

async fn what_waits_with_links_that_went_is_held(given: Given) {
    let message = id(1);
    given.store.accept(detached(&*given.blobs, 1, &octets(message, 100)).await.unwrap()).await.unwrap();
    let change = async |change| given.store.change(change, "admin dave".to_owned(), NOW).await.unwrap();
    // By route: the recipients with their states and last words.
    let rows = async || {
        let rows = given.store.list(QueueFilter::default()).await.unwrap();
        let mut rows: Vec<_> = rows.into_iter().map(|row| (row.linked, row.recipients)).collect();
        rows.sort_by_key(|(linked, _)| *linked);
        rows
    };
    let link = given.store.shares(ShareFilter::default()).await.unwrap()[0].links[0].id.clone();
    change(ShareChange::Revoke { message, link: Some(link) }).await;
    assert_eq!(given.store.stats().await.unwrap().held, 0, "one of several links");
    change(ShareChange::Revoke { message, link: None }).await;
    let waiting = rows().await;
    let plain = ("b@far.test".to_owned(), RecipientState::Pending, String::new());
    assert_eq!(waiting[0], (false, vec![plain]), "it has no link");
    let taken_back = |(_, state, words): &(String, RecipientState, String)| {
        *state == RecipientState::Held && words.starts_with("its links were taken back by admin dave: ")
    };
    assert!(waiting[1].0 && waiting[1].1.len() == 2 && waiting[1].1.iter().all(taken_back), "{waiting:?}");
    let claimed = given.store.claim(NOW, 10, Vec::new()).await.unwrap();
    assert_eq!(claimed.iter().map(|delivery| delivery.route.clone()).collect::<Vec<_>>(), [RouteKey::Relay]);
    given.store.release(claimed[0].id);

    let all = QueueFilter { message: Some(message), ..QueueFilter::default() };
    given.store.act(all.clone(), QueueAction::Release, NOW).await.unwrap();
    assert_eq!(given.store.stats().await.unwrap().held, 0);
    let claimed = given.store.claim(NOW, 10, Vec::new()).await.unwrap();
    assert_eq!(claimed.len(), 2, "who released it has read the words");
    // Deleted while it is being tried, which comes to nothing.
    change(ShareChange::Erase { message }).await;
    for delivery in &claimed {
        given.store.settle(settlement(delivery, RecipientState::Pending, NOW)).await.unwrap();
    }
    assert_eq!(given.store.stats().await.unwrap().held, 2);
    let words: Vec<String> = rows().await[1].1.iter().map(|(.., words)| words.clone()).collect();
    assert!(
        words.iter().all(|words| words.starts_with("its files were deleted by admin dave: ")),
        "{words:?}"
    );
}

async fn a_hold_forbids_erasing_and_every_change_is_written_down(given: Given) {
    given.store.accept(detached(&*given.blobs, 1, &octets(id(1), 100)).await.unwrap()).await.unwrap();
    let change = async |change| given.store.change(change, "admin".to_owned(), NOW).await;
    let message = id(1);
    change(ShareChange::Hold { message, on: true }).await.unwrap();
    assert!(matches!(change(ShareChange::Erase { message }).await, Err(StoreFault::Missing(_))));
    change(ShareChange::Hold { message, on: false }).await.unwrap();
    change(ShareChange::Revoke { message, link: None }).await.unwrap();
    assert_eq!(given.store.shares(ShareFilter::default()).await.unwrap()[0].revoked, Some(NOW));
    change(ShareChange::Extend { message, until: NOW }).await.unwrap();
    assert_eq!(given.store.shares(ShareFilter::default()).await.unwrap()[0].revoked, None);
    change(ShareChange::Erase { message }).await.unwrap();
    assert!(given.store.landing(secret(1).token(0).hash()).await.unwrap().is_none());
    let lines = given.store.audit(0, None, 100).await.unwrap();
    let whats: Vec<&str> = lines.iter().map(|line| line.what.as_str()).collect();
    assert_eq!(whats, ["store", "hold", "release", "revoke", "extend", "erase"]);
    let mut before = String::new();
    for line in &lines {
        assert_eq!(line.chain, line.chained(&before));
        before = line.chain.clone();
    }
}
