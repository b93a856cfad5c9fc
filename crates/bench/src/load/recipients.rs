//! Questions about recipients: MAIL, some RCPT and RSET, in one write or in three. No message is sent.

use super::{Numbers, together};
use crate::Outcome;
use crate::args::Recipients;
use crate::client::Client;
use crate::figures::Figures;
use crate::play::DOMAIN;
use std::io;
use std::time::Instant;

/// Transactions in a session before it is renewed: servers count commands.
const PER_SESSION: u64 = 100;

const MAIL: &str = "MAIL FROM:<load@bench.example>\r\n";
const RSET: &str = "RSET\r\n";

/// Runs the load.
pub async fn run(load: &Recipients) -> Outcome<Figures> {
    let numbers = Numbers::new(load.first, load.count, load.target.seconds);
    together("recipients", load.sessions, || {
        let (load, numbers) = (load.clone(), numbers.clone());
        async move {
            let mut figures = Figures::default();
            while let Err(error) = sessions(&load, &numbers, &mut figures).await {
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

async fn sessions(load: &Recipients, numbers: &Numbers, figures: &mut Figures) -> io::Result<()> {
    loop {
        let mut client = Client::open(&load.target).await?;
        for _ in 0..PER_SESSION {
            let batch: Vec<u64> = (0..load.per_transaction.max(1)).map_while(|_| numbers.next()).collect();
            if batch.is_empty() {
                client.quit().await;
                return Ok(());
            }
            let mut lines = String::new();
            if load.step_by_step {
                client.command(MAIL, 250).await?;
            } else {
                lines += MAIL;
            }
            for number in &batch {
                let name = if unknown(load, *number) { "nobody" } else { "user" };
                let number = number.checked_rem(load.again).unwrap_or(*number);
                lines += &format!("RCPT TO:<{name}{number}@{DOMAIN}>\r\n");
            }
            if !load.step_by_step {
                lines += RSET;
            }
            let start = Instant::now();
            client.send(lines.as_bytes()).await?;
            if !load.step_by_step {
                client.expect(250).await?;
            }
            for number in &batch {
                let wanted = if unknown(load, *number) { 550 } else { 250 };
                match client.reply().await? {
                    (code, _) if code == wanted => {
                        figures.times.add(start.elapsed());
                        figures.done += 1;
                    }
                    (_, text) => figures.odd(text),
                }
            }
            if load.step_by_step {
                client.send(RSET.as_bytes()).await?;
            }
            client.expect(250).await?;
        }
        client.quit().await;
    }
}

fn unknown(load: &Recipients, number: u64) -> bool {
    number % 100 < load.unknown_percent
}
