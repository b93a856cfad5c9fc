//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Sizes a machine: load for any SMTP server, stand-ins behind it, a comparison with Postfix.
#[derive(Parser)]
#[command(name = "vouchsafe-bench", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Sends messages over kept sessions: accepted a second, time of the final dot.
    Load(Messages),
    /// Asks about recipients: answers a second.
    Rcpt(Recipients),
    /// Logs in, a connection for each: logins a second.
    Auth(Logins),
    /// Holds idle sessions: memory of the server for each.
    Idle(Idle),
    /// Sends one large message: seconds.
    Large(Large),
    /// Takes the attachments out of a message in a file, as the gateway does while it receives: seconds.
    Detach(Detach),
    /// Fetches a file by HTTP/1.1 from any server: octets a second.
    Download(Download),
    /// Takes messages and throws them away; prints its counters at the end (SIGINT).
    Sink(Play),
    /// Knows userN@bench.example with the password pw-userN; prints its counters at the end (SIGINT).
    Delegate(Play),
    /// Starts the gateway, and Postfix, with a sink behind each, and loads them in turns.
    Compare(Compare),
    /// Fills a history and looks for events in it, each way: median and worst.
    Search(Search),
    /// Fills a store, starts the gateway on it and fetches every page of the administration: octets and times.
    Pages(Pages),
}

/// What all loads share.
#[derive(Args, Clone)]
pub struct Target {
    /// HOST:PORT of the server, as an IP address.
    pub address: SocketAddr,
    /// STARTTLS, whatever the certificate.
    #[arg(long)]
    pub tls: bool,
    /// Comes from this address of this machine.
    #[arg(long)]
    pub from: Option<IpAddr>,
    /// The load ends after this time at the latest.
    #[arg(long, default_value = "300", value_parser = seconds)]
    pub seconds: Duration,
}

/// `load`.
#[derive(Args, Clone)]
pub struct Messages {
    /// Where to.
    #[command(flatten)]
    pub target: Target,
    /// Sessions at once.
    #[arg(long, default_value_t = 20)]
    pub sessions: u64,
    /// Messages in all.
    #[arg(long, default_value_t = 5000)]
    pub count: u64,
    /// Octets of a message; k, m, g for powers of 1024.
    #[arg(long, default_value = "10k", value_parser = octets)]
    pub size: u64,
    /// Messages in a session before it is renewed.
    #[arg(long, default_value_t = 500)]
    pub per_session: u64,
    /// First number of X-Seq.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Recipient.
    #[arg(long, default_value = "user1@bench.example")]
    pub to: String,
}

/// `rcpt`.
#[derive(Args, Clone)]
pub struct Recipients {
    /// Where to.
    #[command(flatten)]
    pub target: Target,
    /// Sessions at once.
    #[arg(long, default_value_t = 20)]
    pub sessions: u64,
    /// Recipients in all, each another one: userN@bench.example.
    #[arg(long, default_value_t = 20_000)]
    pub count: u64,
    /// Recipients in a transaction, pipelined.
    #[arg(long, default_value_t = 1)]
    pub per_transaction: u64,
    /// Number of the first recipient.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// So many recipients in turn, again and again; 0: no recipient comes twice.
    #[arg(long, default_value_t = 0)]
    pub again: u64,
    /// MAIL, the recipients and RSET each wait for the reply to what was said before.
    #[arg(long)]
    pub step_by_step: bool,
    /// Of a hundred recipients so many do not exist.
    #[arg(long, default_value_t = 0)]
    pub unknown_percent: u64,
}

/// `auth`.
#[derive(Args, Clone)]
pub struct Logins {
    /// Where to.
    #[command(flatten)]
    pub target: Target,
    /// Connections at once.
    #[arg(long, default_value_t = 20)]
    pub sessions: u64,
    /// Logins in all, each another user.
    #[arg(long, default_value_t = 5000)]
    pub count: u64,
    /// Number of the first user.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Of a hundred logins so many have a wrong password.
    #[arg(long, default_value_t = 0)]
    pub wrong_percent: u64,
}

/// `idle`.
#[derive(Args, Clone)]
pub struct Idle {
    /// Where to.
    #[command(flatten)]
    pub target: Target,
    /// Sessions.
    #[arg(long, default_value_t = 2000)]
    pub sessions: u64,
    /// The server's process; its memory is looked at before and after.
    #[arg(long)]
    pub pid: u32,
}

/// `large`.
#[derive(Args, Clone)]
pub struct Large {
    /// Where to.
    #[command(flatten)]
    pub target: Target,
    /// Octets of the message; k, m, g for powers of 1024.
    #[arg(long, default_value = "2g", value_parser = octets)]
    pub size: u64,
    /// In so many attachments; 0: plain text.
    #[arg(long, default_value_t = 0)]
    pub parts: u64,
    /// Recipient.
    #[arg(long, default_value = "user1@bench.example")]
    pub to: String,
}

/// `detach`.
#[derive(Args, Clone)]
pub struct Detach {
    /// Octets of the message; k, m, g for powers of 1024.
    #[arg(long, default_value = "2g", value_parser = octets)]
    pub size: u64,
    /// In so many attachments.
    #[arg(long, default_value_t = 3)]
    pub parts: u64,
    /// Take this message, not one that is made.
    #[arg(long)]
    pub message: Option<PathBuf>,
    /// Where message and files are: the disk that is measured.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// `download`.
#[derive(Args, Clone)]
pub struct Download {
    /// Where from; with --tls, TLS from the first octet.
    #[command(flatten)]
    pub target: Target,
    /// What: of a download page the address that its button leads to, /TOKEN/0?grant=...
    #[arg(long)]
    pub path: String,
    /// Downloads at once.
    #[arg(long, default_value_t = 1)]
    pub sessions: u64,
    /// Downloads in all.
    #[arg(long, default_value_t = 3)]
    pub count: u64,
}

/// `sink` and `delegate`.
#[derive(Args, Clone)]
pub struct Play {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:2526")]
    pub listen: SocketAddr,
    /// Offer STARTTLS with a certificate of its own; its pin is printed.
    #[arg(long)]
    pub tls: bool,
    /// Wait before a refusal, in seconds (delegate).
    #[arg(long, default_value = "0", value_parser = seconds)]
    pub tarpit: Duration,
    /// Users and recipients that exist (delegate).
    #[arg(long, default_value_t = 100_000)]
    pub users: u64,
}

/// A server to compare with.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// For messages: the real one, with settings and queue in a folder of the run. Needs root.
    Postfix,
    /// For downloads, of the same file, without `sendfile`.
    Nginx,
    /// For attachments taken out of a file.
    Ripmime,
}

/// `compare`.
#[derive(Args, Clone)]
pub struct Compare {
    /// The gateway's binary, built with --release.
    #[arg(long)]
    pub gateway: PathBuf,
    /// Compare with them, in turns.
    #[arg(long, value_delimiter = ',')]
    pub against: Vec<Peer>,
    /// Rounds; the median is shown.
    #[arg(long, default_value_t = 3)]
    pub rounds: u64,
    /// Messages for the gateway in a round; a peer gets a quarter. 0: leave messages out.
    #[arg(long, default_value_t = 20_000)]
    pub count: u64,
    /// Octets of a message.
    #[arg(long, default_value = "10k", value_parser = octets)]
    pub size: u64,
    /// Sessions at once.
    #[arg(long, default_value_t = 20)]
    pub sessions: u64,
    /// Questions about recipients in a round, asked of the gateway and of the delegate itself, and a tenth as many
    /// logins; 0: leave them out.
    #[arg(long, default_value_t = 20_000)]
    pub questions: u64,
    /// Octets of the large message; 0: leave it out.
    #[arg(long, default_value = "2g", value_parser = octets)]
    pub large: u64,
    /// Octets of the message of attachments, which become links and are fetched; 0: leave it out.
    #[arg(long, default_value = "1g", value_parser = octets)]
    pub files: u64,
    /// Idle sessions; 0: leave them out.
    #[arg(long, default_value_t = 2000)]
    pub idle: u64,
    /// Live pages of the administration, for loads with and without them; 0: leave them out.
    #[arg(long, default_value_t = 5)]
    pub pages: u64,
    /// Where the servers keep their queues: the disk that is measured.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// `search`.
#[derive(Args, Clone)]
pub struct Search {
    /// Events in the history.
    #[arg(long, default_value_t = 1_000_000)]
    pub events: u64,
    /// Searches of each kind, each for something else.
    #[arg(long, default_value_t = 20)]
    pub rounds: u64,
    /// Where the history is kept, in a folder that goes afterwards.
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// `pages`.
#[derive(Args, Clone)]
pub struct Pages {
    /// The gateway's binary, built with --release.
    #[arg(long)]
    pub gateway: PathBuf,
    /// Messages in the history.
    #[arg(long, default_value_t = 100_000)]
    pub messages: u64,
    /// Messages in the queue.
    #[arg(long, default_value_t = 10_000)]
    pub queue: u64,
    /// How often each page is fetched.
    #[arg(long, default_value_t = 5)]
    pub rounds: u64,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim_end_matches('s').parse().map_err(|_| "seconds, such as 5 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn octets(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.strip_suffix(['k', 'm', 'g']) {
        Some(digits) => (
            digits,
            if lower.ends_with('k') {
                10
            } else if lower.ends_with('m') {
                20
            } else {
                30
            },
        ),
        None => (&*lower, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "octets, such as 10240, 10k or 2g")?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!((octets("10k"), octets("2G"), octets("7")), (Ok(10240), Ok(2 << 30), Ok(7)));
        assert!(octets("x").is_err() && octets("99999999999g").is_err());
        assert_eq!(seconds("0.5s"), Ok(Duration::from_millis(500)));
    }
}
