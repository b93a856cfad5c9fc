//! End states of a dialogue with the whole gateway. A state that comes late is waited for, for a bounded time.

use tokio::time::Instant;

use super::World;

/// What must be true. Counts of the delegate are those of its whole life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// `closed`: the gateway ended the session.
    Closed,
    /// `delivered N`: messages that the next hop took, notices included.
    Delivered(u64),
    /// `queue N`: messages that still wait or are held.
    Queue(u64),
    /// `held N`: recipients that are held.
    Held(u64),
    /// `notices N`: delivery reports that the next hop took.
    Notices(u64),
    /// `files N`: detached files of all messages that links lead to.
    Files(u64),
    /// `message "TEXT"`, `no message "TEXT"`: whether a message at the next hop holds this.
    Message(String, bool),
    /// `next_hop heard "LINE"`, `next_hop never heard "LINE"`: a line that begins so was said to it.
    NextHopHeard(String, bool),
    /// `nowhere "TEXT"`: the gateway has not written this down.
    Nowhere(String),
    /// `somewhere "TEXT"`: the gateway has written this down.
    Somewhere(String),
    /// `delegate recipients N`
    DelegateRecipients(u64),
    /// `delegate connections N`
    DelegateConnections(u64),
    /// `delegate open N`: connections open now.
    DelegateOpen(u64),
    /// `delegate logins N`
    DelegateLogins(u64),
    /// `delegate mail N`: DATA commands and octets of messages; 0 in every world that is right but for
    /// `probe_to = "data"`.
    DelegateMail(u64),
    /// `delegate messages N`: those of which it got an octet; 0 in every world that is right.
    DelegateMessages(u64),
    /// `delegate tripped N`: how often any of its limits was met.
    DelegateTripped(u64),
    /// `front_end logins N`: of the second server of the delegate.
    FrontEndLogins(u64),
    /// `front_end tripped N`
    FrontEndTripped(u64),
}

/// What is in the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Messages.
    pub messages: u64,
    /// Recipients held.
    pub held: u64,
    /// All of it, for whoever reads why a test failed.
    pub text: String,
}

impl Check {
    /// Reads an end state.
    pub fn parse(text: &str) -> Result<Check, String> {
        let quoted = |text: &str| text.trim_matches('"').replace("\\r\\n", "\r\n").replace("\\t", "\t");
        if text == "closed" {
            return Ok(Check::Closed);
        }
        if let Some(text) = text.strip_prefix("message ") {
            return Ok(Check::Message(quoted(text), true));
        }
        if let Some(text) = text.strip_prefix("no message ") {
            return Ok(Check::Message(quoted(text), false));
        }
        if let Some(text) = text.strip_prefix("next_hop heard ") {
            return Ok(Check::NextHopHeard(quoted(text), true));
        }
        if let Some(text) = text.strip_prefix("next_hop never heard ") {
            return Ok(Check::NextHopHeard(quoted(text), false));
        }
        if let Some(text) = text.strip_prefix("somewhere ") {
            return Ok(Check::Somewhere(quoted(text)));
        }
        if let Some(text) = text.strip_prefix("nowhere ") {
            return Ok(Check::Nowhere(quoted(text)));
        }
        let (what, value) = text.rsplit_once(' ').ok_or_else(|| format!("unknown end state `{text}`"))?;
        let number = value.parse().map_err(|_| format!("`{text}`: a number is expected"))?;
        Ok(match what {
            "delivered" => Check::Delivered(number),
            "queue" => Check::Queue(number),
            "held" => Check::Held(number),
            "notices" => Check::Notices(number),
            "files" => Check::Files(number),
            "delegate recipients" => Check::DelegateRecipients(number),
            "delegate connections" => Check::DelegateConnections(number),
            "delegate open" => Check::DelegateOpen(number),
            "delegate logins" => Check::DelegateLogins(number),
            "delegate mail" => Check::DelegateMail(number),
            "delegate messages" => Check::DelegateMessages(number),
            "delegate tripped" => Check::DelegateTripped(number),
            "front_end logins" => Check::FrontEndLogins(number),
            "front_end tripped" => Check::FrontEndTripped(number),
            _ => return Err(format!("unknown end state `{text}`")),
        })
    }

    /// Whether it is so, or comes to be so in time.
    pub(super) async fn hold<W: World>(&self, world: &mut W) -> Result<(), String> {
        world.settle().await;
        // What was written or said stays so: only the rest may come later.
        let late =
            !matches!(self, Check::Nowhere(_) | Check::Message(_, false) | Check::NextHopHeard(_, false));
        let end = Instant::now() + W::TIME_TO_END;
        while let Some(seen) = self.look(world).await? {
            if !late || Instant::now() >= end {
                return Err(format!("{self:?}, but it is {seen}"));
            }
            world.pause().await;
        }
        Ok(())
    }

    /// `None` if it is so, else what is.
    async fn look(&self, world: &mut impl World) -> Result<Option<String>, String> {
        let (wanted, seen) = match self {
            Check::Message(text, wanted) => {
                let messages = world.stands().next_hop.messages();
                if messages.iter().any(|message| message.text().contains(text)) == *wanted {
                    return Ok(None);
                }
                let all: Vec<String> = messages.iter().map(|message| message.text()).collect();
                return Ok(Some(format!(
                    "not:\n{}\nqueue: {}",
                    all.join("\n----\n"),
                    world.queue().await?.text
                )));
            }
            Check::NextHopHeard(line, wanted) => {
                let heard = world.stands().next_hop.dialogue();
                let found = heard.iter().any(|said| said.from_peer && said.text.starts_with(line));
                return Ok((found != *wanted).then(|| "so".to_owned()));
            }
            Check::Nowhere(text) => {
                let written = world.written().await?;
                return Ok(written.contains(text).then(|| format!("in {written}")));
            }
            Check::Somewhere(text) => {
                let written = world.written().await?;
                return Ok((!written.contains(text)).then(|| format!("not in {written}")));
            }
            Check::Queue(wanted) => {
                let queue = world.queue().await?;
                return Ok((queue.messages != *wanted).then(|| format!("{}: {}", queue.messages, queue.text)));
            }
            Check::Held(wanted) => {
                let queue = world.queue().await?;
                return Ok((queue.held != *wanted).then(|| format!("{}: {}", queue.held, queue.text)));
            }
            Check::Delivered(wanted) => (wanted, world.stands().next_hop.counters().messages),
            Check::Files(wanted) => (wanted, world.files().await?),
            Check::Notices(wanted) => (wanted, world.stands().notices() as u64),
            Check::DelegateRecipients(wanted) => (wanted, world.stands().delegate.counters().recipients),
            Check::DelegateConnections(wanted) => (wanted, world.stands().delegate.counters().connections),
            Check::DelegateOpen(wanted) => (wanted, world.stands().delegate.counters().open),
            Check::DelegateLogins(wanted) => {
                let seen = world.stands().delegate.counters();
                (wanted, seen.logins_good + seen.logins_bad)
            }
            Check::DelegateMail(wanted) => {
                let seen = world.stands().delegate.counters();
                (wanted, seen.data_commands + seen.violations)
            }
            Check::DelegateMessages(wanted) => (wanted, world.stands().delegate.counters().violations),
            Check::DelegateTripped(wanted) => (wanted, world.stands().delegate.counters().tripped()),
            Check::FrontEndLogins(wanted) => {
                let seen = world.stands().front_end.counters();
                (wanted, seen.logins_good + seen.logins_bad)
            }
            Check::FrontEndTripped(wanted) => (wanted, world.stands().front_end.counters().tripped()),
            Check::Closed => return Err("only the client can tell".to_owned()),
        };
        Ok((*wanted != seen).then(|| seen.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_states_are_read() {
        assert_eq!(Check::parse("delegate mail 0"), Ok(Check::DelegateMail(0)));
        assert_eq!(Check::parse("no message \"a\\r\\n b\""), Ok(Check::Message("a\r\n b".to_owned(), false)));
        for bad in ["queue", "queue x", "frobnicated 1"] {
            assert!(Check::parse(bad).is_err(), "{bad}");
        }
    }
}
