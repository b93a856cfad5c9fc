//! The settings of `serve` with no file: ports on loopback, and what a few flags say.
//! They are written as a file and read like one, so that they pass the same checks.

use std::path::PathBuf;

use crate::tree::quote;
use crate::{Fault, Layers, Lookup, Notice, Reading, Settings};

/// What can be said without a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--delegate HOST[:PORT]`
    pub delegate: Option<String>,
    /// `--next-hop HOST[:PORT]`
    pub next_hop: Option<String>,
    /// `--domain NAME`, repeated
    pub domains: Vec<String>,
}

impl Flags {
    /// What holds with no file where flags and store say nothing: listeners on loopback, and whatever would bounce is held,
    /// for who begins has not seen yet that all works.
    pub fn base_toml() -> String {
        let mut out = "[queue]\nsoft_bounce = true\n".to_owned();
        let listeners = [
            ("mx", "mx", "127.0.0.1:2525", "starttls"),
            ("submission", "submission", "127.0.0.1:2587", "starttls"),
            ("submissions", "submission", "127.0.0.1:2465", "implicit"),
        ];
        for (name, kind, address, tls) in listeners {
            out.push_str(&format!(
                "\n[[listener]]\nname = \"{name}\"\nkind = \"{kind}\"\naddress = \"{address}\"\ntls = \"{tls}\"\n"
            ));
        }
        out
    }

    /// The settings file that the flags stand for.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        if let Some(dir) = &self.data_dir {
            out.push_str(&format!("data_dir = {}\n", quote(&dir.to_string_lossy())));
        }
        if let Some(host) = &self.delegate {
            out.push_str(&format!("\n[delegate.default]\nhost = {}\n", quote(host)));
        }
        for name in &self.domains {
            out.push_str(&format!("\n[[domain]]\nname = {}\n", quote(name)));
            if let Some(hop) = &self.next_hop {
                out.push_str(&format!("next_hop = {}\n", quote(hop)));
            }
        }
        if let Some(hop) = &self.next_hop {
            out.push_str(&format!("\n[relay]\nnext_hop = {}\n", quote(hop)));
        }
        out
    }

    /// Reads them as a file is read, over what the store holds; places are told as flags.
    pub fn read(&self, stored: &str, lookup: &dyn Lookup) -> Result<Reading, Vec<Fault>> {
        let as_flag = |key: &str| {
            let flags = [
                ("next_hop", "--next-hop"),
                ("recipients", "--delegate"),
                ("domain", "--domain"),
                ("delegate", "--delegate"),
                ("data_dir", "--data-dir"),
            ];
            let found = flags.iter().find(|(part, _)| key.ends_with(part) || key.starts_with(part));
            found.map_or_else(|| key.to_owned(), |(_, flag)| (*flag).to_owned())
        };
        let (flags, base) = (self.to_toml(), Flags::base_toml());
        let layers = Layers { file: &flags, stored, base: &base };
        let mut reading = match layers.read(lookup) {
            Ok(reading) => reading,
            // The store speaks of keys: so is it told.
            Err(faults) if !stored.is_empty() => {
                return Err(faults.into_iter().map(|fault| Fault { line: None, ..fault }).collect());
            }
            Err(faults) => {
                let mut told: Vec<Fault> = Vec::new();
                for fault in faults {
                    let fault = Fault { line: None, key: as_flag(&fault.key), ..fault };
                    let fault = match (fault.key.as_str(), fault.what.starts_with("is missing")) {
                        ("--next-hop", true) => {
                            Fault { advice: "give --next-hop HOST[:PORT]".into(), ..fault }
                        }
                        ("--delegate", true) => {
                            Fault { advice: "give --delegate HOST[:PORT]".into(), ..fault }
                        }
                        _ => fault,
                    };
                    // One flag stands for several settings: its fault is told once.
                    if !told.iter().any(|t| t.key == fault.key && t.value == fault.value) {
                        told.push(fault);
                    }
                }
                return Err(told);
            }
        };
        reading.notices =
            reading.notices.into_iter().map(|n| Notice { line: None, key: as_flag(&n.key), ..n }).collect();
        reading.shown.iter_mut().for_each(|shown| shown.line = None);
        Ok(reading)
    }
}

impl Settings {
    /// What `serve` uses with no file.
    pub fn default_with(flags: &Flags, lookup: &dyn Lookup) -> Result<(Settings, Vec<Notice>), Vec<Fault>> {
        flags.read("", lookup).map(|r| (r.settings, r.notices))
    }
}
