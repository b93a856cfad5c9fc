//! Messages in any pieces: what is moved is the decoded part, what is kept is the rest octet for octet, and a part that
//! turns out not to be clean stays as it came.

use std::collections::HashMap;
use std::sync::Mutex;

use proptest::prelude::*;
use vouchsafe_core::attachments::{BlobReader, BlobRef, Keep};
use vouchsafe_core::detach::Limits;
use vouchsafe_core::ports::{Body, BoxFuture};
use vouchsafe_store::memory::MemoryStore;

use super::*;

/// Sealed blobs by name.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<HashMap<String, Vec<u8>>>>);

struct Writing(Shelf, Vec<u8>);

struct Reading(Vec<u8>);

impl BlobWriter for Writing {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.1.extend_from_slice(&chunk);
        Box::pin(async { Ok(()) })
    }
    fn seal(self: Box<Self>) -> BoxFuture<'static, Result<SealedBlob, StoreFault>> {
        Box::pin(async move {
            let mut shelf = self.0.0.lock().unwrap();
            let (name, len) = (format!("b{}", shelf.len()), self.1.len() as u64);
            shelf.insert(name.clone(), self.1);
            Ok(SealedBlob { name, len, sha256: [0; 32], key: Vec::new(), keep: Keep::default() })
        })
    }
}

impl BlobReader for Reading {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        let rest = self.0.split_off(self.0.len().min(100));
        let chunk = std::mem::replace(&mut self.0, rest);
        Box::pin(async move { Ok((!chunk.is_empty()).then(|| Bytes::from(chunk))) })
    }
}

impl BlobStore for Shelf {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreFault>> {
        Box::pin(async { Ok(Box::new(Writing(self.clone(), Vec::new())) as Box<dyn BlobWriter>) })
    }
    fn open(
        &self,
        blob: BlobRef,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        let all = self.0.lock().unwrap()[&blob.name].clone();
        let octets = all[range.start as usize..range.end as usize].to_vec();
        Box::pin(async { Ok(Box::new(Reading(octets)) as Box<dyn BlobReader>) })
    }
    fn delete(&self, name: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.0.lock().unwrap().remove(&name);
        Box::pin(async { Ok(()) })
    }
    fn list(&self, _: String, _: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        let names = self.0.lock().unwrap().keys().cloned().collect();
        Box::pin(async { Ok(names) })
    }
}

struct Done {
    moved: Vec<(u32, Vec<u8>)>,
    kept: Vec<u8>,
    cuts: Vec<Range<u64>>,
    blobs: usize,
}

fn detach(message: &[u8], pieces: usize, part_over: u64, message_over: u64, keep_raw: bool) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let shelf = Shelf::default();
        let limits = Limits { part_over, message_over };
        let rules = Rules { limits, include: Vec::new(), exclude: Vec::new() };
        let spool = Spool::new(MemoryStore::new());
        let mut detacher = Detacher::new(Arc::new(shelf.clone()), rules, keep_raw, spool);
        for piece in message.chunks(pieces.max(1)) {
            detacher.take(piece).await.unwrap();
        }
        let outcome = detacher.finish().await.unwrap();
        assert_eq!(outcome.len, message.len() as u64);
        let Body::Memory(kept) = outcome.spool.finish(true).await.unwrap() else {
            panic!("small bodies stay in memory")
        };
        let content = |moved: &Moved| (moved.id, shelf.0.lock().unwrap()[&moved.blob.name].clone());
        let moved = outcome.moved.iter().map(content).collect();
        let blobs = shelf.0.lock().unwrap().len();
        Done { moved, kept: kept.to_vec(), cuts: outcome.cuts, blobs }
    })
}

/// The message less what was cut.
fn less(message: &[u8], cuts: &[Range<u64>]) -> Vec<u8> {
    let mut rest = message.to_vec();
    for cut in cuts.iter().rev() {
        rest.drain(cut.start as usize..cut.end as usize);
    }
    rest
}

fn base64(content: &[u8], line: usize) -> String {
    let mut coded = String::new();
    let mut restorer = String::new();
    for group in content.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let at = (bits >> (18 - 6 * place)) as usize & 63;
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            restorer.push(if place <= group.len() { char::from(alphabet[at]) } else { '=' });
        }
    }
    for chunk in restorer.as_bytes().chunks(line) {
        coded.push_str(std::str::from_utf8(chunk).unwrap());
        coded.push_str("\r\n");
    }
    coded
}

fn part(coding: &str, body: &str) -> String {
    format!(
        "--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: {coding}\r\n\r\n{body}\r\n"
    )
}

fn message(parts: &[String]) -> Vec<u8> {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n";
    format!("{head}{}--b--\r\n", parts.concat()).into_bytes()
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 % 251) as u8).collect()
}

#[test]
fn large_parts_are_moved_and_small_ones_stay() {
    let (large, small) = (content(9_000), content(100));
    let message = message(&[part("base64", &base64(&small, 76)), part("base64", &base64(&large, 76))]);
    for pieces in [7, 1_000, 1_000_000] {
        let done = detach(&message, pieces, 5_000, 1 << 30, false);
        assert_eq!(done.moved, [(3, large.clone())]);
        assert_eq!(done.kept, less(&message, &done.cuts));
        assert_eq!(done.cuts.len(), usize::from(pieces < 1_000_000), "what streams is cut");
        let whole = detach(&message, pieces, 5_000, 1 << 30, true);
        assert_eq!((whole.moved, whole.kept), (done.moved, message.clone()), "others need it whole");
    }
}

#[test]
fn past_the_messages_limit_the_largest_go_first() {
    let sizes = [5_000, 9_000, 7_000];
    let parts = sizes.map(|size| part("base64", &base64(&content(size), 76)));
    let message = message(&parts);
    for (message_over, want) in
        [(20_000, vec![3]), (10_000, vec![3, 4]), (1_000, vec![2, 3, 4]), (1 << 30, vec![])]
    {
        let done = detach(&message, 1 << 20, 1 << 30, message_over, false);
        assert_eq!(done.moved.iter().map(|moved| moved.0).collect::<Vec<_>>(), want, "{message_over}");
    }
}

#[test]
fn an_unclean_end_brings_the_part_back_as_it_was() {
    let large = base64(&content(9_000), 76);
    for end in ["!", "AA==AA==", "\r\nQUJD", "\u{0}"] {
        let unclean = message(&[part("base64", &format!("{large}{end}\r\n")), part("7bit", "after")]);
        for pieces in [1, 13, 1_000, 5_000] {
            let done = detach(&unclean, pieces, 2_000, 1 << 30, false);
            let clean = end == "\r\nQUJD";
            assert_eq!(done.moved.len(), usize::from(clean), "{end:?} in pieces of {pieces}");
            assert_eq!(done.kept, less(&unclean, &done.cuts), "{end:?} in pieces of {pieces}");
            assert_eq!(done.blobs, done.moved.len(), "no blob is left behind");
        }
    }
    // Cut off: no parser can be sure that this was all.
    let cut = &message(&[part("base64", &large)])[..9_000];
    let done = detach(cut, 100, 2_000, 1 << 30, false);
    assert!(done.moved.is_empty() && done.kept == cut);
}

#[test]
fn a_part_that_cannot_be_written_again_is_kept_raw_until_its_end() {
    let text = "line=20of text\r\n".repeat(500);
    let quoted = message(&[part("quoted-printable", &text)]);
    let done = detach(&quoted, 300, 2_000, 1 << 30, false);
    assert_eq!(done.moved[0].1, text.replace("=20", " ").into_bytes());
    assert_eq!(done.kept, quoted);
    let plain = message(&[part("8bit", &"octets \u{e9}\r\n".repeat(900))]);
    let done = detach(&plain, 300, 2_000, 1 << 30, false);
    assert_eq!((done.moved.len(), done.cuts.len()), (1, 1));
    let nul = message(&[part("8bit", &format!("{}\0", "octets\r\n".repeat(900)))]);
    let done = detach(&nul, 300, 2_000, 1 << 30, false);
    assert!(done.moved.is_empty() && done.kept == nul);
}

#[test]
fn nothing_goes_out_of_a_message_with_pgp_in_its_text() {
    let text = "--b\r\nContent-Type: text/plain; charset=utf-8\r\n";
    let file = part("base64", &base64(&content(9_000), 76));
    let small = part("base64", &base64(&content(3_000), 76));
    for (coding, armour) in [
        ("7bit", "-----BEGIN PGP MESSAGE-----\r\n\r\nabc\r\n-----END PGP MESSAGE-----\r\n".to_owned()),
        ("quoted-printable", "Hi=20\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n".to_owned()),
        ("base64", base64(b"Hi\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n", 76)),
    ] {
        let armoured = format!("{text}Content-Transfer-Encoding: {coding}\r\n\r\n{armour}");
        let sealed = message(&[armoured.clone(), file.clone()]);
        let late = message(&[small.clone(), armoured, file.clone()]);
        for pieces in [1, 50, 100_000] {
            let done = detach(&sealed, pieces, 2_000, 1 << 30, false);
            assert!(done.moved.is_empty() && done.kept == sealed, "{coding} in pieces of {pieces}");
            // What waited for the message to grow stays; so does what comes behind.
            let done = detach(&late, pieces, 1 << 30, 10_000, false);
            assert!(done.moved.is_empty() && done.kept == late, "{coding} in pieces of {pieces}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn any_pieces_and_any_damage_lose_nothing(
        len in 0usize..9_000,
        line in prop_oneof![Just(76usize), Just(60), 1usize..100],
        pieces in prop_oneof![1usize..50, 50usize..9_000],
        damage in proptest::option::of((0usize..12_000, any::<u8>())),
        part_over in 100u64..9_000,
    ) {
        let mut message = message(&[part("base64", &base64(&content(len), line)), part("8bit", "after")]);
        if let Some((at, octet)) = damage {
            let at = at % message.len();
            message[at] = octet;
        }
        let done = detach(&message, pieces, part_over, 1 << 30, false);
        prop_assert_eq!(&done.kept, &less(&message, &done.cuts));
        prop_assert_eq!(done.blobs, done.moved.len());
        if damage.is_none() && len as u64 > part_over {
            prop_assert_eq!(done.moved, vec![(2, content(len))]);
        }
    }
}
