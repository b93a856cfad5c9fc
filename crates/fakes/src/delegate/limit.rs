//! The limits that a delegate may have, by name, so that a test can tell which one was tripped.

/// A limit of a delegate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Connections from one address.
    Connections,
    /// A connection was silent for too long.
    Idle,
    /// A connection has lived too long.
    Life,
    /// Refusals in a connection.
    Errors,
    /// Refusals after which everything is slowed down.
    Slow,
    /// Wrong logins in a connection.
    BadLogins,
    /// Recipients in a transaction.
    Recipients,
    /// Commands that bring no mail, such as RSET.
    Junk,
    /// Wrong logins from an address: every login from there is wrong for a while.
    Logins,
    /// Unknown recipients named by an address: it is shut out for a while.
    Dictionary,
    /// Wrong logins of an account: it is locked.
    Lockout,
}
