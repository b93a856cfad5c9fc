//! One session's talk: the wire, with each line logged, and faults carried out. Used by both fakes.

use crate::fault::{Action, Point};
use crate::host::{Faults, Host};
use crate::wire::Wire;
use std::io;
use std::sync::Arc;
use vouchsafe_net::stream::BoxStream;

/// How a session goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// With the next command.
    On,
    /// What was said is written, then the connection is closed.
    Close,
    /// The connection is cut; what was not yet written is lost.
    Cut,
}

/// A session's two ends.
pub(crate) struct Talk<B, C> {
    pub(crate) host: Arc<Host<B, C>>,
    pub(crate) wire: Wire,
    session: u64,
}

impl<B: Faults + Clone, C: Default + Clone> Talk<B, C> {
    pub(crate) fn new(host: Arc<Host<B, C>>, stream: BoxStream) -> Talk<B, C> {
        let session = host.next_session();
        Talk { host, wire: Wire::new(stream), session }
    }
    /// Which session this is, counted from 1.
    pub(crate) fn session(&self) -> u64 {
        self.session
    }
    /// The next command line; `None` when the peer has gone.
    pub(crate) async fn command(&mut self) -> io::Result<Option<String>> {
        let line = self.wire.line().await?;
        if let Some(line) = &line {
            self.host.log(self.session, true, || masked(line));
        }
        Ok(line)
    }
    /// A continuation of AUTH: never logged in clear.
    pub(crate) async fn secret_line(&mut self) -> io::Result<Option<String>> {
        let line = self.wire.line().await?;
        if let Some(line) = &line {
            self.host.log(self.session, true, || if line == "*" { "*".into() } else { "***".into() });
        }
        Ok(line)
    }
    /// Notes something that was received and is not a line.
    pub(crate) fn note(&self, text: impl FnOnce() -> String) {
        self.host.log(self.session, true, text);
    }
    /// Answers.
    pub(crate) fn say(&mut self, reply: &str) -> Flow {
        self.host.log(self.session, false, || reply.replace('\n', " / "));
        self.wire.say(reply);
        Flow::On
    }
    /// Answers and closes.
    pub(crate) fn say_and_close(&mut self, reply: &str) -> Flow {
        self.say(reply);
        Flow::Close
    }
    /// Answers with octets that are no reply.
    pub(crate) fn garbage(&mut self, octets: &[u8]) -> Flow {
        self.host.log(self.session, false, || format!("({} octets that are no reply)", octets.len()));
        self.wire.octets(octets);
        Flow::On
    }
    /// Says what is due and then nothing until the peer goes.
    pub(crate) async fn hang(&mut self) -> io::Result<Flow> {
        self.wire.flush().await?;
        self.wire.hang().await?;
        Ok(Flow::Cut)
    }
    /// Carries out the fault that is due at `point`. `None`: nothing is due, answer properly.
    pub(crate) async fn fault(&mut self, point: Point) -> io::Result<Option<Flow>> {
        let Some(action) = self.host.fault(point) else { return Ok(None) };
        Ok(Some(match action {
            Action::Reply(reply) => self.say(&reply),
            Action::ReplyAndClose(reply) => self.say_and_close(&reply),
            Action::Octets(octets) => self.garbage(&octets),
            Action::Cut => Flow::Cut,
            Action::Hang => self.hang().await?,
        }))
    }
    /// TLS from here on.
    pub(crate) async fn secure(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        self.wire.secure(config).await?;
        self.host.log(self.session, true, || "(TLS)".into());
        Ok(())
    }
}

/// A command line as the dialogue may hold it.
fn masked(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some(verb), Some(mechanism), Some(_)) if verb.eq_ignore_ascii_case("AUTH") => {
            format!("{verb} {mechanism} ***")
        }
        _ => line.to_owned(),
    }
}

/// Verb in upper case, and its argument.
pub(crate) fn split(line: &str) -> (String, &str) {
    let line = line.trim_end();
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    (verb.to_ascii_uppercase(), argument.trim_start())
}

/// What stands between the angle brackets of `FROM:<...>` or `TO:<...>`, and the parameters behind them.
pub(crate) fn path<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let word = argument.get(..keyword.len())?;
    let rest = argument.get(keyword.len()..)?.trim_start().strip_prefix('<')?;
    let (address, parameters) = rest.rsplit_once('>')?;
    word.eq_ignore_ascii_case(keyword).then_some((address, parameters.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_masked() {
        assert_eq!(masked("AUTH PLAIN AGEAYg=="), "AUTH PLAIN ***");
        assert_eq!(masked("AUTH LOGIN"), "AUTH LOGIN");
        assert_eq!(masked("MAIL FROM:<> SIZE=1"), "MAIL FROM:<> SIZE=1");
    }

    #[test]
    fn paths_keep_their_octets() {
        assert_eq!(path("FROM:<a@b> SIZE=3", "FROM:"), Some(("a@b", "SIZE=3")));
        assert_eq!(path("to:<>", "TO:"), Some(("", "")));
        assert_eq!(path("FROM:a@b", "FROM:"), None);
    }
}
