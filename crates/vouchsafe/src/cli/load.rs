//! Settings for a command: the file, or the flags; secrets and names from the system.

use std::io;


use vouchsafe_config::{Fault, Flags, Reading};

use super::args::{Place, ServeArgs};
use super::failure::Failure;
use crate::lookup::Machine;

/// Why settings were not read.
#[derive(Debug)]
pub enum Unread {
    /// The file cannot be read.
    File(Failure),
    /// They have faults.
    Faults(Vec<Fault>),
}

/// Reads the file if one is named, else the flags.
pub fn read(place: &Place, flags: &ServeArgs) -> Result<Reading, Unread> {
    let Some(path) = &place.config else {
        let flags = Flags {
            data_dir: place.data_dir.clone(),
            delegate: flags.delegate.clone(),
            next_hop: flags.next_hop.clone(),
            domains: flags.domains.clone(),
        };
        return flags.read(&Machine).map_err(Unread::Faults);
    };
    let text = std::fs::read_to_string(path).map_err(|e| {
        let what = format!("{} cannot be read: {}", path.display(), plain(&e));
        Unread::File(Failure::refused(what, "name the settings file with --config FILE"))
    })?;
    let mut reading = vouchsafe_config::read(&text, &Machine).map_err(Unread::Faults)?;
    if let Some(dir) = &place.data_dir {
        reading.settings.data_dir = dir.clone();
    }
    Ok(reading)
}

/// As [`read`]; faults go to standard error, one a line.
pub fn settings(place: &Place, flags: &ServeArgs) -> Result<Reading, Failure> {
    read(place, flags).map_err(|unread| match unread {
        Unread::File(failure) => failure,
        Unread::Faults(faults) => {
            for fault in &faults {
                eprintln!("vouchsafe: {}", place_of(place, fault.line.is_some()) + &fault.to_string());
            }
            Failure::Told
        }
    })
}

/// `FILE, ` where a line follows.
pub fn place_of(place: &Place, has_line: bool) -> String {
    match (&place.config, has_line) {
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
