//! Recipient lists in files: an address or an `@domain` a line, `#` begins a comment. Read again when the file changes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use vouchsafe_smtp::Mailbox;

use crate::delegate::lock;

/// A file's lines as they were at this time and size.
struct Listed {
    modified: SystemTime,
    len: u64,
    entries: Arc<HashSet<String>>,
}

/// All lists that were asked for.
#[derive(Default)]
pub struct Lists {
    read: Mutex<HashMap<PathBuf, Listed>>,
}

impl Lists {
    /// Whether the list at `path` holds the address or its domain. An error is in words: the file cannot be read.
    pub fn holds(&self, path: &Path, mailbox: &Mailbox) -> Result<bool, String> {
        let entries =
            self.entries(path).map_err(|fault| format!("recipient list {}: {fault}", path.display()))?;
        Ok(entries.contains(&mailbox.key()) || entries.contains(&format!("@{}", mailbox.domain_key())))
    }

    /// How many lines the list at `path` has. An error is in words.
    pub fn count(&self, path: &Path) -> Result<usize, String> {
        self.entries(path).map(|entries| entries.len()).map_err(|fault| fault.to_string())
    }

    fn entries(&self, path: &Path) -> std::io::Result<Arc<HashSet<String>>> {
        let facts = std::fs::metadata(path)?;
        let (modified, len) = (facts.modified()?, facts.len());
        let mut read = lock(&self.read);
        if let Some(listed) = read.get(path)
            && (listed.modified, listed.len) == (modified, len)
        {
            return Ok(Arc::clone(&listed.entries));
        }
        let text = std::fs::read_to_string(path)?;
        let entry = |line: &str| line.split('#').next().unwrap_or_default().trim().to_lowercase();
        let entries: HashSet<String> = text.lines().map(entry).filter(|entry| !entry.is_empty()).collect();
        let entries = Arc::new(entries);
        read.insert(path.to_owned(), Listed { modified, len, entries: Arc::clone(&entries) });
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_addresses_and_domains_and_is_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "Bob@Example.com # the boss\n\n@far.example\n").unwrap();
        let lists = Lists::default();
        let holds = |text: &str| lists.holds(&path, &Mailbox::parse(text, true).unwrap());
        assert_eq!(holds("bob@example.COM"), Ok(true));
        assert_eq!(holds("carol@example.com"), Ok(false));
        assert_eq!(holds("whoever@far.example"), Ok(true));
        std::fs::write(&path, "carol@example.com\n").unwrap();
        assert_eq!(holds("carol@example.com"), Ok(true));
        std::fs::remove_file(&path).unwrap();
        assert!(holds("carol@example.com").is_err());
    }
}
