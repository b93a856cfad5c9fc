//! `vouchsafe demo`: gateway, stand-in delegate and stand-in next hop on loopback; four dialogues with what they mean, the
//! delivered messages, then it stays up to play with. `--once` ends there.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use vouchsafe_config::Flags;
use vouchsafe_fakes::dialogue::Line;
use vouchsafe_fakes::{Delegate, NextHop, serve_tcp};
use vouchsafe_gateway::gateway::Gateway;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_smtp::Secret;
use vouchsafe_smtp::sasl::{Plain, encode_base64, encode_plain};

use crate::lookup::Machine;
use crate::serve::open_stores;

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

/// Runs the demo.
pub async fn run(once: bool) -> Result<(), String> {
    let (delegate, next_hop) = (Delegate::demo(), NextHop::demo());
    let (asked, asked_at) = port(0).await?;
    let (taking, taking_at) = port(0).await?;
    let serving = tokio::spawn(serve_tcp(asked, delegate.clone()));
    let receiving = tokio::spawn(serve_tcp(taking, next_hop.clone()));
    let scratch = Scratch(std::env::temp_dir().join(format!("vouchsafe-demo-{}", std::process::id())));
    let supervisor = gateway(&scratch.0, asked_at, taking_at).await?;
    let bound = supervisor.start(Some(&scratch.0.join("control.sock"))).await?;
    let at = |name: &str| bound.iter().find(|(listener, _)| listener == name).map(|(_, address)| *address);
    let (Some(mx), Some(submission)) = (at("mx"), at("submission")) else {
        return Err("the demo's listeners are missing from its settings".to_owned());
    };
    println!("The delegate, which knows the users, is at {asked_at}. It must never get a message.");
    println!("The next hop, where messages go, is at {taking_at}.");
    println!("The gateway between them: {mx} for the Internet, {submission} for mail clients.");
    println!("C: client   S: gateway   D> gateway to delegate   D< delegate");

    let stage = Stage { delegate: &delegate };
    stage.play(submission, "A wrong password", "The delegate says 535, so does the gateway. It asked once; the same password again would be answered from memory.", &[
        "EHLO laptop.example", &auth("wrong"), "QUIT",
    ]).await?;
    stage.play(submission, "The right password, and a message out", "Only the delegate knows the password. The message does not go through it.", &[
        "EHLO laptop.example", &auth(PASSWORD), "MAIL FROM:<alice@example.com>", "RCPT TO:<friend@elsewhere.example>", "DATA",
        "From: Alice <alice@example.com>\r\nTo: friend@elsewhere.example\r\nSubject: Out\r\n\r\nHello from a mail client.\r\n.", "QUIT",
    ]).await?;
    stage.play(mx, "A stranger writes to somebody the delegate knows", "The delegate says 250 to the address, so does the gateway.", &[
        "EHLO mail.elsewhere.example", "MAIL FROM:<friend@elsewhere.example>", "RCPT TO:<bob@example.com>", "DATA",
        "From: friend@elsewhere.example\r\nTo: bob@example.com\r\nSubject: In\r\n\r\nHello from the Internet.\r\n.", "QUIT",
    ]).await?;
    stage.play(mx, "A stranger writes to nobody, then tries to relay", "The delegate says 550 to the first. It is not even asked about the second: that domain is not ours.", &[
        "EHLO mail.elsewhere.example", "MAIL FROM:<friend@elsewhere.example>", "RCPT TO:<nobody@example.com>", "RCPT TO:<victim@far.example>", "QUIT",
    ]).await?;

    let arrived = tokio::time::timeout(PATIENCE, next_hop.wait(|counters| counters.messages >= 2)).await;
    println!("\n== What the next hop has got");
    for message in next_hop.messages() {
        println!();
        message.text().lines().for_each(|line| println!("   {}", line.trim_end()));
    }
    let seen = delegate.counters();
    println!(
        "\nThe delegate was asked {} times about logins and {} times about recipients, and got {} messages.",
        seen.logins_good + seen.logins_bad,
        seen.recipients,
        seen.data_commands + seen.violations
    );
    if arrived.is_err() {
        return Err("the messages did not arrive at the next hop".to_owned());
    }
    if !once {
        let dir = scratch.0.display();
        println!(
            "\nIt goes on running. Log in as {USER} with the password \"{PASSWORD}\"; try for example\n"
        );
        println!("   swaks --server {mx} --from me@elsewhere.example --to bob@example.com");
        println!(
            "   swaks --server {submission} --tls --auth-user {USER} --auth-password \"{PASSWORD}\" --from {USER} --to you@far.example"
        );
        println!("   vouchsafe trace --data-dir {dir}");
        println!("\nCtrl-C ends it.");
        tokio::signal::ctrl_c().await.map_err(|fault| fault.to_string())?;
    }
    supervisor.stop().await;
    serving.abort();
    receiving.abort();
    Ok(())
}

/// A listening socket on loopback; `0`: any free port.
async fn port(number: u16) -> Result<(TcpListener, SocketAddr), String> {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).await.map_err(|fault| fault.to_string())?;
    let address = socket.local_addr().map_err(|fault| fault.to_string())?;
    Ok((socket, address))
}

/// The gateway as `serve` starts it without a file; a port that is taken is replaced by a free one.
async fn gateway(dir: &Path, delegate: SocketAddr, next_hop: SocketAddr) -> Result<Supervisor, String> {
    let flags = Flags {
        data_dir: Some(dir.to_owned()),
        delegate: Some(delegate.to_string()),
        next_hop: Some(next_hop.to_string()),
        domains: vec!["example.com".to_owned()],
    };
    let reading = flags
        .read(&Machine)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))?;
    let mut settings = reading.settings;
    settings.hostname = "gateway.example".to_owned();
    for address in settings.listeners.iter_mut().flat_map(|listener| &mut listener.addresses) {
        if port(address.port()).await.is_err() {
            address.set_port(0);
        }
    }
    let stores = open_stores(dir, 0)?;
    Supervisor::new(Gateway::new(settings, stores, Arc::new(TcpDialer::new()), Arc::new(SystemClock::new())))
}

fn auth(password: &str) -> String {
    let plain = Plain { authzid: String::new(), authcid: USER.to_owned(), password: Secret::new(password) };
    encode_plain(&plain)
        .map_or(String::new(), |response| format!("AUTH PLAIN {}", encode_base64(response.expose())))
}

struct Stage<'a> {
    delegate: &'a Delegate,
}

impl Stage<'_> {
    /// One dialogue: each command, the delegate's part in it, the reply.
    async fn play(
        &self,
        to: SocketAddr,
        title: &str,
        meaning: &str,
        commands: &[&str],
    ) -> Result<(), String> {
        println!("\n== {title}\n   {meaning}\n");
        let stream = TcpStream::connect(to).await.map_err(|fault| format!("{to}: {fault}"))?;
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        reply(&mut read).await?;
        for command in commands {
            command.lines().for_each(|line| println!("   C: {}", masked(line)));
            self.delegate.clear_dialogue();
            write.write_all(format!("{command}\r\n").as_bytes()).await.map_err(|fault| fault.to_string())?;
            let said = read_reply(&mut read).await?;
            self.delegate.dialogue().iter().for_each(|line: &Line| println!("        D{line}"));
            said.iter().for_each(|line| println!("   S: {line}"));
        }
        Ok(())
    }
}

/// A credential is not shown, not even the demo's.
fn masked(line: &str) -> &str {
    if line.starts_with("AUTH PLAIN ") { "AUTH PLAIN ***" } else { line }
}

async fn reply(read: &mut (impl AsyncBufReadExt + Unpin)) -> Result<(), String> {
    read_reply(read).await?.iter().for_each(|line| println!("   S: {line}"));
    Ok(())
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
