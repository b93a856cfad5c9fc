//! The server's own replies, one function each, so that a code is written once. Those of the gateway come in answers.
//! Every one carries an enhanced code of its class (RFC 2034), but banner, EHLO, HELO and 3yz.

use super::Config;
use super::xclient::OFFERED;
use crate::reply::Reply;

pub(super) fn banner(config: &Config) -> Reply {
    Reply::plain(220, format!("{} ESMTP", config.hostname))
}

pub(super) fn hello(config: &Config) -> Reply {
    Reply::plain(250, config.hostname.clone())
}

/// What EHLO offers now. STARTTLS is not offered inside TLS (RFC 3207 §4.2), AUTH only where it would be taken.
pub(super) fn ehlo(config: &Config, tls: bool) -> Reply {
    let mut lines = vec![
        config.hostname.clone(),
        "PIPELINING".to_owned(),
        format!("SIZE {}", config.message_size.unwrap_or(0)),
    ];
    if config.starttls && !tls {
        lines.push("STARTTLS".to_owned());
    }
    if !config.mechanisms.is_empty() && (tls || config.auth_in_clear) {
        lines.push(format!("AUTH {}", config.mechanisms.join(" ")));
    }
    if config.xclient {
        lines.push(OFFERED.to_owned());
    }
    lines.extend(["8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES", "CHUNKING"].map(str::to_owned));
    Reply::plain(250, lines.join("\n"))
}

pub(super) fn ok() -> Reply {
    Reply::new(250, (2, 0, 0), "OK")
}

pub(super) fn bye() -> Reply {
    Reply::new(221, (2, 0, 0), "Bye")
}

pub(super) fn help() -> Reply {
    Reply::new(
        214,
        (2, 0, 0),
        "EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY STARTTLS AUTH; see RFC 5321",
    )
}

/// RFC 5321 §3.5.3: a server that does not tell.
pub(super) fn verify() -> Reply {
    Reply::new(252, (2, 1, 5), "Cannot verify, but will take a message for it and try")
}

pub(super) fn start_tls() -> Reply {
    Reply::new(220, (2, 0, 0), "Ready to start TLS")
}

pub(super) fn start_body() -> Reply {
    Reply::plain(354, "End data with <CR><LF>.<CR><LF>")
}

pub(super) fn chunk(size: u64) -> Reply {
    Reply::new(250, (2, 0, 0), format!("{size} octets received"))
}

pub(super) fn challenge(base64: String) -> Reply {
    Reply::plain(334, base64)
}

pub(super) fn syntax(text: &'static str) -> Reply {
    Reply::new(501, (5, 5, 4), text)
}

pub(super) fn bad_sequence(text: &'static str) -> Reply {
    Reply::new(503, (5, 5, 1), text)
}

pub(super) fn unknown_command() -> Reply {
    Reply::new(500, (5, 5, 1), "Command not recognized")
}

pub(super) fn not_implemented() -> Reply {
    Reply::new(502, (5, 5, 1), "Command not implemented")
}

pub(super) fn bad_line() -> Reply {
    Reply::new(500, (5, 5, 2), "Only CRLF ends a line; no NUL, bare CR, bare LF or bad UTF-8 in it")
}

pub(super) fn long_line(auth: bool) -> Reply {
    if auth {
        // RFC 4954 §4.
        Reply::new(500, (5, 5, 6), "Authentication exchange line is too long")
    } else {
        Reply::new(500, (5, 5, 2), "Line too long")
    }
}

pub(super) fn auth_first() -> Reply {
    Reply::new(530, (5, 7, 0), "Authentication required")
}

pub(super) fn auth_needs_tls() -> Reply {
    Reply::new(538, (5, 7, 11), "Encryption required for requested authentication mechanism")
}

pub(super) fn unknown_mechanism() -> Reply {
    Reply::new(504, (5, 5, 4), "Unrecognized authentication type")
}

pub(super) fn auth_cancelled() -> Reply {
    Reply::new(501, (5, 7, 0), "Authentication cancelled")
}

pub(super) fn bad_sasl(text: &'static str) -> Reply {
    Reply::new(501, (5, 5, 2), text)
}

pub(super) fn no_recipients() -> Reply {
    Reply::new(554, (5, 5, 1), "No valid recipients")
}

pub(super) fn too_many_recipients() -> Reply {
    Reply::new(452, (4, 5, 3), "Too many recipients")
}

pub(super) fn too_big() -> Reply {
    Reply::new(552, (5, 3, 4), "Message too big")
}

pub(super) fn bad_content() -> Reply {
    Reply::new(554, (5, 6, 0), "Message refused: bare CR, bare LF or NUL in it")
}

pub(super) fn early_talk(text: &'static str) -> Reply {
    Reply::new(554, (5, 5, 0), text)
}

/// The gateway gave an answer that its question does not have: our fault, so the client may try again.
pub(super) fn confused() -> Reply {
    Reply::new(451, (4, 3, 0), "Internal trouble, try again later")
}

pub(super) fn limit() -> Reply {
    Reply::new(421, (4, 7, 0), "Too many of these in one session, closing")
}

pub(super) fn http() -> Reply {
    Reply::new(421, (4, 7, 0), "This is SMTP, closing")
}

pub(super) fn proxy() -> Reply {
    Reply::new(421, (4, 7, 0), "No PROXY header is believed from your address, closing")
}

pub(super) fn no_login_by_xclient() -> Reply {
    Reply::new(501, (5, 7, 0), "LOGIN is not believed, use AUTH")
}

pub(super) fn timeout() -> Reply {
    Reply::new(421, (4, 4, 2), "Timed out, closing")
}

pub(super) fn too_slow() -> Reply {
    Reply::new(421, (4, 4, 2), "The message comes too slowly, closing")
}

pub(super) fn no_answer() -> Reply {
    Reply::new(421, (4, 3, 0), "Internal trouble, closing")
}

pub(super) fn shutdown() -> Reply {
    Reply::new(421, (4, 3, 2), "Shutting down, closing")
}
