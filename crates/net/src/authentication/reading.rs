//! A message on its way in, as its signatures were made over it: the header is kept, the body only hashed.
//!
//! Bounded: a header of at most [`HEADER`] octets, and a digest for each way of hashing that its signatures name (four
//! at most). Past [`LARGEST`] octets of body nothing more is hashed. Proof: tests below.

use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::{HashAlgorithm, HashContext, HashImpl, Sha1, Sha256};
use mail_auth::dkim::Canonicalization;
use mail_auth::dkim::canonicalize::BodyHasher;

use super::SIGNATURES;
use super::gathering::{Gathered, Gathering};

/// Octets of a body whose signatures are checked. Past it the result is `policy`.
pub const LARGEST: u64 = 16 * 1024 * 1024;
/// Octets of a header that is looked at. Past it the result is `policy`.
pub const HEADER: usize = 256 * 1024;

/// SHA-1 and SHA-256 have one type.
type Hasher = BodyHasher<<Sha256 as HashImpl>::Context>;
type Way = (Canonicalization, HashAlgorithm);

/// The octets of one message, as they come.
#[derive(Default)]
pub struct Reading {
    header: Gathering<HEADER>,
    in_body: bool,
    hashers: Vec<(Way, Hasher)>,
    body: u64,
    too_large: bool,
}

impl Reading {
    /// Takes octets, in order.
    pub fn push(&mut self, octets: &[u8]) {
        if self.too_large {
            return;
        }
        if self.in_body {
            return self.hash(octets);
        }
        match self.header.push(octets) {
            Gathered::Header => {}
            Gathered::TooLong => self.too_large = true,
            Gathered::Body(body) => {
                self.begin_body();
                self.hash(&body);
            }
        }
    }

    /// Octets that it holds in memory.
    pub fn held(&self) -> usize {
        self.header.octets().len()
    }

    fn begin_body(&mut self) {
        self.in_body = true;
        let Some(message) = AuthenticatedMessage::parse(self.header.octets()) else { return };
        for &(canonicalization, algorithm, ..) in &message.body_hashes {
            let context = match algorithm {
                HashAlgorithm::Sha1 => Sha1::hasher(),
                HashAlgorithm::Sha256 => Sha256::hasher(),
            };
            self.hashers.push(((canonicalization, algorithm), BodyHasher::new(context, canonicalization, 0)));
        }
    }

    fn hash(&mut self, octets: &[u8]) {
        self.body += octets.len() as u64;
        if self.body > LARGEST {
            // A message without signatures has nothing that is too large to check.
            self.too_large = !self.hashers.is_empty();
            self.hashers.clear();
        }
        self.hashers.iter_mut().for_each(|(_, hasher)| hasher.write(octets));
    }

    /// The message has ended.
    pub fn finish(mut self) -> Read {
        if !self.in_body && !self.too_large {
            self.begin_body();
        }
        let digest = |(way, hasher): (Way, Hasher)| (way, hasher.finish().0.complete().as_ref().to_vec());
        Read {
            digests: self.hashers.into_iter().map(digest).collect(),
            header: self.header.into_octets(),
            too_large: self.too_large,
        }
    }
}

/// A message that has come.
#[derive(Default)]
pub struct Read {
    header: Vec<u8>,
    digests: Vec<(Way, Vec<u8>)>,
    too_large: bool,
}

impl Read {
    /// It was not read to its end.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// The header with the digests of the body; `None` without any field.
    pub(super) fn message(&self) -> Option<AuthenticatedMessage<'_>> {
        let mut message = AuthenticatedMessage::parse(&self.header)?;
        for (canonicalization, algorithm, _, digest) in &mut message.body_hashes {
            let way = (*canonicalization, *algorithm);
            if let Some((_, found)) = self.digests.iter().find(|(other, _)| *other == way) {
                digest.clone_from(found);
            }
        }
        message.dkim_headers.truncate(SIGNATURES);
        message.errors.truncate(SIGNATURES);
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNED: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=x.example; s=s; h=from; bh=AAAA; b=AAAA\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=x.example; s=s; h=from; bh=AAAA; b=AAAA\r\n\
        From: a@x.example\r\n";

    fn read(message: &str, size: usize) -> Read {
        let mut reading = Reading::default();
        message.as_bytes().chunks(size).for_each(|chunk| reading.push(chunk));
        reading.finish()
    }

    #[test]
    fn any_split_gives_the_digests_of_the_whole() {
        for body in ["", "\r\nhello  you \r\n\r\n\r\n", "\r\n", "\r\n\r\nx\r\n", "\r\na\r\n\r\nb"] {
            let text = format!("{SIGNED}{body}");
            let whole = AuthenticatedMessage::parse(text.as_bytes()).unwrap();
            assert_eq!(whole.body_hashes.len(), 2);
            for size in [1, 2, 3, 7, 4096] {
                let read = read(&text, size);
                assert_eq!(read.message().unwrap().body_hashes, whole.body_hashes, "{body:?} by {size}");
            }
        }
    }

    #[test]
    fn what_is_too_large_is_not_held() {
        let mut reading = Reading::default();
        reading.push(SIGNED.as_bytes());
        reading.push(b"\r\n");
        let mebibyte = vec![b'x'; 1024 * 1024];
        for _ in 0..16 {
            reading.push(&mebibyte);
        }
        assert!(!reading.too_large && reading.held() == SIGNED.len() + 2);
        reading.push(b"x");
        assert!(reading.finish().is_too_large());

        let mut endless = Reading::default();
        endless.push(b"Subject: ");
        endless.push(&mebibyte);
        assert!(endless.too_large && endless.held() == 0);
        assert!(endless.finish().message().is_none());
    }

    #[test]
    fn an_unsigned_message_is_never_too_large() {
        let mut reading = Reading::default();
        reading.push(b"From: a@x.example\r\n\r\n");
        (0..17).for_each(|_| reading.push(&vec![b'x'; 1024 * 1024]));
        assert!(!reading.finish().is_too_large());
    }
}
