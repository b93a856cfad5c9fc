//! The file of `relay.aliases`, read again when it changes. What its lines mean: `vouchsafe_core::send_as`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use vouchsafe_core::send_as::Aliases;

use crate::delegate::lock;

/// A file as it was at this time and size.
struct Held {
    path: PathBuf,
    modified: SystemTime,
    len: u64,
    aliases: Arc<Aliases>,
}

/// The aliases in force.
#[derive(Default)]
pub struct AliasFile {
    held: Mutex<Option<Held>>,
}

impl AliasFile {
    /// The aliases of this file. An error is in words: what they are cannot be told now.
    pub fn read(&self, path: &Path) -> Result<Arc<Aliases>, String> {
        let words = |fault: std::io::Error| format!("aliases {}: {fault}", path.display());
        let facts = std::fs::metadata(path).map_err(words)?;
        let (modified, len) = (facts.modified().map_err(words)?, facts.len());
        let mut held = lock(&self.held);
        if let Some(known) = held.as_ref()
            && (known.path.as_path(), known.modified, known.len) == (path, modified, len)
        {
            return Ok(Arc::clone(&known.aliases));
        }
        let text = std::fs::read_to_string(path).map_err(words)?;
        let aliases = Aliases::parse(&text)
            .map_err(|bad| format!("aliases {}: line {} {}", path.display(), bad.line, bad.what))?;
        let aliases = Arc::new(aliases);
        *held = Some(Held { path: path.to_owned(), modified, len, aliases: Arc::clone(&aliases) });
        Ok(aliases)
    }
}
