//! A password from the terminal without echo, or the first line of standard input. Never from the command line, where
//! every user of the machine can read it.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use vouchsafe_smtp::Secret;

use super::failure::Failure;

/// Longest password: more than a SASL PLAIN message carries in practice.
const LONGEST: usize = 1024;

/// Asks once: for a login that exists.
pub fn ask(prompt: &str) -> Result<Secret, Failure> {
    let input = io::stdin();
    let line = if input.is_terminal() { ask_hidden(prompt)? } else { first_line(input.lock())? };
    checked(line)
}

/// Asks twice on a terminal: for a password that will be stored.
pub fn choose(prompt: &str) -> Result<Secret, Failure> {
    let first = ask(prompt)?;
    if io::stdin().is_terminal() {
        let second = checked(ask_hidden("Once more: ")?)?;
        if first != second {
            return Err(Failure::refused("the passwords differ", "try again"));
        }
    }
    Ok(first)
}

/// Echo comes back even when reading fails.
struct Quiet(rustix::termios::Termios);

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that went away needs no echo.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

fn ask_hidden(prompt: &str) -> Result<Vec<u8>, Failure> {
    let failed = |e: io::Error| {
        Failure::refused(format!("the terminal cannot hide a password: {e}"), "pipe it to standard input")
    };
    let before = tcgetattr(io::stdin()).map_err(|e| failed(e.into()))?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    hidden.local_modes.insert(LocalModes::ECHONL);
    eprint!("{prompt}");
    io::stderr().flush()?;
    let quiet = Quiet(before);
    tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).map_err(|e| failed(e.into()))?;
    let line = first_line(io::stdin().lock());
    drop(quiet);
    line
}

fn first_line(input: impl BufRead) -> Result<Vec<u8>, Failure> {
    let mut line = Vec::new();
    let most = u64::try_from(LONGEST + 2).unwrap_or(u64::MAX);
    input.take(most).read_until(b'\n', &mut line).map_err(|e| {
        Failure::refused(format!("the password cannot be read: {e}"), "give it on standard input")
    })?;
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
    Ok(line)
}

fn checked(line: Vec<u8>) -> Result<Secret, Failure> {
    match line.len() {
        0 => Err(Failure::refused("the password is empty", "give one on standard input")),
        n if n > LONGEST => Err(Failure::refused("the password is too long", "give at most 1024 octets")),
        _ if line.contains(&0) => Err(Failure::refused("the password holds a NUL", "leave it out")),
        _ => Ok(Secret::new(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_is_no_part_of_a_password() {
        for (input, expected) in [("a b\n", "a b"), ("x\r\ny", "x"), ("tail ", "tail ")] {
            assert_eq!(first_line(input.as_bytes()).unwrap(), expected.as_bytes());
        }
    }

    #[test]
    fn an_empty_or_endless_password_is_refused() {
        assert!(checked(Vec::new()).is_err());
        assert!(checked(first_line("x".repeat(5000).as_bytes()).unwrap()).is_err());
        assert!(checked(vec![b'x'; LONGEST]).is_ok());
    }
}
