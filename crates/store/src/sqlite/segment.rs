//! Segments: files that small messages are appended to, so that one sync serves all that wait.
//!
//! A segment is created, preallocated, synced, its folder synced, and only then used. It is written by one process
//! life only, never reused, never trusted after a failed write or sync. It is removed when no row lives in it.
//! Proof: `tests/store/crash.rs`.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::record::{self, Content, FRONT, Record};
use crate::disk::{Disk, DiskFile};

/// Length of a segment, unless a single record is longer.
pub const SEGMENT_SIZE: u64 = 16 << 20;
/// Records given to one write.
const BATCH: usize = 128;
/// Zeros are written this far ahead. A sync of octets that were written before is a data write and no more; into space
/// that is only allocated, or past the end, the file system's journal is committed too, for all that share it.
const AHEAD: u64 = 2 << 20;
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the segment.
    pub segment: i64,
    /// Where the record begins.
    pub offset: u64,
    /// Octets of the record.
    pub len: u64,
}

/// What lives in a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live {
    /// Rows.
    pub records: u64,
    /// Octets of their records.
    pub octets: u64,
    /// Octets written, living or not.
    pub written: u64,
}

/// All segments of a store, and the one being written.
pub struct Segments {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    size: u64,
    next: i64,
    live: BTreeMap<i64, Live>,
    current: Option<Current>,
}

struct Current {
    number: i64,
    file: Arc<dyn DiskFile>,
    written: u64,
    /// Everything before this has been written once, if only as zeros.
    zeroed: u64,
    len: u64,
}

impl Current {
    /// Makes room for the next batches, to be synced with this one.
    fn zero_ahead(&mut self) -> io::Result<()> {
        self.zeroed = self.zeroed.max(self.written);
        if self.zeroed == self.len || self.zeroed > self.written + AHEAD / 4 {
            return Ok(());
        }
        let mut left = AHEAD.min(self.len - self.zeroed);
        let mut parts = Vec::new();
        while left > 0 {
            let part = &ZEROS[..usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len())];
            left -= part.len() as u64;
            parts.push(IoSlice::new(part));
        }
        self.file.write_at(self.zeroed, &mut parts)?;
        self.zeroed = self.len.min(self.zeroed + AHEAD);
        Ok(())
    }
}

impl Segments {
    /// Takes over the folder: removes segments without a living row, cuts the tail of the newest.
    /// `live` is what the rows say; its `written` is the end of the last living record.
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        size: u64,
        mut live: BTreeMap<i64, Live>,
    ) -> io::Result<Segments> {
        let mut found: Vec<(i64, u64)> = disk
            .list(&folder)?
            .into_iter()
            .filter_map(|(name, len)| Some((name.strip_suffix(".seg")?.parse().ok()?, len)))
            .collect();
        found.sort_unstable();
        let last = found.last().map_or(0, |&(number, _)| number);
        let last_row = live.last_key_value().map_or(0, |(&number, _)| number);
        for &(number, len) in &found {
            let path = path(&folder, number);
            match live.get_mut(&number) {
                None => disk.remove(&path)?,
                Some(rows) if number == last => {
                    let end = valid_end(&*disk.open(&path)?, number, len)?;
                    if end < rows.written {
                        tracing::error!(
                            segment = number,
                            end,
                            rows = rows.written,
                            "a segment has lost its tail"
                        );
                    }
                    rows.written = rows.written.max(end);
                    if rows.written < len {
                        disk.truncate(&path, rows.written)?;
                    }
                }
                Some(rows) => rows.written = len,
            }
        }
        Ok(Segments { disk, folder, size, next: last.max(last_row) + 1, live, current: None })
    }

    /// Appends the records and makes them durable: one sync for all of them. On an error none of them counts, and the
    /// segment is never used again.
    pub fn append(&mut self, records: &mut [&mut Record]) -> io::Result<Vec<Place>> {
        let result = self.try_append(records);
        if result.is_err() {
            // RELIABILITY section 1, fsyncgate: a file whose sync failed is not asked a second time.
            if let Some(broken) = self.current.take() {
                self.note_written(&broken);
            }
        }
        result
    }

    fn try_append(&mut self, records: &mut [&mut Record]) -> io::Result<Vec<Place>> {
        let mut places = Vec::with_capacity(records.len());
        let mut start = 0;
        while start < records.len() {
            let current = self.current_for(records[start].len())?;
            let first_offset = current.written;
            let mut end = start;
            while end < records.len() && end - start < BATCH {
                let len = records[end].len();
                if current.written + len > current.len {
                    break;
                }
                records[end].place(current.number.unsigned_abs());
                places.push(Place { segment: current.number, offset: current.written, len });
                current.written += len;
                end += 1;
            }
            let mut parts: Vec<_> = records[start..end].iter().flat_map(|record| record.parts()).collect();
            current.file.write_at(first_offset, &mut parts)?;
            start = end;
        }
        if let Some(current) = &mut self.current {
            current.zero_ahead()?;
            current.file.sync_data()?;
        }
        Ok(places)
    }

    /// The current segment, if a record of this length fits; else it is synced and a new one begun.
    fn current_for(&mut self, len: u64) -> io::Result<&mut Current> {
        if let Some(full) = self.current.take_if(|current| current.written + len > current.len) {
            full.file.sync_data()?;
            self.note_written(&full);
        }
        if self.current.is_none() {
            self.current = Some(self.begin(self.size.max(len))?);
        }
        Ok(self.current.as_mut().expect("it has just been set"))
    }

    fn begin(&mut self, len: u64) -> io::Result<Current> {
        let number = self.next;
        self.next += 1;
        let path = path(&self.folder, number);
        let file = self.disk.create(&path)?;
        let ready = file
            .preallocate(len)
            .and_then(|()| file.sync_data())
            .and_then(|()| self.disk.sync_dir(&self.folder));
        if let Err(error) = ready {
            // Best effort: what stays is removed at the next start, as no row lives in it.
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        self.live.insert(number, Live::default());
        Ok(Current { number, file, written: 0, zeroed: 0, len })
    }

    fn note_written(&mut self, current: &Current) {
        if let Some(live) = self.live.get_mut(&current.number) {
            live.written = current.written;
        }
    }

    /// A row lives in the segment now.
    pub fn born(&mut self, place: Place) {
        let live = self.live.entry(place.segment).or_default();
        live.records += 1;
        live.octets += place.len;
    }

    /// A row has left it.
    pub fn died(&mut self, segment: i64, len: u64) {
        if let Some(live) = self.live.get_mut(&segment) {
            live.records = live.records.saturating_sub(1);
            live.octets = live.octets.saturating_sub(len);
        }
    }

    /// Removes closed segments without a living row.
    pub fn sweep(&mut self) {
        let current = self.current.as_ref().map(|current| current.number);
        let (disk, folder) = (&self.disk, &self.folder);
        self.live.retain(|&number, live| {
            if live.records > 0 || current == Some(number) {
                return true;
            }
            let removed = disk.remove(&path(folder, number));
            if let Err(error) = removed {
                tracing::warn!(segment = number, %error, "cannot remove a segment; the next start tries again");
            }
            false
        });
    }

    /// Closed segments of which at most a quarter lives, until their living octets reach `budget`.
    pub fn sparse(&self, budget: u64) -> Vec<i64> {
        let current = self.current.as_ref().map(|current| current.number);
        let mut left = budget;
        let mut found = Vec::new();
        for (&number, live) in &self.live {
            if current != Some(number) && live.records > 0 && live.octets <= live.written / 4 {
                if live.octets > left {
                    break;
                }
                left -= live.octets;
                found.push(number);
            }
        }
        found
    }

    /// Opens a segment to read.
    pub fn open_segment(&self, number: i64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(&path(&self.folder, number))
    }
}

fn path(folder: &Path, number: i64) -> PathBuf {
    folder.join(format!("{number:012}.seg"))
}

/// Reads a record and checks it; `Ok(None)` if it does not fit its place.
pub fn read(file: &dyn DiskFile, place: Place) -> io::Result<Option<Content>> {
    let Ok(len) = usize::try_from(place.len) else { return Ok(None) };
    let mut buffer = BytesMut::zeroed(len);
    let read = file.read_at(place.offset, &mut buffer)?;
    if read != len {
        return Ok(None);
    }
    Ok(record::verify(&buffer.freeze(), place.segment.unsigned_abs()))
}

/// Where the last whole record of a segment ends.
fn valid_end(file: &dyn DiskFile, number: i64, len: u64) -> io::Result<u64> {
    let mut end = 0;
    loop {
        let mut front = [0; FRONT];
        if file.read_at(end, &mut front)? < FRONT {
            return Ok(end);
        }
        let Some(total) = record::total_len(&front, number.unsigned_abs()) else { return Ok(end) };
        if total > len - end {
            return Ok(end);
        }
        let place = Place { segment: number, offset: end, len: total };
        let Some(_whole): Option<Content> = read(file, place)? else { return Ok(end) };
        end += total;
    }
}

/// A record as it was found, made ready to be written elsewhere.
pub fn again(content: Content) -> Option<Record> {
    let envelope: Bytes = content.envelope;
    Record::new(content.id, &envelope, content.head, content.body)
}
