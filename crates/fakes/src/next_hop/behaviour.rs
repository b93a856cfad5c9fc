//! What a next hop offers and refuses; and what it counts.

use crate::fault::Fault;
use crate::host::Faults;
use crate::session::{Behaves, Counts, Ended, Front, Greeting};
use std::sync::Arc;
use std::time::Duration;

/// Everything that can be set. Start with [`Behaviour::new`] and change fields.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Its name in banner and EHLO.
    pub hostname: String,
    /// EHLO lines; drop some to have an old hop. A fake holds nobody to them.
    pub extensions: Vec<String>,
    /// Answers EHLO with 502, so that HELO must be tried.
    pub helo_only: bool,
    /// STARTTLS with this configuration.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// TLS from the first octet instead.
    pub implicit_tls: bool,
    /// MAIL only after AUTH PLAIN or LOGIN with this name and password.
    pub login: Option<(String, String)>,
    /// Wait before the reply to RCPT for `slow@`.
    pub slow: Duration,
    /// Wait before each reply to the dot.
    pub dot_delay: Duration,
    /// Connections from one address; more are greeted with 421.
    pub max_connections: Option<u32>,
    /// Recipients in a transaction; more are `452 4.5.3`.
    pub max_recipients: Option<u32>,
    /// Messages in a connection; more are answered with 421 at MAIL.
    pub max_messages: Option<u32>,
    /// Faults on order.
    pub faults: Vec<Fault>,
}

impl Behaviour {
    /// A modern server of this name that takes everything.
    pub fn new(hostname: &str) -> Behaviour {
        Behaviour {
            hostname: hostname.to_owned(),
            extensions: ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES"]
                .map(str::to_owned)
                .into(),
            helo_only: false,
            tls: None,
            implicit_tls: false,
            login: None,
            slow: Duration::from_secs(10),
            dot_delay: Duration::ZERO,
            max_connections: None,
            max_recipients: None,
            max_messages: None,
            faults: Vec::new(),
        }
    }
    /// Leaves an extension out of EHLO, by its keyword.
    pub fn without(mut self, extension: &str) -> Behaviour {
        self.extensions
            .retain(|line| !line.split(' ').next().unwrap_or_default().eq_ignore_ascii_case(extension));
        self
    }
    /// Adds a fault.
    pub fn fault(mut self, fault: Fault) -> Behaviour {
        self.faults.push(fault);
        self
    }
}

impl Faults for Behaviour {
    fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl Behaves for Behaviour {
    fn front(&self) -> Front<'_> {
        Front {
            hostname: &self.hostname,
            greeting: if self.helo_only { Greeting::HeloOnly } else { Greeting::Smtp },
            extensions: &self.extensions,
            tls: self.tls.as_ref(),
            implicit_tls: self.implicit_tls,
            max_connections: self.max_connections,
            too_many_connections: "421 4.7.0 Too many connections from your address",
            idle: None,
            life: None,
        }
    }
    fn banner(&self) -> String {
        format!("220 {} ESMTP", self.hostname)
    }
    fn farewell(&self, _: Ended) -> &'static str {
        "421 4.4.2 Timeout exceeded"
    }
}

/// What a next hop has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections.
    pub connections: u64,
    /// Connections open now.
    pub open: u64,
    /// The most that were open at once.
    pub peak: u64,
    /// Handshakes done.
    pub tls: u64,
    /// Logins taken.
    pub logins_good: u64,
    /// Logins refused.
    pub logins_bad: u64,
    /// Messages taken (kept), doubled ones included.
    pub messages: u64,
    /// Octets of their heads and bodies.
    pub octets: u64,
    /// Recipients of messages taken.
    pub recipients: u64,
    /// RCPT answered with 4yz or 5yz.
    pub recipients_refused: u64,
    /// Messages refused at the dot.
    pub refused: u64,
    /// Bodies that ended without a dot.
    pub cut: u64,
    /// Messages whose `X-Seq` had arrived before.
    pub doubled: u64,
    /// Messages whose body is not `X-Len` octets long.
    pub partial: u64,
    /// The last name given in EHLO.
    pub greeted_as: String,
}

impl Counts for Counters {
    fn connected(&mut self) {
        self.connections += 1;
        self.open += 1;
        self.peak = self.peak.max(self.open);
    }
    fn left(&mut self) {
        self.open -= 1;
    }
    fn secured(&mut self) {
        self.tls += 1;
    }
    fn greeted(&mut self, name: &str) {
        name.clone_into(&mut self.greeted_as);
    }
    /// It has no clocks, and counts all connections.
    fn ended(&mut self, _: Ended) {}
}
