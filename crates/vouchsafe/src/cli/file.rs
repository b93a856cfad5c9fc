//! Files that others read while we write them.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

/// Puts `text` in place of what the file holds, or makes it. Whoever looks sees the old file or the new one, never a part;
/// owner and mode stay.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays a link.
    let path = match path.canonicalize() {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => path.to_owned(),
        found => found?,
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, text)
        .and_then(|()| match fs::metadata(&path) {
            Ok(before) => fs::set_permissions(&beside, before.permissions())
                .and_then(|()| chown(&beside, Some(before.uid()), Some(before.gid()))),
            Err(_) => Ok(()),
        })
        .and_then(|()| fs::File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, &path));
    if written.is_err() {
        // What is half written is no use to anyone.
        let _ = fs::remove_file(&beside);
    }
    written
}
