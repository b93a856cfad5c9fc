//! Messages over kept sessions: MAIL, RCPT and DATA in one write, the body and its dot in another.

use super::{Numbers, together};
use crate::Outcome;
use crate::args::Messages;
use crate::client::Client;
use crate::figures::Figures;
use std::io;
use std::rc::Rc;
use std::time::Instant;

/// Runs the load.
pub async fn run(load: &Messages) -> Outcome<Figures> {
    let numbers = Numbers::new(load.first, load.count, load.target.seconds);
    let shared = Rc::new((load.clone(), body(load.size)));
    together("messages", load.sessions, || {
        let (numbers, shared) = (numbers.clone(), shared.clone());
        async move {
            let mut figures = Figures::default();
            // A session that ends early is opened anew; one that cannot be opened ends this worker.
            while let Err(error) = sessions(&shared.0, &shared.1, &numbers, &mut figures).await {
                figures.odd(&error);
                if error.kind() == io::ErrorKind::ConnectionRefused {
                    break;
                }
            }
            figures
        }
    })
    .await
}

/// A body of about this size, CRLF line ends, no dot at the start of a line.
fn body(size: u64) -> Vec<u8> {
    let line =
        [b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789".as_slice(), b"\r\n"]
            .concat();
    let lines = usize::try_from(size).unwrap_or(usize::MAX) / line.len();
    line.repeat(lines.max(1))
}

async fn sessions(load: &Messages, body: &[u8], numbers: &Numbers, figures: &mut Figures) -> io::Result<()> {
    let envelope = format!("MAIL FROM:<load@bench.example>\r\nRCPT TO:<{}>\r\nDATA\r\n", load.to);
    let mut message = Vec::with_capacity(body.len() + 256);
    loop {
        let mut client = Client::open(&load.target).await?;
        for _ in 0..load.per_session {
            let Some(number) = numbers.next() else {
                client.quit().await;
                return Ok(());
            };
            client.send(envelope.as_bytes()).await?;
            client.expect(250).await?;
            client.expect(250).await?;
            client.expect(354).await?;
            message.clear();
            message.extend_from_slice(
                format!(
                    "From: load@bench.example\r\nTo: {}\r\nSubject: {number}\r\nX-Seq: {number}\r\nX-Len: {}\r\n\r\n",
                    load.to,
                    body.len()
                )
                .as_bytes(),
            );
            message.extend_from_slice(body);
            message.extend_from_slice(b".\r\n");
            client.send(&message).await?;
            let sent = Instant::now();
            match client.reply().await? {
                (250, _) => {
                    figures.times.add(sent.elapsed());
                    figures.done += 1;
                }
                (code, _) => figures.odd(code),
            }
        }
        client.quit().await;
    }
}
