//! A ZIP archive as a stream (APPNOTE 6.3.10): stored, with every length known before the first octet, so that a download
//! of all files tells its size. The CRC-32 of each file follows it in a data descriptor; ZIP64 where 32 bits do not do.
//!
//! Pure: the caller sends [`Archive::head`], the file, [`Archive::tail`] for each file, then [`Archive::end`].
//! Proof: tests below; `unzip` and Python read what comes of it in `crates/web/tests/downloads/archives.rs`.

use std::collections::HashSet;

use crate::time::Timestamp;

/// The largest number that a 32-bit field holds; the field's top value says "see ZIP64".
const NARROW: u64 = 0xffff_ffff;
/// General purpose flags: sizes and CRC follow the file (bit 3), names are UTF-8 (bit 11).
const FLAGS: u16 = (1 << 3) | (1 << 11);
/// Made by: UNIX, version 4.5.
const MADE_BY: u16 = (3 << 8) | 45;
/// A plain file with the rights rw-r--r--.
const ATTRIBUTES: u32 = 0o100_644 << 16;

/// An archive of files whose names and sizes are known.
#[derive(Clone, Debug)]
pub struct Archive {
    entries: Vec<Entry>,
    modified: (u16, u16),
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    size: u64,
    /// Where its head begins.
    at: u64,
}

impl Entry {
    fn wide(&self) -> bool {
        self.size >= NARROW
    }

    fn head_len(&self) -> u64 {
        30 + self.name.len() as u64 + if self.wide() { 20 } else { 0 }
    }

    fn tail_len(&self) -> u64 {
        if self.wide() { 24 } else { 16 }
    }
}

impl Archive {
    /// Of these files, in this order, as (name, octets). Names are safe ones; equal ones get a number.
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, u64)>, modified: Timestamp) -> Archive {
        let mut taken = HashSet::new();
        let mut entries: Vec<Entry> = Vec::new();
        for (name, size) in files {
            let at = entries.last().map_or(0, |last| last.at + last.head_len() + last.size + last.tail_len());
            entries.push(Entry { name: unique(name, &mut taken), size, at });
        }
        Archive { entries, modified: dos_time(modified) }
    }

    /// Octets of the whole archive.
    pub fn size(&self) -> u64 {
        let directory: u64 = self.entries.iter().map(|entry| self.central(entry, 0).len() as u64).sum();
        self.directory_at() + directory + self.closing(directory).len() as u64
    }

    /// What stands before a file.
    pub fn head(&self, index: usize) -> Vec<u8> {
        let entry = &self.entries[index];
        let size = if entry.wide() { NARROW as u32 } else { 0 };
        let mut out = Fields::default();
        out.u32(0x0403_4b50).u16(version(entry.wide())).u16(FLAGS).u16(0);
        out.u16(self.modified.0).u16(self.modified.1).u32(0).u32(size).u32(size);
        out.u16(entry.name.len() as u16).u16(if entry.wide() { 20 } else { 0 }).bytes(entry.name.as_bytes());
        if entry.wide() {
            // Its presence tells that the descriptor has 64-bit sizes (APPNOTE 4.3.9.2).
            out.u16(1).u16(16).u64(0).u64(0);
        }
        out.0
    }

    /// What stands behind a file with this CRC-32.
    pub fn tail(&self, index: usize, crc: u32) -> Vec<u8> {
        let entry = &self.entries[index];
        let mut out = Fields::default();
        out.u32(0x0807_4b50).u32(crc);
        match entry.wide() {
            true => out.u64(entry.size).u64(entry.size),
            false => out.u32(entry.size as u32).u32(entry.size as u32),
        };
        out.0
    }

    /// The directory, and the end; `crcs` in the order of the files.
    pub fn end(&self, crcs: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        for (entry, crc) in self.entries.iter().zip(crcs) {
            out.extend(self.central(entry, *crc));
        }
        let closing = self.closing(out.len() as u64);
        out.extend(closing);
        out
    }

    fn directory_at(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.at + last.head_len() + last.size + last.tail_len())
    }

    fn central(&self, entry: &Entry, crc: u32) -> Vec<u8> {
        let (size, far) = (narrow(entry.size), entry.at >= NARROW);
        let mut wide = Fields::default();
        if entry.wide() {
            wide.u64(entry.size).u64(entry.size);
        }
        if far {
            wide.u64(entry.at);
        }
        let extra = if wide.0.is_empty() { 0 } else { wide.0.len() as u16 + 4 };
        let mut out = Fields::default();
        out.u32(0x0201_4b50).u16(MADE_BY).u16(version(extra > 0)).u16(FLAGS).u16(0);
        out.u16(self.modified.0).u16(self.modified.1).u32(crc).u32(size).u32(size);
        out.u16(entry.name.len() as u16)
            .u16(extra)
            .u16(0)
            .u16(0)
            .u16(0)
            .u32(ATTRIBUTES)
            .u32(narrow(entry.at));
        out.bytes(entry.name.as_bytes());
        if extra > 0 {
            out.u16(1).u16(extra - 4).bytes(&wide.0);
        }
        out.0
    }

    /// What stands behind a directory of so many octets.
    fn closing(&self, directory: u64) -> Vec<u8> {
        let (count, at) = (self.entries.len() as u64, self.directory_at());
        let mut out = Fields::default();
        if at >= NARROW || directory >= NARROW || count >= 0xffff {
            out.u32(0x0606_4b50).u64(44).u16(MADE_BY).u16(45).u32(0).u32(0);
            out.u64(count).u64(count).u64(directory).u64(at);
            out.u32(0x0706_4b50).u32(0).u64(at + directory).u32(1);
        }
        let count = count.min(0xffff) as u16;
        out.u32(0x0605_4b50)
            .u16(0)
            .u16(0)
            .u16(count)
            .u16(count)
            .u32(narrow(directory))
            .u32(narrow(at))
            .u16(0);
        out.0
    }
}

fn version(wide: bool) -> u16 {
    if wide { 45 } else { 20 }
}

fn narrow(value: u64) -> u32 {
    value.min(NARROW) as u32
}

/// The name, or with a number before its ending if it is taken: `plan (2).pdf`. Case does not make a difference, as it
/// does not where many archives are unpacked.
fn unique(name: &str, taken: &mut HashSet<String>) -> String {
    let (stem, ending) = match name.rfind('.').filter(|at| *at > 0) {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let mut candidate = name.to_owned();
    for number in 2.. {
        if taken.insert(candidate.to_lowercase()) {
            break;
        }
        candidate = format!("{stem} ({number}){ending}");
    }
    candidate
}

/// Date and time as MS-DOS had them, in UTC: from 1980 on, two seconds a step; as (time, date).
fn dos_time(at: Timestamp) -> (u16, u16) {
    let zoned = jiff::Timestamp::from_microsecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let at = jiff::tz::Offset::UTC.to_datetime(zoned);
    let Some(year) = u16::try_from(at.year() - 1980).ok().filter(|year| *year < 128) else {
        return (0, (1 << 5) | 1);
    };
    let part = |value: i8| u16::from(value.unsigned_abs());
    let time = (part(at.hour()) << 11) | (part(at.minute()) << 5) | (part(at.second()) / 2);
    (time, (year << 9) | (part(at.month()) << 5) | part(at.day()))
}

/// Fields in a row, little end first.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn bytes(&mut self, value: &[u8]) -> &mut Fields {
        self.0.extend_from_slice(value);
        self
    }
    fn u16(&mut self, value: u16) -> &mut Fields {
        self.bytes(&value.to_le_bytes())
    }
    fn u32(&mut self, value: u32) -> &mut Fields {
        self.bytes(&value.to_le_bytes())
    }
    fn u64(&mut self, value: u64) -> &mut Fields {
        self.bytes(&value.to_le_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp(1_796_083_200_000_000);

    #[test]
    fn names_are_made_unique() {
        let files = ["a.pdf", "A.PDF", "a.pdf", "a (2).pdf", "b", "b"].map(|name| (name, 1));
        let archive = Archive::new(files, AT);
        let names: Vec<&str> = archive.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a.pdf", "A (2).PDF", "a (3).pdf", "a (2) (2).pdf", "b", "b (2)"]);
    }

    #[test]
    fn the_size_is_known_before_and_64_bits_are_used_only_where_needed() {
        for sizes in
            [vec![], vec![0], vec![5, 70_000], vec![NARROW - 1], vec![NARROW, 3], vec![1 << 32, 1 << 40, 7]]
        {
            let files: Vec<(String, u64)> =
                sizes.iter().enumerate().map(|(at, size)| (format!("file {at}.bin"), *size)).collect();
            let archive = Archive::new(files.iter().map(|(name, size)| (name.as_str(), *size)), AT);
            let crcs = vec![0x1234_5678; sizes.len()];
            let mut octets = 0;
            for (at, size) in sizes.iter().enumerate() {
                let (head, tail) = (archive.head(at), archive.tail(at, crcs[at]));
                assert_eq!(archive.entries[at].at, octets);
                assert_eq!(head.len() as u64, archive.entries[at].head_len());
                assert_eq!(tail.len(), if *size >= NARROW { 24 } else { 16 });
                octets += head.len() as u64 + size + tail.len() as u64;
            }
            let end = archive.end(&crcs);
            let has_wide_end = end.windows(4).any(|four| four == 0x0606_4b50_u32.to_le_bytes());
            assert_eq!(has_wide_end, octets >= NARROW, "{sizes:?}");
            assert_eq!(archive.size(), octets + end.len() as u64, "{sizes:?}");
        }
    }

    #[test]
    fn times_are_those_of_ms_dos() {
        // 1 December 2026, 00:00.
        assert_eq!(dos_time(AT), (0, (46 << 9) | (12 << 5) | 1));
        assert_eq!(dos_time(Timestamp(0)), (0, (1 << 5) | 1));
    }
}
