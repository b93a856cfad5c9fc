//! What a client hears from a gateway in the same process.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream};
use tokio::time::timeout;

/// For what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The last line of a reply.
pub async fn reply(stream: &mut BufReader<DuplexStream>) -> io::Result<String> {
    loop {
        let mut line = String::new();
        if timeout(PATIENCE, stream.read_line(&mut line)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(line);
        }
    }
}
