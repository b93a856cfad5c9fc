//! The server machine's driver over a pipe: what only the driver keeps.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::server::{Connection, Handler, TlsFacts, Work, drive};
use vouchsafe_smtp::Reply;
use vouchsafe_smtp::data::BareNewline;
use vouchsafe_smtp::limits::Limits;
use vouchsafe_smtp::server::{Answer, Config, Question, Why};

/// Says yes to everything.
struct Willing;

impl Handler for Willing {
    type Event = Answer;
    fn ask(&mut self, _: Question, _: Option<(&str, bool)>) -> Work<Answer> {
        Box::pin(futures_util::stream::iter([Answer::Yes(Reply::new(250, (2, 0, 0), "Ok"))]))
    }
    fn resolve(&mut self, event: Answer) -> Answer {
        event
    }
    fn body(&mut self, _: &[u8]) -> Result<(), Reply> {
        Ok(())
    }
    fn flush(&mut self) -> Option<BoxFuture<'_, Result<(), Reply>>> {
        None
    }
    fn cancelled(&mut self) {}
    fn dropped(&mut self) {}
    fn secured(&mut self, _: TlsFacts) {}
    fn said(&mut self, _: bool, _: &str) {}
    fn traced(&self) -> bool {
        false
    }
}

fn config() -> Config {
    Config {
        hostname: "gate.example".into(),
        starttls: false,
        mechanisms: Vec::new(),
        auth_in_clear: false,
        auth_required: false,
        message_size: None,
        bare_newline: BareNewline::Reject,
        close_on_early_data: true,
        greet_wait: Duration::ZERO,
        xclient: false,
        limits: Limits::default(),
    }
}

// covers: limits.write_timeout
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_no_replies_is_closed_at_the_write_timeout() {
    // A pipe of four octets holds less than the banner; the peer never reads.
    let (_peer, ours) = tokio::io::duplex(4);
    let connection = Connection { stream: Box::new(ours), acceptor: None, implicit: false };
    let (_drain, drained) = watch::channel(false);
    let start = tokio::time::Instant::now();
    let why = drive(connection, Arc::new(config()), &SystemClock::new(), &mut Willing, drained).await;
    assert_eq!(why, Why::Timeout("write"));
    assert_eq!(start.elapsed(), Limits::default().write_timeout);
}
