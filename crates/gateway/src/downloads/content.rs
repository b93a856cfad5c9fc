//! What a grant opens, as a stream: a stretch of one file, or all files in a ZIP archive. Two chunks are in memory at a
//! time, whatever the size.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use vouchsafe_core::Timestamp;
use vouchsafe_core::attachments::{BlobReader, BlobRef, BlobStore, Share, SharedFile};
use vouchsafe_core::ports::StoreFault;
use vouchsafe_core::zip::Archive;
use vouchsafe_mime::name;

use super::{Place, Which};

/// What is told of a download before its first octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The value of Content-Disposition: to be saved, under which name (RFC 6266).
    pub disposition: String,
    /// Type, as the message said.
    pub media_type: String,
    /// Octets.
    pub size: u64,
    /// SHA-256 in hexadecimal; `None` for an archive, which is not there as such and cannot be resumed.
    pub sha256: Option<String>,
    /// When the message came.
    pub modified: Timestamp,
}

/// A download that was granted.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What it is.
    pub facts: Facts,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File(BlobRef),
    All(Archive, Vec<BlobRef>),
}

impl Opened {
    /// `files` are not empty.
    pub(super) fn new(share: &Share, files: &[&SharedFile], which: Which) -> Opened {
        let blob = |file: &SharedFile| {
            let unknown = BlobRef { name: String::new(), len: file.size, key: Vec::new() };
            file.blob.clone().unwrap_or(unknown)
        };
        let (content, facts) = match (which, files) {
            (Which::File(_), [file, ..]) => {
                let facts = Facts {
                    disposition: name::content_disposition(&file.file_name),
                    media_type: file.media_type.clone(),
                    size: file.size,
                    sha256: Some(file.sha256.clone()),
                    modified: share.created,
                };
                (Content::File(blob(file)), facts)
            }
            _ => {
                let names = files.iter().map(|file| (file.file_name.as_str(), file.size));
                let archive = Archive::new(names, share.created);
                let facts = Facts {
                    disposition: name::content_disposition(&archive_name(share)),
                    media_type: "application/zip".to_owned(),
                    size: archive.size(),
                    sha256: None,
                    modified: share.created,
                };
                (Content::All(archive, files.iter().map(|file| blob(file)).collect()), facts)
            }
        };
        Opened { facts, content }
    }

    /// Begins to read; an archive is read whole.
    pub(super) async fn read(
        &self,
        blobs: Arc<dyn BlobStore>,
        range: Range<u64>,
        place: Place,
    ) -> Result<Reading, StoreFault> {
        let source = match &self.content {
            Content::File(blob) => Source::File(blobs.open(blob.clone(), range).await?),
            Content::All(archive, files) => Source::All(Box::new(Zipping {
                blobs,
                archive: archive.clone(),
                files: files.iter().cloned().collect(),
                crcs: Vec::new(),
                open: None,
                ended: false,
            })),
        };
        Ok(Reading { source, _place: place })
    }
}

/// `files 2026-12-01.zip`, after the subject where there is one.
fn archive_name(share: &Share) -> String {
    let subject: String = share.subject.chars().take(80).collect();
    let day = share.created.rfc3339();
    let day = day.split('T').next().unwrap_or_default();
    let stem = if subject.is_empty() { format!("files {day}") } else { subject };
    name::safe(Some(&format!("{stem}.zip")), "application/zip")
}

/// A download under way.
pub struct Reading {
    source: Source,
    _place: Place,
}

enum Source {
    File(Box<dyn BlobReader>),
    All(Box<Zipping>),
}

impl Reading {
    /// The next chunk, at most 256 KiB; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreFault> {
        match &mut self.source {
            Source::File(reader) => reader.next().await,
            Source::All(zipping) => zipping.next().await,
        }
    }
}

struct Zipping {
    blobs: Arc<dyn BlobStore>,
    archive: Archive,
    /// Those not begun.
    files: VecDeque<BlobRef>,
    /// Of those that have ended.
    crcs: Vec<u32>,
    open: Option<(Box<dyn BlobReader>, crc32fast::Hasher)>,
    ended: bool,
}

impl Zipping {
    async fn next(&mut self) -> Result<Option<Bytes>, StoreFault> {
        let index = self.crcs.len();
        if let Some((reader, crc)) = &mut self.open {
            return match reader.next().await? {
                Some(chunk) => {
                    crc.update(&chunk);
                    Ok(Some(chunk))
                }
                None => {
                    let crc = crc.clone().finalize();
                    self.open = None;
                    self.crcs.push(crc);
                    Ok(Some(self.archive.tail(index, crc).into()))
                }
            };
        }
        if let Some(blob) = self.files.pop_front() {
            let len = blob.len;
            let reader = self.blobs.open(blob, 0..len).await?;
            self.open = Some((reader, crc32fast::Hasher::new()));
            return Ok(Some(self.archive.head(index).into()));
        }
        match std::mem::replace(&mut self.ended, true) {
            false => Ok(Some(self.archive.end(&self.crcs).into())),
            true => Ok(None),
        }
    }
}
