//! In whose words a delegate refuses (FACTS sections 2 to 5).

/// A product's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wording {
    /// By the book.
    #[default]
    Plain,
    /// Exchange on premises.
    Exchange,
    /// Its Edge role: another no for recipients.
    ExchangeEdge,
    /// Microsoft 365.
    Microsoft365,
    /// Postfix.
    Postfix,
    /// Xeams: no enhanced codes.
    Xeams,
    /// Exim: no enhanced codes.
    Exim,
    /// Dovecot's LMTP.
    Dovecot,
}

impl Wording {
    /// The greeting.
    pub fn banner(self, hostname: &str) -> String {
        let product = match self {
            Wording::Plain => "ESMTP",
            Wording::Exchange | Wording::ExchangeEdge | Wording::Microsoft365 => {
                "Microsoft ESMTP MAIL Service ready"
            }
            Wording::Postfix => "ESMTP Postfix",
            Wording::Xeams => "ESMTP Xeams",
            Wording::Exim => "ESMTP Exim 4.96",
            Wording::Dovecot => "Dovecot ready.",
        };
        format!("220 {hostname} {product}")
    }
    /// No such user.
    pub fn unknown_recipient(self, address: &str) -> String {
        match self {
            Wording::Plain | Wording::ExchangeEdge => "550 5.1.1 User unknown".into(),
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
            Wording::Exim => "550 Unrouteable address".into(),
            Wording::Dovecot => format!("550 5.1.1 <{address}> User doesn't exist: {address}"),
        }
    }
    /// Wrong login.
    pub fn wrong_login(self) -> &'static str {
        match self {
            Wording::Plain | Wording::Dovecot => "535 5.7.8 Authentication credentials invalid",
            Wording::Exchange | Wording::ExchangeEdge => "535 5.7.3 Authentication unsuccessful",
            Wording::Microsoft365 => {
                "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect."
            }
            Wording::Postfix => "535 5.7.8 Error: authentication failed: UGFzc3dvcmQ6",
            Wording::Xeams => "535 Authentication failed",
            Wording::Exim => "535 Incorrect authentication data",
        }
    }
    /// A domain that is not its own.
    pub fn relaying_denied(self, address: &str) -> String {
        match self {
            Wording::Exchange | Wording::ExchangeEdge | Wording::Microsoft365 => {
                "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain".into()
            }
            Wording::Postfix => format!("554 5.7.1 <{address}>: Relay access denied"),
            Wording::Exim => "550 relay not permitted".into(),
            Wording::Plain | Wording::Xeams | Wording::Dovecot => "550 5.7.1 Relaying denied".into(),
        }
    }
    /// Too many connections.
    pub fn too_many_connections(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::ExchangeEdge | Wording::Microsoft365 => {
                "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, closing transmission channel"
            }
            Wording::Exim => "421 Too many concurrent SMTP connections; please try again later.",
            _ => "421 4.7.0 Too many connections from your address",
        }
    }
    /// Too many refusals in a connection.
    pub fn too_many_errors(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::ExchangeEdge | Wording::Microsoft365 => {
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
            Wording::Exchange | Wording::ExchangeEdge | Wording::Microsoft365 => {
                "504 5.7.4 Unrecognized authentication type"
            }
            _ => "504 5.5.4 Authentication mechanism not supported",
        }
    }
    /// MAIL, or RCPT, of a stranger where only users are served.
    pub fn login_required(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::ExchangeEdge => "530 5.7.1 Client was not authenticated",
            Wording::Microsoft365 => "530 5.7.57 Client not authenticated to send mail.",
            _ => "530 5.7.0 Authentication required",
        }
    }
    /// No command came for too long.
    pub fn idle(self) -> &'static str {
        match self {
            Wording::Exchange | Wording::ExchangeEdge | Wording::Microsoft365 => {
                "451 4.7.0 Timeout waiting for client input"
            }
            Wording::Exim => "421 SMTP command timeout - closing connection",
            _ => "421 4.4.2 Error: timeout exceeded",
        }
    }
    /// The connection has lived too long.
    pub fn too_old(self) -> &'static str {
        "421 4.4.1 Connection timed out"
    }
    /// Too many commands that bring no mail.
    pub fn too_much_junk(self) -> &'static str {
        "554 Too many nonmail commands"
    }
    /// Shut out as a dictionary attack.
    pub fn shut_out(self) -> &'static str {
        "554 Your IP address is blocked: dictionary attack"
    }
    /// In maintenance.
    pub fn not_in_service(self) -> &'static str {
        "421 4.3.2 Service not active"
    }
}
