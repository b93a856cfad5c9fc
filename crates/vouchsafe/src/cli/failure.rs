//! How a command ends: done (0), refused (1), misused (2). A failure says what happened and what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was understood and not done: exit 1.
    Refused {
        /// What happened.
        what: String,
        /// What to do.
        advice: String,
    },
    /// It was not understood: exit 2.
    Misused {
        /// What happened.
        what: String,
        /// What to do.
        advice: String,
    },
    /// Everything has been said already: exit 1.
    Told,
    /// Whoever read our output went away: exit 0, as `| head` wants it.
    Unread,
}

impl Failure {
    /// Exit 1.
    pub fn refused(what: impl Into<String>, advice: impl Into<String>) -> Failure {
        Failure::Refused { what: what.into(), advice: advice.into() }
    }

    /// Exit 2.
    pub fn misused(what: impl Into<String>, advice: impl Into<String>) -> Failure {
        Failure::Misused { what: what.into(), advice: advice.into() }
    }

    /// The exit code, after the last words on standard error.
    pub fn end(&self) -> ExitCode {
        if let Failure::Refused { .. } | Failure::Misused { .. } = self {
            eprintln!("vouchsafe: {self}");
        }
        match self {
            Failure::Refused { .. } | Failure::Told => ExitCode::from(1),
            Failure::Misused { .. } => ExitCode::from(2),
            Failure::Unread => ExitCode::SUCCESS,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused { what, advice } | Failure::Misused { what, advice } => {
                write!(f, "{what}; {advice}")
            }
            Failure::Told | Failure::Unread => Ok(()),
        }
    }
}

/// Of our own output only.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::Unread,
            _ => Failure::refused(format!("output failed: {error}"), "look where the output goes"),
        }
    }
}
