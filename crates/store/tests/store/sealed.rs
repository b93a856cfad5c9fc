//! Encryption at rest: any stretch comes back, nothing of it is in the object, and whatever is changed is noticed.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use vouchsafe_core::attachments::{BlobRef, BlobStore};
use vouchsafe_core::ports::StoreFault;
use vouchsafe_store::blobs::{Blobs, MasterKeys};
use vouchsafe_store::disk::RealDisk;

use crate::given::{id, octets, run, scratch};

/// Octets of a chunk, before and after.
const PLAIN: usize = 64 * 1024;
const SEALED: usize = PLAIN + 16;

pub fn keys(number: u8) -> MasterKeys {
    MasterKeys::parse(&format!("{number:02x}").repeat(32)).unwrap()
}

/// Files in a folder that the test can spoil.
struct Given {
    dir: tempfile::TempDir,
    plain: Arc<Blobs>,
}

impl Given {
    fn new() -> Given {
        let dir = scratch();
        let plain = Blobs::files(Arc::new(RealDisk), &dir.path().join("blobs")).unwrap();
        Given { dir, plain }
    }

    fn path(&self, blob: &BlobRef) -> PathBuf {
        self.dir.path().join("blobs").join(&blob.name[blob.name.len() - 2..]).join(&blob.name)
    }
}

async fn write(blobs: &dyn BlobStore, file: &Bytes, step: usize) -> BlobRef {
    let mut writer = blobs.create().await.unwrap();
    for chunk in file.chunks(step) {
        writer.write(file.slice_ref(chunk)).await.unwrap();
    }
    writer.seal().await.unwrap().reference()
}

async fn read(blobs: &dyn BlobStore, blob: &BlobRef, range: Range<u64>) -> Result<Vec<u8>, StoreFault> {
    let mut reader = blobs.open(blob.clone(), range).await?;
    let mut octets = Vec::new();
    while let Some(chunk) = reader.next().await? {
        assert!(!chunk.is_empty() && chunk.len() <= 256 * 1024);
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

async fn read_all(blobs: &dyn BlobStore, blob: &BlobRef) -> Result<Vec<u8>, StoreFault> {
    read(blobs, blob, 0..blob.len).await
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_stretch_of_any_size_comes_back(
        size in prop_oneof![
            0usize..5 * PLAIN,
            (0usize..5, 0usize..3).prop_map(|(chunks, more)| (chunks * PLAIN + more).saturating_sub(1)),
        ],
        step in prop_oneof![1_000usize..400_000, Just(PLAIN), Just(4 * PLAIN)],
        ends in prop::collection::vec((0usize..6 * PLAIN, 0usize..6 * PLAIN), 1..6),
    ) {
        run(async {
            let blobs = Blobs::memory().encrypted(keys(1));
            let file = octets(id(1), size);
            let blob = write(&*blobs, &file, step).await;
            assert_eq!(blob.len, size as u64);
            for (one, other) in ends.into_iter().chain([(0, size), (size, size + 1), (PLAIN - 1, PLAIN + 1)]) {
                let (from, to) = (one.min(other), one.max(other));
                let want = &file[from.min(size)..to.min(size)];
                let got = read(&*blobs, &blob, from as u64..to as u64).await.unwrap();
                assert!(got == want, "{from}..{to} of {size}");
            }
        });
    }
}

#[test]
fn whoever_has_the_files_has_nothing() {
    run(async {
        let given = Given::new();
        let blobs = given.plain.encrypted(keys(1));
        let file = Bytes::from("The plan for next year. ".repeat(20_000));
        let blob = write(&*blobs, &file, 100_000).await;
        let object = std::fs::read(given.path(&blob)).unwrap();
        assert_eq!(object.len(), file.len() + file.len().div_ceil(PLAIN) * 16);
        assert!(!object.windows(8).any(|window| window == b"The plan"));
        // Equal content, and equal chunks of it, look different.
        let again = write(&*blobs, &file, 100_000).await;
        assert_ne!(std::fs::read(given.path(&again)).unwrap(), object);
        assert_eq!(read_all(&*blobs, &blob).await.unwrap(), file);
    });
}

#[test]
fn what_is_changed_moved_or_cut_is_noticed() {
    run(async {
        let given = Given::new();
        let blobs = given.plain.encrypted(keys(1));
        let file = octets(id(1), 3 * PLAIN + 100);
        let blob = write(&*blobs, &file, 50_000).await;
        let path = given.path(&blob);
        let whole = std::fs::read(&path).unwrap();
        let mut spoilt: Vec<(&str, Vec<u8>)> = Vec::new();
        for at in [0, PLAIN + 3, SEALED - 1, 2 * SEALED, whole.len() - 1] {
            let mut object = whole.clone();
            object[at] ^= 1;
            spoilt.push(("an octet is changed", object));
        }
        let moved = [&whole[SEALED..2 * SEALED], &whole[..SEALED], &whole[2 * SEALED..]].concat();
        spoilt.push(("two chunks are swapped", moved));
        spoilt.push(("a chunk is missing", [&whole[..SEALED], &whole[2 * SEALED..]].concat()));
        spoilt.push((
            "a chunk is there twice",
            [&whole[..SEALED], &whole[..2 * SEALED], &whole[2 * SEALED..]].concat(),
        ));
        spoilt.push(("the last chunk is missing", whole[..3 * SEALED].to_vec()));
        spoilt.push(("it ends within a chunk", whole[..3 * SEALED + 20].to_vec()));
        spoilt.push(("it is empty", Vec::new()));
        for (what, object) in spoilt {
            std::fs::write(&path, object).unwrap();
            let got = read_all(&*blobs, &blob).await;
            assert!(
                matches!(got, Err(StoreFault::Corrupt(_))),
                "{what}: {:?}",
                got.map(|octets| octets.len())
            );
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(read_all(&*blobs, &blob).await.unwrap() == file);
        // The row is made to say that the file is shorter: what was in the middle is not the end.
        for len in [3 * PLAIN as u64, 3 * PLAIN as u64 + 99, 100] {
            let shorter = BlobRef { len, ..blob.clone() };
            assert!(matches!(read_all(&*blobs, &shorter).await, Err(StoreFault::Corrupt(_))), "{len}");
        }
    });
}

#[test]
fn a_key_is_good_for_its_blob_only() {
    run(async {
        let given = Given::new();
        let blobs = given.plain.encrypted(keys(1));
        let (one, other) =
            (write(&*blobs, &octets(id(1), 100), 100).await, write(&*blobs, &octets(id(2), 100), 100).await);
        let mut wrong = vec![BlobRef { key: other.key.clone(), ..one.clone() }];
        for at in [0, 10, 30, 64] {
            let mut key = one.key.clone();
            key[at] ^= 1;
            wrong.push(BlobRef { key, ..one.clone() });
        }
        wrong.push(BlobRef { key: one.key[..20].to_vec(), ..one.clone() });
        // The other's octets under this name, with the other's key.
        std::fs::copy(given.path(&other), given.path(&one)).unwrap();
        wrong.push(BlobRef { key: other.key.clone(), ..one.clone() });
        for blob in wrong {
            let got = read_all(&*blobs, &blob).await;
            assert!(matches!(got, Err(StoreFault::Corrupt(_))), "{:?}", got.map(|octets| octets.len()));
        }
    });
}

#[test]
fn keys_are_changed_by_giving_the_new_one_first() {
    run(async {
        let given = Given::new();
        let clear = write(&*given.plain, &octets(id(1), 100_000), 5_000).await;
        let old = given.plain.encrypted(keys(1));
        let before = write(&*old, &octets(id(2), 100_000), 5_000).await;
        let both = MasterKeys::parse(&format!("# the new one\n{}\n\n{}\n", "02".repeat(32), "01".repeat(32)))
            .unwrap();
        let new = given.plain.encrypted(both);
        let after = write(&*new, &octets(id(3), 100_000), 5_000).await;
        for (blob, number) in [(&clear, 1), (&before, 2), (&after, 3)] {
            assert!(read_all(&*new, blob).await.unwrap() == octets(id(number), 100_000));
        }
        // Who lacks the key says which one, and that nothing is wrong with the file.
        for without in [&old, &given.plain] {
            let Err(StoreFault::Broken(words)) = read_all(&**without, &after).await else { panic!() };
            assert!(
                words.contains("attachments.encryption_key") && words.contains("SHA-256 begins with"),
                "{words}"
            );
        }
    });
}

#[test]
fn a_key_that_is_none_is_refused_without_repeating_it() {
    let short = "0102";
    let odd = "g".repeat(64);
    for text in ["", "# only words\n", short, &odd] {
        let refusal = MasterKeys::parse(text).err().unwrap();
        assert!(refusal.contains("openssl rand -hex 32"), "{refusal}");
        assert!(text.is_empty() || !refusal.contains(text));
    }
}
