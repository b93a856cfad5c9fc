//! The store of detached files that the settings name: a folder below `data_dir`, or a bucket; encrypted or not.

use std::path::Path;
use std::sync::Arc;

use vouchsafe_config::{Bucket, Keeping};
use vouchsafe_core::attachments::UploadLog;
use vouchsafe_smtp::Secret;
use vouchsafe_store::blobs::{Blobs, MasterKeys, S3, S3Options};
use vouchsafe_store::disk::RealDisk;

/// Reads the keys; `None` where there are none. The fault says what to do, and not what it read.
pub fn keys(keeping: &Keeping) -> Result<Option<MasterKeys>, String> {
    if keeping.keys.is_empty() {
        return Ok(None);
    }
    let lines: Vec<_> = keeping.keys.iter().map(|key| String::from_utf8_lossy(key.expose())).collect();
    MasterKeys::parse(&lines.join("\n")).map(Some)
}

/// Opens it. A bucket is not asked anything yet.
pub fn open(keeping: &Keeping, data_dir: &Path, log: Arc<dyn UploadLog>) -> Result<Arc<Blobs>, String> {
    let blobs = match &keeping.bucket {
        None => {
            Blobs::files(Arc::new(RealDisk), &data_dir.join("blobs")).map_err(|fault| fault.to_string())?
        }
        Some(bucket) => {
            let s3 = S3::new(&options(bucket), log);
            Blobs::new(Arc::new(s3.map_err(|fault| format!("attachments.store: {fault}"))?))
        }
    };
    match keys(keeping).map_err(|why| format!("attachments.encryption_key: {why}"))? {
        Some(keys) => Ok(blobs.encrypted(keys)),
        None => Ok(blobs),
    }
}

fn options(bucket: &Bucket) -> S3Options {
    let Bucket { name, prefix, endpoint, region, login } = bucket.clone();
    let login: Option<(String, Secret)> = login;
    S3Options { bucket: name, prefix, endpoint, region, login }
}
