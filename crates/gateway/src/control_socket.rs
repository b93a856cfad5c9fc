//! `data_dir/control.sock`: a thin protocol over [`Control`]. A line of JSON asks, a line of JSON answers; `trace`
//! answers with lines until the caller hangs up.

use std::io;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::control::{Control, Request, Response};
use crate::tasks::Tasks;
use crate::trace::Pace;

/// Octets in a request.
const REQUEST: u64 = 64 * 1024;

/// Serves the socket at `path` until the gateway stops.
pub async fn serve(path: &Path, control: Control, tasks: &Tasks) -> io::Result<()> {
    let listener = vouchsafe_net::local::bind(path)?;
    let mut stop = tasks.stop_signal();
    let spawner = tasks.clone();
    tasks.spawn("control socket", async move {
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    let (control, mut stop) = (control.clone(), spawner.stop_signal());
                    spawner.spawn("control connection", async move {
                        tokio::select! {
                            _ = answer(stream, control) => {}
                            _ = stop.wait_for(|stopped| *stopped) => {}
                        }
                    });
                },
                _ = stop.wait_for(|stopped| *stopped) => return,
            }
        }
    });
    Ok(())
}

async fn answer(stream: UnixStream, control: Control) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(REQUEST)).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str(&line) {
            Ok(Request::Trace { text }) => {
                let mut feed = control.trace(&text, Pace::All);
                loop {
                    let line = tokio::select! {
                        line = feed.next() => line,
                        gone = lines.next_line() => { gone?; return Ok(()); }
                    };
                    let Some(line) = line else { return Ok(()) };
                    send(&mut write, &Response::Line(line)).await?;
                }
            }
            Ok(request) => send(&mut write, &control.run(request).await).await?,
            Err(fault) => {
                send(&mut write, &Response::Refused { why: format!("request not understood: {fault}") })
                    .await?
            }
        }
    }
    Ok(())
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    write.write_all(&line).await
}
