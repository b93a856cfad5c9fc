//! The named limits of a server session. Each has its own reply and a transcript that goes one past it.

use std::time::Duration;

/// Over which time the rate of a body is looked at. As long as the wait for a body's next octets by default: who may
/// pause so long cannot be asked for more in less.
pub const RATE_WINDOW: Duration = Duration::from_secs(180);

/// Limits of one session; every one is a setting of `[limits]` under the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets in a command line with its CRLF (RFC 5321 §4.5.3.1.4 and the extensions' additions). Past it: `500 5.5.2`.
    pub command_line: usize,
    /// Octets in an AUTH line with its CRLF (RFC 4954 §4: 12,288). Past it: `500 5.5.6`.
    pub auth_line: usize,
    /// Recipients in a transaction. Past it: `452 4.5.3`; the first ones stand (RFC 5321 §4.5.3.1.10).
    pub recipients: usize,
    /// Bad commands (5yz of ours to syntax, order, unknown verbs) in a session. Past it: `421 4.7.0`.
    pub errors: usize,
    /// Refused recipients in a session. Past it: `421 4.7.0`.
    pub refused_recipients: usize,
    /// Commands since the last accepted message; recipients that stand and chunks do not count. Past it: `421 4.7.0`.
    pub commands: usize,
    /// Failed logins in a session. Past it: `421 4.7.0` (RFC 4954 §4: at least 3 tries).
    pub auth_failures: usize,
    /// Messages in a session. Past it: `421 4.7.0`.
    pub messages: usize,
    /// Wait for a command (RFC 5321 §4.5.3.2.7: 5 min). Past it: `421 4.4.2`.
    pub command_timeout: Duration,
    /// Wait for the next octets of a body (RFC 5321 §4.5.3.2.5: 3 min). Past it: `421 4.4.2`.
    pub data_timeout: Duration,
    /// Octets a second that a body must bring, on average over [`RATE_WINDOW`], one after the other from its begin; 0:
    /// none. Below it: `421 4.4.2`.
    pub minimum_data_rate: u64,
    /// Wait until the peer takes our replies. Past it: closed. Kept by the driver.
    pub write_timeout: Duration,
    /// Longest life of a session; does not run while a body advances. Past it: `421 4.4.2`.
    pub session_time: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            command_line: 4096,
            auth_line: 12_288,
            recipients: 1000,
            errors: 20,
            refused_recipients: 100,
            commands: 1000,
            auth_failures: 3,
            messages: 1000,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            minimum_data_rate: 256,
            write_timeout: Duration::from_secs(60),
            session_time: Duration::from_secs(3600),
        }
    }
}
