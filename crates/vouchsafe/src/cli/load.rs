//! Settings for a command: the file, or the flags; secrets and names from the system.

use std::io;
use std::path::{Path, PathBuf};

use vouchsafe_config::{Fault, Flags, Layers, Reading};
use vouchsafe_gateway::stored;

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

/// Reads the file if one is named, else the flags, over what the store of their data directory holds.
pub fn read(source: &Source) -> Result<Reading, Unread> {
    let dir = data_dir(source)?;
    let stored = vouchsafe_store::sqlite::peek_record(&dir, stored::KIND)
        .and_then(|record| record.map_or(Ok(String::new()), |text| stored::toml_of_record(&text)))
        .map_err(|fault| Unread::File(format!("{}: the stored settings: {fault}", dir.display())))?;
    read_over(source, &stored)
}

/// As [`read`], over this stored text.
pub fn read_over(source: &Source, stored: &str) -> Result<Reading, Unread> {
    let Some(path) = &source.file else {
        return source.flags.read(stored, &Machine).map_err(Unread::Faults);
    };
    let text = text_of(path)?;
    let layers = Layers { file: &text, stored, base: "" };
    let mut reading = layers.read(&Machine).map_err(Unread::Faults)?;
    if let Some(dir) = &source.flags.data_dir {
        reading.settings.data_dir.clone_from(dir);
    }
    Ok(reading)
}

/// Where the store is: that must be known before what it holds.
pub fn data_dir(source: &Source) -> Result<PathBuf, Unread> {
    if let Some(dir) = &source.flags.data_dir {
        return Ok(dir.clone());
    }
    let text = source.file.as_deref().map(text_of).transpose()?;
    Ok(vouchsafe_config::data_dir(&text.unwrap_or_default()))
}

fn text_of(path: &Path) -> Result<String, Unread> {
    std::fs::read_to_string(path)
        .map_err(|e| Unread::File(format!("{} cannot be read: {}", path.display(), plain(&e))))
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
