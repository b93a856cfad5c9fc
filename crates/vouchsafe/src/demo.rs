//! `vouchsafe demo`: gateway, stand-in delegate and stand-in next hop on loopback; four dialogues with what they mean, the
//! delivered messages, then it stays up to play with, its page too. `--once` ends there.

mod gateway;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use vouchsafe_fakes::delegate::{Counters, Site};
use vouchsafe_fakes::{Delegate, NextHop, serve_tcp};
use vouchsafe_smtp::Secret;
use vouchsafe_smtp::sasl::{Plain, encode_base64, encode_plain};

use crate::cli::failure::Failure;
use gateway::Around;

/// Longest wait for a reply or for the delivered messages.
const PATIENCE: Duration = Duration::from_secs(30);
const USER: &str = "alice@example.com";
const PASSWORD: &str = "correct horse";

/// The folder of the demo's queue; removed at the end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs the demo; `like`: with stand-ins that behave like this site's servers.
pub async fn run(once: bool, like: Option<&Site>) -> Result<(), Failure> {
    let delegates = like.map_or_else(|| vec![Delegate::demo()], Delegate::at);
    let next_hop = NextHop::demo();
    let mut standing = JoinSet::new();
    let mut asked_at = Vec::new();
    for delegate in &delegates {
        let (socket, address) = port(0).await.map_err(failed)?;
        asked_at.push(address);
        standing.spawn(serve_tcp(socket, delegate.clone()));
    }
    let (taking, taking_at) = port(0).await.map_err(failed)?;
    standing.spawn(serve_tcp(taking, next_hop.clone()));
    let scratch = Scratch(std::env::temp_dir().join(format!("vouchsafe-demo-{}", std::process::id())));
    let around = Around::new(&scratch.0, &asked_at, taking_at, !once).await.map_err(failed)?;
    let supervisor = &around.supervisor;
    let bound = supervisor.start(Some(&scratch.0.join("control.sock"))).await.map_err(failed)?;
    let at = |name: &str| bound.iter().find(|(listener, _)| listener == name).map(|(_, address)| *address);
    let (Some(mx), Some(submission)) = (at("mx"), at("submission")) else {
        return Err(failed("the demo's listeners are missing from its settings".to_owned()));
    };
    // The reader may go away at any line: that ends the demo, in order.
    let stage = Stage { delegates, next_hop, out: io::stdout().lock() };
    let shown =
        stage.show(Places { asked_at, taking_at, mx, submission }, &scratch.0, &around, once, like).await;
    supervisor.stop().await;
    standing.abort_all();
    shown
}

/// What is left to say where the demo could not be given.
fn failed(why: String) -> Failure {
    Failure::refused(why, "the demo needs ports on loopback and room in the folder for temporary files")
}

/// Who listens where.
struct Places {
    asked_at: Vec<SocketAddr>,
    taking_at: SocketAddr,
    mx: SocketAddr,
    submission: SocketAddr,
}

/// A listening socket on loopback; `0`: any free port.
async fn port(number: u16) -> Result<(TcpListener, SocketAddr), String> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).await.map_err(|fault| fault.to_string())?;
    let address = socket.local_addr().map_err(|fault| fault.to_string())?;
    Ok((socket, address))
}

fn auth(password: &str) -> String {
    let plain = Plain { authzid: String::new(), authcid: USER.to_owned(), password: Secret::new(password) };
    encode_plain(&plain)
        .map_or(String::new(), |response| format!("AUTH PLAIN {}", encode_base64(response.expose())))
}

/// Where the demo is shown.
struct Stage<W> {
    delegates: Vec<Delegate>,
    next_hop: NextHop,
    out: W,
}

impl<W: Write> Stage<W> {
    /// The whole show; `dir` is the gateway's data directory.
    async fn show(
        mut self,
        places: Places,
        dir: &Path,
        around: &Around,
        once: bool,
        like: Option<&Site>,
    ) -> Result<(), Failure> {
        let Places { asked_at, taking_at, mx, submission } = places;
        // From the first line on: SIGTERM, too, ends in order, and leaves no folder behind.
        let mut terminated = signal(SignalKind::terminate())?;
        match asked_at[..] {
            [logins, recipients] => writeln!(
                self.out,
                "The delegate, which knows the users, is at {logins} for logins and {recipients} for recipients. It must never get a message."
            )?,
            _ => writeln!(
                self.out,
                "The delegate, which knows the users, is at {}. It must never get a message.",
                asked_at[0]
            )?,
        }
        if let Some(site) = like {
            writeln!(self.out, "It behaves like {}", site.about)?;
        }
        writeln!(self.out, "The next hop, where messages go, is at {taking_at}.")?;
        writeln!(
            self.out,
            "The gateway between them: {mx} for the Internet, {submission} for mail clients."
        )?;
        writeln!(self.out, "C: client   S: gateway   D> gateway to delegate   D< delegate")?;

        self.play(submission, "A wrong password", "The delegate says 535, so does the gateway. It asked once; the same password again would be answered from memory.", &[
            "EHLO laptop.example", &auth("wrong"), "QUIT",
        ]).await?;
        self.play(submission, "The right password, and a message out", "Only the delegate knows the password. The message does not go through it.", &[
            "EHLO laptop.example", &auth(PASSWORD), "MAIL FROM:<alice@example.com>", "RCPT TO:<friend@elsewhere.example>", "DATA",
            "From: Alice <alice@example.com>\r\nTo: friend@elsewhere.example\r\nSubject: Out\r\n\r\nHello from a mail client.\r\n.", "QUIT",
        ]).await?;
        self.play(mx, "A stranger writes to somebody the delegate knows", "The delegate says 250 to the address, so does the gateway.", &[
            "EHLO mail.elsewhere.example", "MAIL FROM:<friend@elsewhere.example>", "RCPT TO:<bob@example.com>", "DATA",
            "From: friend@elsewhere.example\r\nTo: bob@example.com\r\nSubject: In\r\n\r\nHello from the Internet.\r\n.", "QUIT",
        ]).await?;
        self.play(mx, "A stranger writes to nobody, then tries to relay", "The delegate says 550 to the first. It is not even asked about the second: that domain is not ours.", &[
            "EHLO mail.elsewhere.example", "MAIL FROM:<friend@elsewhere.example>", "RCPT TO:<nobody@example.com>", "RCPT TO:<victim@far.example>", "QUIT",
        ]).await?;

        if !once {
            self.play(submission, "A message that the next hop puts off", "It stays in the queue and is tried again: the page shows it, and what can be done about it.", &[
                "EHLO laptop.example", &auth(PASSWORD), "MAIL FROM:<alice@example.com>", "RCPT TO:<friend+451@elsewhere.example>", "DATA",
                "From: Alice <alice@example.com>\r\nTo: friend+451@elsewhere.example\r\nSubject: Later\r\n\r\nThis one waits.\r\n.", "QUIT",
            ]).await?;
        }

        let arrived =
            tokio::time::timeout(PATIENCE, self.next_hop.wait(|counters| counters.messages >= 2)).await;
        writeln!(self.out, "\n== What the next hop has got")?;
        for message in self.next_hop.messages() {
            writeln!(self.out)?;
            for line in message.text().lines() {
                writeln!(self.out, "   {}", line.trim_end())?;
            }
        }
        let seen: Vec<Counters> = self.delegates.iter().map(Delegate::counters).collect();
        let sum = |count: fn(&Counters) -> u64| seen.iter().map(count).sum::<u64>();
        writeln!(
            self.out,
            "\nThe delegate was asked {} times about logins and {} times about recipients, got {} messages, and had to enforce its limits {} times.",
            sum(|seen| seen.logins_good + seen.logins_bad),
            sum(|seen| seen.recipients),
            sum(|seen| seen.data_commands + seen.violations),
            sum(Counters::tripped)
        )?;
        if arrived.is_err() {
            return Err(failed("the messages did not arrive at the next hop".to_owned()));
        }
        if !once {
            let dir = dir.display();
            writeln!(
                self.out,
                "\nIt goes on running. Log in as {USER} with the password \"{PASSWORD}\"; try for example\n"
            )?;
            writeln!(self.out, "   swaks --server {mx} --from me@elsewhere.example --to bob@example.com")?;
            writeln!(
                self.out,
                "   swaks --server {submission} --tls --auth-user {USER} --auth-password \"{PASSWORD}\" --from {USER} --to you@far.example"
            )?;
            writeln!(self.out, "   vouchsafe trace --data-dir {dir}")?;
            if let Some((page, password)) = around.page().await.map_err(failed)? {
                writeln!(self.out, "\nIts page is {page}; the one-time password for it: {password}")?;
            }
            writeln!(self.out, "\nCtrl-C ends it.")?;
            self.out.flush()?;
            tokio::select! {
                pressed = tokio::signal::ctrl_c() => pressed?,
                _ = terminated.recv() => {}
            }
        }
        Ok(())
    }

    /// One dialogue: each command, the delegate's part in it, the reply.
    async fn play(
        &mut self,
        to: SocketAddr,
        title: &str,
        meaning: &str,
        commands: &[&str],
    ) -> Result<(), Failure> {
        writeln!(self.out, "\n== {title}\n   {meaning}\n")?;
        self.delegates.iter().for_each(Delegate::clear_dialogue);
        let cut = |fault: io::Error| failed(format!("{to}: {fault}"));
        let (read, mut write) = TcpStream::connect(to).await.map_err(cut)?.into_split();
        let mut read = BufReader::new(read);
        self.reply(&mut read).await?;
        for command in commands {
            for line in command.lines() {
                writeln!(self.out, "   C: {}", masked(line))?;
            }
            self.delegates.iter().for_each(Delegate::clear_dialogue);
            write.write_all(format!("{command}\r\n").as_bytes()).await.map_err(cut)?;
            self.reply(&mut read).await?;
        }
        Ok(())
    }

    /// One reply, behind what the delegate had to say about it.
    async fn reply(&mut self, read: &mut (impl AsyncBufReadExt + Unpin)) -> Result<(), Failure> {
        let said = read_reply(read).await.map_err(failed)?;
        for line in self.delegates.iter().flat_map(Delegate::dialogue) {
            writeln!(self.out, "        D{line}")?;
        }
        for line in said {
            writeln!(self.out, "   S: {line}")?;
        }
        Ok(())
    }
}

/// A credential is not shown, not even the demo's.
fn masked(line: &str) -> &str {
    if line.starts_with("AUTH PLAIN ") { "AUTH PLAIN ***" } else { line }
}

async fn read_reply(read: &mut (impl AsyncBufReadExt + Unpin)) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let got = tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await;
        match got {
            Ok(Ok(n)) if n > 0 => {}
            Ok(_) => return Err("the gateway closed the connection".to_owned()),
            Err(_) => return Err("the gateway did not answer".to_owned()),
        }
        let line = line.trim_end().to_owned();
        let last = line.as_bytes().get(3) != Some(&b'-');
        lines.push(line);
        if last {
            return Ok(lines);
        }
    }
}
