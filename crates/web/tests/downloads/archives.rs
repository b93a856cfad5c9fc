//! All files as one archive: read back by `unzip` and Python, past 4 GiB, and with the same memory however many read.

use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Bytes, HttpBody};
use axum::http::StatusCode;
use vouchsafe_core::attachments::{BlobReader, BlobRef, BlobStore, BlobWriter, Detached, Keep, SealedBlob};
use vouchsafe_core::ports::{BoxFuture, StoreFault};

use crate::world::{Given, World, octets};

fn python(script: &str, file: &std::path::Path) -> String {
    let done = Command::new("python3").arg("-c").arg(script).arg(file).output().expect("python3 is there");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test]
async fn all_files_are_in_the_archive_under_names_of_their_own() {
    let world = World::new().await;
    let (one, two) = (octets(300_000), octets(0));
    let files = [
        ("Größe.pdf", "application/pdf", one.clone()),
        ("größe.PDF", "x/y", two),
        ("日本.txt", "x/y", octets(9)),
    ];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let link = shared.link(0);
    assert!(world.get(&link).await.text().contains("Download all as ZIP (300 kB)"));
    let at = world.grant(&format!("{link}/all")).await;
    assert_eq!(world.counted(&link).await, 3);
    // An archive is made anew each time: no range of it is promised.
    let answer = world.ask("GET", &at, &[("range", "bytes=5-")], "").await;
    assert_eq!((answer.status, answer.field("accept-ranges")), (StatusCode::OK, "none"));
    assert_eq!(answer.field("content-length"), answer.body.len().to_string());
    assert_eq!(answer.field("content-disposition"), "attachment; filename=\"The plan _b_.zip\"");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.zip");
    std::fs::write(&file, &answer.body).unwrap();
    let said = python(
        "import sys, zipfile, zlib\nz = zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\n\
         print([(i.filename, i.file_size, i.CRC == zlib.crc32(z.read(i))) for i in z.infolist()])",
        &file,
    );
    assert_eq!(
        said.trim(),
        "[('Größe.pdf', 300000, True), ('größe (2).PDF', 0, True), ('日本.txt', 9, True)]"
    );
    let unzip = Command::new("unzip").arg("-tqq").arg(&file).output();
    // Debian's base has no unzip: Python's answer above stands alone then.
    if let Ok(unzip) = unzip {
        assert!(unzip.status.success(), "{}", String::from_utf8_lossy(&unzip.stdout));
    }
}

/// Blobs of zeros of any length; how many chunks are in the readers' hands at once.
#[derive(Default)]
struct Zeros {
    chunks: Arc<AtomicUsize>,
}

static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];

struct ZeroReader {
    left: u64,
    chunks: Arc<AtomicUsize>,
}

impl BlobReader for ZeroReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        let len = self.left.min(ZEROS.len() as u64);
        self.left -= len;
        self.chunks.fetch_add(1, Ordering::Relaxed);
        let chunk = Bytes::from_static(&ZEROS[..len as usize]);
        Box::pin(std::future::ready(Ok((len > 0).then_some(chunk))))
    }
}

impl BlobStore for Zeros {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreFault>> {
        unreachable!("nothing is written")
    }
    fn open(&self, _: BlobRef, range: Range<u64>) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        let reader = ZeroReader { left: range.end - range.start, chunks: Arc::clone(&self.chunks) };
        Box::pin(std::future::ready(Ok(Box::new(reader) as Box<dyn BlobReader>)))
    }
    fn delete(&self, _: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(std::future::ready(Ok(())))
    }
    fn list(&self, _: String, _: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn part(position: u32, len: u64) -> Detached {
    let (name, sha256) = (format!("zeros-{position}"), [position as u8; 32]);
    let blob = SealedBlob { name, len, sha256, key: Vec::new(), keep: Keep::default() };
    let file_name = format!("part {position}.bin");
    Detached { blob, file_name, media_type: "application/octet-stream".to_owned(), position }
}

#[tokio::test]
async fn an_archive_past_four_gib_is_read_by_others() {
    let world = World::over(Arc::new(Zeros::default())).await;
    let large = (4 << 30) + 12_345;
    let shared = world.share_of(vec![part(0, large), part(1, 700)], Given::default()).await;
    let at = world.grant(&format!("{}/all", shared.link(0))).await;
    let response = world.begin("GET", &at, &[], "192.0.2.1", "").await;
    let length: u64 = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.zip");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut body = std::pin::pin!(response.into_body());
    let mut seen = 0;
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let chunk = frame.unwrap().into_data().unwrap();
        assert!(chunk.len() <= ZEROS.len());
        seen += chunk.len() as u64;
        // Holes are as good as zeros, and take no room.
        match std::ptr::eq(chunk.as_ptr(), ZEROS.as_ptr()) {
            true => drop(file.seek(SeekFrom::Current(chunk.len() as i64)).unwrap()),
            false => file.write_all(&chunk).unwrap(),
        }
    }
    drop(file);
    assert_eq!(seen, length);
    let said = python(
        "import sys, zipfile\nz = zipfile.ZipFile(sys.argv[1])\n\
         print([(i.filename, i.file_size, hex(i.CRC), i.header_offset) for i in z.infolist()])\n\
         assert len(z.read('part 1.bin')) == 700",
        &path,
    );
    // The CRC of 2^32 + 12,345 zeros, by zlib.
    let second = 30 + 20 + 10 + large + 24;
    let want = format!("('part 1.bin', 700, '{}', {second})", "0x");
    let want = want.split("'0x").next().unwrap();
    assert!(said.starts_with(&format!("[('part 0.bin', {large}, '0x")) && said.contains(want), "{said}");
}

#[tokio::test]
async fn readers_who_stop_hold_one_chunk_each() {
    let zeros = Zeros::default();
    let chunks = Arc::clone(&zeros.chunks);
    let world = World::over(Arc::new(zeros)).await;
    let shared = world.share_of(vec![part(0, 1 << 40)], Given::default()).await;
    let at = world.grant(&format!("{}/0", shared.link(0))).await;
    let mut bodies = Vec::new();
    for reader in 0..100 {
        let client = format!("198.51.100.{}", reader % 50);
        let response = world.begin("GET", &at, &[], &client, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        let mut body = Box::pin(response.into_body());
        for _ in 0..3 {
            std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await.unwrap().unwrap();
        }
        bodies.push(body);
    }
    // Nothing is read before it is wanted.
    assert_eq!(chunks.load(Ordering::Relaxed), 300);
    // One client has so many at once, and gets its places back.
    let mut mine = Vec::new();
    while mine.len() < 100 {
        let response = world.begin("GET", &at, &[], "203.0.113.1", "").await;
        if response.status() != StatusCode::OK {
            break;
        }
        mine.push(response);
    }
    assert_eq!(mine.len(), 48);
    mine.pop();
    assert_eq!(world.begin("GET", &at, &[], "203.0.113.1", "").await.status(), StatusCode::OK);
}
