//! A record of a segment: magic, generation, message id, lengths, envelope, head, body, CRC32C.
//!
//! The envelope is written so that the rows could be rebuilt from the segments alone. A record is believed only if
//! magic, generation (the segment's number), lengths and checksum fit. Never touches a file.

use std::io::IoSlice;

use bytes::Bytes;
use vouchsafe_core::MessageId;

/// First octets of a record; the digit is the version of the format.
const MAGIC: [u8; 4] = *b"VSR1";
/// magic, generation, id, three lengths.
pub const FRONT: usize = 4 + 8 + 16 + 3 * 4;
const CHECKSUM: usize = 4;

/// A record on its way into a segment. The checksum over everything but the place is made by the caller's thread.
#[derive(Debug)]
pub struct Record {
    /// Front and envelope.
    front: Vec<u8>,
    head: Bytes,
    body: Bytes,
    inner_sum: u32,
    checksum: [u8; CHECKSUM],
}

impl Record {
    /// Makes a record; `None` if a part is longer than its length field can say.
    pub fn new(id: MessageId, envelope: &[u8], head: Bytes, body: Bytes) -> Option<Record> {
        let mut front = Vec::with_capacity(FRONT + envelope.len());
        front.extend_from_slice(&MAGIC);
        front.extend_from_slice(&[0; 8]);
        front.extend_from_slice(id.0.as_bytes());
        for len in [envelope.len(), head.len(), body.len()] {
            front.extend_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
        }
        front.extend_from_slice(envelope);
        let inner_sum = inner_sum(&front[12..], &head, &body);
        Some(Record { front, head, body, inner_sum, checksum: [0; CHECKSUM] })
    }

    /// Octets it takes in the segment.
    pub fn len(&self) -> u64 {
        (self.front.len() + self.head.len() + self.body.len() + CHECKSUM) as u64
    }

    /// Names the segment it goes to.
    pub fn place(&mut self, generation: u64) {
        self.front[4..12].copy_from_slice(&generation.to_le_bytes());
        self.checksum = crc32c::crc32c_append(self.inner_sum, &self.front[..12]).to_le_bytes();
    }

    /// Its octets, in order.
    pub fn parts(&self) -> [IoSlice<'_>; 4] {
        [
            IoSlice::new(&self.front),
            IoSlice::new(&self.head),
            IoSlice::new(&self.body),
            IoSlice::new(&self.checksum),
        ]
    }
}

fn inner_sum(front_rest: &[u8], head: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(front_rest), head), body)
}

/// What a record holds, after its checksum has been found right.
pub struct Content {
    /// Whose it is.
    pub id: MessageId,
    /// JSON of the envelope.
    pub envelope: Bytes,
    /// Headers put on top.
    pub head: Bytes,
    /// The message as it came.
    pub body: Bytes,
}

/// Length of the record that begins with these octets, or `None` if no record of this segment does.
pub fn total_len(front: &[u8; FRONT], generation: u64) -> Option<u64> {
    if front[..4] != MAGIC || front[4..12] != generation.to_le_bytes() {
        return None;
    }
    let lens = (0..3).map(|part| u64::from(length(front, part))).sum::<u64>();
    Some(FRONT as u64 + lens + CHECKSUM as u64)
}

fn length(front: &[u8], part: usize) -> u32 {
    let at = 28 + part * 4;
    u32::from_le_bytes([front[at], front[at + 1], front[at + 2], front[at + 3]])
}

/// Checks a whole record. `None` if anything does not fit.
pub fn verify(record: &Bytes, generation: u64) -> Option<Content> {
    let front: &[u8; FRONT] = record.get(..FRONT)?.try_into().ok()?;
    if total_len(front, generation)? != record.len() as u64 {
        return None;
    }
    let envelope_end = FRONT + length(front, 0) as usize;
    let head_end = envelope_end + length(front, 1) as usize;
    let body_end = record.len() - CHECKSUM;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&record[12..body_end]), &record[..12]);
    if record[body_end..] != sum.to_le_bytes() {
        return None;
    }
    let id = uuid::Uuid::from_slice(&front[12..28]).ok()?;
    Some(Content {
        id: MessageId(id),
        envelope: record.slice(FRONT..envelope_end),
        head: record.slice(envelope_end..head_end),
        body: record.slice(head_end..body_end),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(record: &Record) -> Vec<u8> {
        record.parts().iter().flat_map(|part| part.to_vec()).collect()
    }

    #[test]
    fn a_record_is_believed_only_whole_and_in_its_place() {
        let id = MessageId(uuid::Uuid::from_u128(7));
        let mut record =
            Record::new(id, b"{}", Bytes::from_static(b"H: 1\r\n"), Bytes::from_static(b"\r\nhello\r\n"))
                .unwrap();
        record.place(3);
        let whole = octets(&record);
        assert_eq!(whole.len() as u64, record.len());
        let content = verify(&Bytes::from(whole.clone()), 3).unwrap();
        assert_eq!(
            (content.id, &content.head[..], &content.body[..]),
            (id, &b"H: 1\r\n"[..], &b"\r\nhello\r\n"[..])
        );
        assert!(verify(&Bytes::from(whole.clone()), 4).is_none());
        for at in 0..whole.len() {
            assert!(verify(&Bytes::from(whole[..at].to_vec()), 3).is_none());
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            assert!(verify(&Bytes::from(rotten), 3).is_none(), "octet {at}");
        }
    }
}
