//! What settings refer to outside of their file: environment, secret files, the machine's name.

use std::path::Path;

use vouchsafe_config::Lookup;

/// The real machine.
pub struct Machine;

impl Lookup for Machine {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|fault| fault.to_string())
    }
    fn hostname(&self) -> Option<String> {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }
}
