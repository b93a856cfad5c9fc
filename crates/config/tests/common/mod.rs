//! A world in which settings are read: a few files, a few variables.

use std::path::Path;

use vouchsafe_config::Lookup;

/// Knows `/etc/password`, `/etc/two-lines`, `/etc/list` and `PASSWORD`.
pub struct World;

impl Lookup for World {
    fn env(&self, name: &str) -> Option<String> {
        (name == "PASSWORD").then(|| "from the environment".to_owned())
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        match path.to_str() {
            Some("/etc/password") => Ok("from a file\n".to_owned()),
            Some("/etc/two-lines") => Ok("one\ntwo\n".to_owned()),
            Some("/etc/list") => Ok("alice@example.com\n".to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }
    fn hostname(&self) -> Option<String> {
        Some("machine.example".to_owned())
    }
}
