//! Encryption at rest, over objects of any kind: AES-256-GCM in chunks of 64 KiB, a fresh key for every blob.
//!
//! A chunk's nonce is its place and whether it is the last one, so a stretch can be read alone, and a chunk that was
//! changed, moved, left out or made the last one is noticed: [`StoreFault::Corrupt`]. The blob's key is itself encrypted
//! with the administrator's, bound to the blob's name, and kept in its row; whoever has the files or the bucket alone has
//! nothing. Several of the administrator's keys may be given: the first is used for new blobs, all of them to read.
//! Never sees a name or a length of a file. Proof: `tests/store/sealed.rs` and the suite of `tests/store/shares.rs`.

use std::ops::Range;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::{Buf, Bytes, BytesMut};
use vouchsafe_core::attachments::{BlobReader, BlobRef, hex};
use vouchsafe_core::ports::{BoxFuture, StoreFault};

use super::{ObjectWriter, cut_short};
use crate::CHUNK;

/// Octets of a key.
const KEY: usize = 32;
/// Octets of a chunk, but for the last, before it is encrypted.
const PLAIN: usize = 64 * 1024;
/// Octets that encryption adds to a chunk.
const TAG: usize = 16;
/// Of a chunk, encrypted.
const SEALED: u64 = (PLAIN + TAG) as u64;
/// The first octet of an encrypted key: how it and its blob are encrypted.
const VERSION: u8 = 1;
/// Octets by which the administrator's key is recognized.
const ID: usize = 4;
/// Octets of an encrypted key: version, id, nonce, key, tag.
const WRAPPED: usize = 1 + ID + NONCE_LEN + KEY + TAG;

/// The administrator's keys.
#[derive(Clone)]
pub struct MasterKeys(Arc<Vec<Master>>);

struct Master {
    id: [u8; ID],
    key: LessSafeKey,
}

impl MasterKeys {
    /// Reads keys of 64 hexadecimal digits, one a line; empty lines and those with `#` do not count. The fault does not
    /// repeat what it read.
    pub fn parse(text: &str) -> Result<MasterKeys, String> {
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let octets = octets_of(line).ok_or_else(|| {
                format!("line {number} is not a key of 64 hexadecimal digits: make one with `openssl rand -hex 32`")
            })?;
            let mut id = [0; ID];
            id.copy_from_slice(&digest(&SHA256, &octets).as_ref()[..ID]);
            keys.push(Master { id, key: aes(&octets) });
        }
        match keys.is_empty() {
            true => Err("there is no key in it: make one with `openssl rand -hex 32`".to_owned()),
            false => Ok(MasterKeys(Arc::new(keys))),
        }
    }

    /// A fresh key for the blob of this name: itself, and as it is kept.
    fn fresh(&self, name: &str) -> Result<(LessSafeKey, Vec<u8>), StoreFault> {
        let chance = |octets: &mut [u8]| {
            aws_lc_rs::rand::fill(octets)
                .map_err(|_| StoreFault::Broken("there is no chance to be had".into()))
        };
        let (mut key, mut nonce) = ([0; KEY], [0; NONCE_LEN]);
        chance(&mut key)?;
        chance(&mut nonce)?;
        let master = &self.0[0];
        let mut sealed = key.to_vec();
        let tag = master
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), bound(name), &mut sealed)
            .map_err(|_| StoreFault::Broken(format!("blob {name}: its key cannot be encrypted")))?;
        let mut wrapped = vec![VERSION];
        for piece in [&master.id[..], &nonce, &sealed, tag.as_ref()] {
            wrapped.extend_from_slice(piece);
        }
        Ok((aes(&key), wrapped))
    }

    /// The key of a blob.
    fn key_of(&self, blob: &BlobRef) -> Result<LessSafeKey, StoreFault> {
        let corrupt = || StoreFault::Corrupt(format!("blob {}: its key does not fit it", blob.name));
        if blob.key.len() != WRAPPED || blob.key[0] != VERSION {
            return Err(corrupt());
        }
        let (id, rest) = blob.key[1..].split_at(ID);
        let (nonce, sealed) = rest.split_at(NONCE_LEN);
        let master = self.0.iter().find(|master| master.id == id).ok_or_else(|| locked(blob, id))?;
        let mut key = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| corrupt())?;
        let key = master.key.open_in_place(nonce, bound(&blob.name), &mut key).map_err(|_| corrupt())?;
        Ok(aes(key))
    }
}

/// It is encrypted, and nobody has told us with what.
fn locked(blob: &BlobRef, id: &[u8]) -> StoreFault {
    StoreFault::Broken(format!(
        "blob {} is encrypted with a key that is not among attachments.encryption_key: give the key whose SHA-256 begins \
         with {} there as well",
        blob.name,
        hex(id)
    ))
}

/// `key` is of the right length.
fn aes(key: &[u8]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("a key has 32 octets"))
}

/// An encrypted key is good for the blob of this name only.
fn bound(name: &str) -> Aad<String> {
    Aad::from(format!("vouchsafe blob {name}"))
}

fn octets_of(line: &str) -> Option<[u8; KEY]> {
    let mut octets = [0; KEY];
    if line.len() != 2 * KEY || !line.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, at) in octets.iter_mut().zip((0..).step_by(2)) {
        *octet = u8::from_str_radix(&line[at..at + 2], 16).ok()?;
    }
    Some(octets)
}

/// Of the chunk with this place. No blob has two chunks with the same one, and no two blobs have the same key.
fn nonce(place: u64, last: bool) -> Nonce {
    let mut octets = [0; NONCE_LEN];
    octets[3] = u8::from(last);
    octets[4..].copy_from_slice(&place.to_be_bytes());
    Nonce::assume_unique_for_key(octets)
}

/// Encrypts what is written to the object `name`; also answers with its key as it is kept.
pub(super) fn seal(
    keys: &MasterKeys,
    name: &str,
    object: Box<dyn ObjectWriter>,
) -> Result<(Box<dyn ObjectWriter>, Vec<u8>), StoreFault> {
    let (key, kept) = keys.fresh(name)?;
    Ok((Box::new(Sealer { object, key, place: 0, rest: BytesMut::new() }), kept))
}

struct Sealer {
    object: Box<dyn ObjectWriter>,
    key: LessSafeKey,
    /// Of the next chunk.
    place: u64,
    /// At most a chunk: the last one is known at the end only.
    rest: BytesMut,
}

impl Sealer {
    /// Encrypts the first `len` octets that are waiting, behind `out`.
    fn seal(&mut self, len: usize, last: bool, out: &mut BytesMut) -> Result<(), StoreFault> {
        let start = out.len();
        out.extend_from_slice(&self.rest[..len]);
        self.rest.advance(len);
        let sealed =
            self.key.seal_in_place_separate_tag(nonce(self.place, last), Aad::empty(), &mut out[start..]);
        let tag = sealed.map_err(|_| StoreFault::Broken("a blob cannot be encrypted".to_owned()))?;
        out.extend_from_slice(tag.as_ref());
        self.place += 1;
        Ok(())
    }
}

impl ObjectWriter for Sealer {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move {
            let mut chunk = chunk;
            while !chunk.is_empty() {
                let octets = chunk.split_to(chunk.len().min(CHUNK));
                self.rest.extend_from_slice(&octets);
                let mut out = BytesMut::with_capacity(self.rest.len() + self.rest.len() / PLAIN * TAG);
                while self.rest.len() > PLAIN {
                    self.seal(PLAIN, false, &mut out)?;
                }
                if !out.is_empty() {
                    self.object.write(out.freeze()).await?;
                }
            }
            Ok(())
        })
    }

    fn finish(mut self: Box<Self>) -> BoxFuture<'static, Result<(), StoreFault>> {
        Box::pin(async move {
            let mut out = BytesMut::with_capacity(self.rest.len() + TAG);
            self.seal(self.rest.len(), true, &mut out)?;
            self.object.write(out.freeze()).await?;
            self.object.finish().await
        })
    }
}

/// What has to be read of an encrypted object to give out a stretch of its blob.
pub(super) struct Opening {
    key: LessSafeKey,
    name: String,
    /// Octets of the blob.
    len: u64,
    /// The stretch of the blob; not empty, and within it.
    range: Range<u64>,
}

impl Opening {
    /// `range` is not empty, and within the blob.
    pub fn new(keys: Option<&MasterKeys>, blob: &BlobRef, range: Range<u64>) -> Result<Opening, StoreFault> {
        let key = match keys {
            Some(keys) => keys.key_of(blob)?,
            None => return Err(locked(blob, blob.key.get(1..1 + ID).unwrap_or_default())),
        };
        Ok(Opening { key, name: blob.name.clone(), len: blob.len, range })
    }

    /// The stretch of the object.
    pub fn sealed_range(&self) -> Range<u64> {
        let plain = PLAIN as u64;
        let end = ((self.range.end - 1) / plain + 1) * SEALED;
        let whole = self.len + self.len.div_ceil(plain) * TAG as u64;
        self.range.start / plain * SEALED..end.min(whole)
    }

    /// Reads it.
    pub fn reader(self, object: Box<dyn BlobReader>) -> Box<dyn BlobReader> {
        let place = self.range.start / PLAIN as u64;
        let skip = (self.range.start % PLAIN as u64) as usize;
        let left = self.range.end - self.range.start;
        Box::new(Opener { opening: self, object, buffer: BytesMut::new(), place, skip, left })
    }
}

struct Opener {
    opening: Opening,
    object: Box<dyn BlobReader>,
    /// Octets of the object that are not decrypted yet.
    buffer: BytesMut,
    /// Of the next chunk.
    place: u64,
    /// Octets of it that are before the stretch.
    skip: usize,
    /// Octets that have yet to be given out.
    left: u64,
}

impl Opener {
    /// Octets of the next chunk, encrypted, and whether it is the blob's last.
    fn next_chunk(&self) -> (usize, bool) {
        let behind = self.opening.len - self.place * PLAIN as u64;
        let last = behind <= PLAIN as u64;
        (if last { behind as usize + TAG } else { PLAIN + TAG }, last)
    }

    /// Decrypts the next chunk, behind `out`.
    fn open(&mut self, len: usize, last: bool, out: &mut BytesMut) -> Result<(), StoreFault> {
        let mut chunk = self.buffer.split_to(len);
        let nonce = nonce(self.place, last);
        let opened = self.opening.key.open_in_place(nonce, Aad::empty(), &mut chunk);
        let plain = opened.map_err(|_| {
            StoreFault::Corrupt(format!("blob {}: it is not what was written", self.opening.name))
        })?;
        let plain = &plain[self.skip..];
        let wanted = plain.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        out.extend_from_slice(&plain[..wanted]);
        self.left -= wanted as u64;
        self.skip = 0;
        self.place += 1;
        Ok(())
    }
}

impl BlobReader for Opener {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        Box::pin(async move {
            let mut out = BytesMut::new();
            while self.left > 0 && out.len() + PLAIN <= CHUNK {
                let (len, last) = self.next_chunk();
                if self.buffer.len() >= len {
                    self.open(len, last, &mut out)?;
                } else if out.is_empty() {
                    match self.object.next().await? {
                        Some(octets) => self.buffer.extend_from_slice(&octets),
                        None => return Err(cut_short(&self.opening.name)),
                    }
                } else {
                    break;
                }
            }
            Ok((!out.is_empty()).then(|| out.freeze()))
        })
    }
}
