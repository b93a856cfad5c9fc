//! Settings for a command: the file, or the flags; secrets and names from the system.

use std::io;

use vouchsafe_config::{Fault, Flags, Reading};

use super::args::{Place, ServeArgs};
use super::failure::Failure;
use crate::lookup::Machine;
use crate::serve::Source;

/// Why settings were not read.
#[derive(Debug)]
pub enum Unread {
    /// The file cannot be read, and why.
    File(String),
    /// They have faults.
    Faults(Vec<Fault>),
}

impl Unread {
    /// Lines for the administrator.
    pub fn lines(&self, source: &Source) -> Vec<String> {
        match self {
            Unread::File(why) => vec![format!("{why}; name the settings file with --config FILE")],
            Unread::Faults(faults) => {
                faults.iter().map(|f| format!("{}{f}", place_of(source, f.line.is_some()))).collect()
            }
        }
    }
}

/// Where a command's settings come from.
pub fn source(place: &Place, flags: &ServeArgs) -> Source {
    Source {
        file: place.config.clone(),
        flags: Flags {
            data_dir: place.data_dir.clone(),
            delegate: flags.delegate.clone(),
            next_hop: flags.next_hop.clone(),
            domains: flags.domains.clone(),
        },
    }
}

/// Reads the file if one is named, else the flags.
pub fn read(source: &Source) -> Result<Reading, Unread> {
    let Some(path) = &source.file else {
        return source.flags.read(&Machine).map_err(Unread::Faults);
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| Unread::File(format!("{} cannot be read: {}", path.display(), plain(&e))))?;
    let mut reading = vouchsafe_config::read(&text, &Machine).map_err(Unread::Faults)?;
    if let Some(dir) = &source.flags.data_dir {
        reading.settings.data_dir.clone_from(dir);
    }
    Ok(reading)
}

/// As [`read`]; faults go to standard error, one a line.
pub fn settings(place: &Place, flags: &ServeArgs) -> Result<Reading, Failure> {
    let source = source(place, flags);
    read(&source).map_err(|unread| {
        unread.lines(&source).iter().for_each(|line| eprintln!("vouchsafe: {line}"));
        Failure::Told
    })
}

/// `FILE, ` where a line follows.
pub fn place_of(source: &Source, has_line: bool) -> String {
    match (&source.file, has_line) {
        (Some(path), true) => format!("{}, ", path.display()),
        _ => String::new(),
    }
}

/// An I/O error without its number.
pub fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::InvalidData => "it is not text".to_owned(),
        _ => error.to_string(),
    }
}
