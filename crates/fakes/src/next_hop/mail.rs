//! Messages that a next hop took: the first ones kept whole, all of them judged by `X-Seq` and `X-Len`.

use crate::host::lock;
use memchr::memmem;
use std::collections::HashMap;
use std::sync::Mutex;

/// Octets of a message in which its header is looked for.
pub(super) const HEAD: usize = 64 * 1024;
/// Octets of one message that are kept; what is beyond is only counted.
const KEPT_OCTETS: usize = 4 * 1024 * 1024;
/// Different `X-Seq` numbers that are remembered.
const NUMBERS: usize = 4_000_000;

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Which connection brought it, counted from 1.
    pub session: u64,
    /// Between the angle brackets of MAIL.
    pub reverse_path: String,
    /// Parameters of MAIL, as they came.
    pub mail_parameters: String,
    /// Between the angle brackets of each RCPT that was taken.
    pub recipients: Vec<String>,
    /// Parameters of each of them, as they came.
    pub recipient_parameters: Vec<String>,
    /// Headers, blank line and body without dot stuffing; at most 4 MiB of it.
    pub content: Vec<u8>,
    /// Octets of all of it, dot stuffing included.
    pub octets: u64,
    /// Whether it came under TLS.
    pub secure: bool,
}

impl Received {
    /// The content as text, for assertions and the demo.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
    /// The value of the first header of this name, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = self.text();
        let head =
            text.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ").replace("\r\n\t", " ");
        head.split("\r\n").find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// Messages kept, and numbers seen.
pub(super) struct Mailbox {
    keep: usize,
    messages: Mutex<Vec<Received>>,
    numbers: Mutex<HashMap<u64, u32>>,
}

/// How a message was judged by its own headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) doubled: bool,
    pub(super) partial: bool,
}

impl Mailbox {
    pub(super) fn new(keep: usize) -> Mailbox {
        Mailbox { keep, messages: Mutex::default(), numbers: Mutex::default() }
    }
    /// Octets of the next message that are worth gathering.
    pub(super) fn wanted(&self) -> usize {
        if self.keep == 0 { HEAD } else { KEPT_OCTETS }
    }
    /// Takes a message; `content` of it may be cut, `octets` is the whole.
    pub(super) fn put(&self, message: Received, stuffed: &[u8]) -> Judged {
        let judged = self.judge(stuffed, message.octets);
        let mut messages = lock(&self.messages);
        if messages.len() < self.keep {
            messages.push(Received { content: crate::wire::unstuff(stuffed), ..message });
        }
        judged
    }
    pub(super) fn messages(&self) -> Vec<Received> {
        lock(&self.messages).clone()
    }
    pub(super) fn clear(&self) {
        lock(&self.messages).clear();
    }
    pub(super) fn missing(&self, upto: u64) -> Vec<u64> {
        let numbers = lock(&self.numbers);
        (0..upto).filter(|number| !numbers.contains_key(number)).collect()
    }
    fn judge(&self, stuffed: &[u8], octets: u64) -> Judged {
        let Some(end) = memmem::find(stuffed, b"\r\n\r\n") else { return Judged::default() };
        let head = &stuffed[..end + 2];
        let body = octets - (end as u64 + 4);
        // The load's bodies have no dot at the start of a line, so the octets on the wire are those of the body.
        let partial = number(head, b"X-Len: ").is_some_and(|len| len != body);
        let doubled = number(head, b"X-Seq: ").is_some_and(|seq| {
            let mut numbers = lock(&self.numbers);
            if numbers.len() >= NUMBERS && !numbers.contains_key(&seq) {
                return false;
            }
            let seen = numbers.entry(seq).or_insert(0);
            *seen += 1;
            *seen > 1
        });
        Judged { doubled, partial }
    }
}

/// The number behind this header.
fn number(head: &[u8], name: &[u8]) -> Option<u64> {
    let at = if head.starts_with(name) {
        name.len()
    } else {
        memmem::find_iter(head, name).find(|at| *at > 0 && head[at - 1] == b'\n')? + name.len()
    };
    let digits = head[at..].split(|octet| !octet.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(mailbox: &Mailbox, text: &str) -> Judged {
        let octets = text.len() as u64;
        mailbox.put(Received { octets, ..Received::default() }, text.as_bytes())
    }

    #[test]
    fn doubled_missing_and_cut_messages_are_told() {
        let mailbox = Mailbox::new(10);
        let whole = "Received: x\r\nX-Seq: 1\r\nX-Len: 4\r\n\r\nab\r\n";
        assert_eq!(put(&mailbox, whole), Judged { doubled: false, partial: false });
        assert_eq!(put(&mailbox, whole), Judged { doubled: true, partial: false });
        let cut = "X-Seq: 2\r\nX-Len: 4\r\n\r\na\r\n";
        assert_eq!(put(&mailbox, cut), Judged { doubled: false, partial: true });
        assert_eq!(mailbox.missing(4), [0, 3]);
        assert_eq!(mailbox.messages()[0].header("x-seq").as_deref(), Some("1"));
    }
}
