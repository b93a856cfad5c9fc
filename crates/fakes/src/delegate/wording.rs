//! In whose words a delegate refuses (FACTS sections 2 to 5).

/// A product's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wording {
    /// By the book.
    #[default]
    Plain,
    /// Exchange on premises.
    Exchange,
    /// Microsoft 365.
    Microsoft365,
    /// Postfix.
    Postfix,
    /// Xeams: no enhanced codes.
    Xeams,
}

impl Wording {
    /// No such user.
    pub fn unknown_recipient(self, address: &str) -> String {
        match self {
            Wording::Plain => "550 5.1.1 User unknown".into(),
            Wording::Exchange => {
                "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup".into()
            }
            Wording::Microsoft365 => {
                format!("550 5.4.1 [{address}]: Recipient address rejected: Access denied. AS(201806281)")
            }
            Wording::Postfix => {
                format!(
                    "550 5.1.1 <{address}>: Recipient address rejected: User unknown in local recipient table"
                )
            }
            Wording::Xeams => "550 Requested action not taken: mailbox unavailable".into(),
        }
    }
    /// Wrong login.
    pub fn wrong_login(self) -> &'static str {
        match self {
            Wording::Plain => "535 5.7.8 Authentication credentials invalid",
            Wording::Exchange => "535 5.7.3 Authentication unsuccessful",
            Wording::Microsoft365 => {
                "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect."
            }
            Wording::Postfix => "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
            Wording::Xeams => "535 Authentication failed",
        }
    }
    /// A domain that is not its own.
    pub fn relaying_denied(self, address: &str) -> String {
        match self {
            Wording::Exchange | Wording::Microsoft365 => "550 5.7.54 SMTP; Unable to relay recipient".into(),
            Wording::Postfix => format!("554 5.7.1 <{address}>: Relay access denied"),
            Wording::Plain | Wording::Xeams => "550 5.7.1 Relaying denied".into(),
        }
    }
    /// Too many connections.
    pub fn too_many_connections(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::Microsoft365 => {
                "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"
            }
            _ => "421 4.7.0 Too many connections from your address",
        }
    }
    /// Too many refusals in a connection.
    pub fn too_many_errors(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::Microsoft365 => {
                "421 4.7.0 Too many errors on this connection, closing transmission channel"
            }
            _ => "421 4.7.0 Error: too many errors",
        }
    }
    /// Too many recipients in a transaction.
    pub fn too_many_recipients(self) -> &'static str {
        match self {
            Wording::Postfix => "452 4.5.3 Error: too many recipients",
            _ => "452 4.5.3 Too many recipients",
        }
    }
    /// A mechanism that is not offered.
    pub fn unknown_mechanism(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::Microsoft365 => "504 5.7.4 Unrecognized authentication type",
            _ => "504 5.5.4 Authentication mechanism not supported",
        }
    }
}
