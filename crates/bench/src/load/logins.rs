//! Logins: connect, greet, AUTH PLAIN, QUIT; each by another user.

use super::{Numbers, together};
use crate::Outcome;
use crate::args::Logins;
use crate::client::Client;
use crate::figures::Figures;
use crate::play::DOMAIN;
use std::io;
use std::time::Instant;
use vouchsafe_smtp::sasl::encode_base64;

/// Runs the load.
pub async fn run(load: &Logins) -> Outcome<Figures> {
    let numbers = Numbers::new(load.first, load.count, load.target.seconds);
    together("logins", load.sessions, || {
        let (load, numbers) = (load.clone(), numbers.clone());
        async move {
            let mut figures = Figures::default();
            while let Some(number) = numbers.next() {
                let wrong = number % 100 < load.wrong_percent;
                let start = Instant::now();
                match login(&load, number, wrong).await {
                    Ok((code, _)) if code == if wrong { 535 } else { 235 } => {
                        figures.times.add(start.elapsed());
                        figures.done += 1;
                    }
                    Ok((_, text)) => figures.odd(text),
                    Err(error) => {
                        figures.odd(&error);
                        if error.kind() == io::ErrorKind::ConnectionRefused {
                            break;
                        }
                    }
                }
            }
            figures
        }
    })
    .await
}

async fn login(load: &Logins, number: u64, wrong: bool) -> io::Result<(u16, String)> {
    let mut client = Client::open(&load.target).await?;
    let password = if wrong { "wrong".to_owned() } else { format!("pw-user{number}") };
    let response = encode_base64(format!("\0user{number}@{DOMAIN}\0{password}").as_bytes());
    client.send(format!("AUTH PLAIN {response}\r\n").as_bytes()).await?;
    let reply = client.reply().await?;
    client.quit().await;
    Ok(reply)
}
