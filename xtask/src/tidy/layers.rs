//! The layers of ARCHITECTURE.md: which crate of ours may use which, and who alone may touch the outside.

use serde_json::Value;

/// Crate, and the crates of ours that it may depend on. Development dependencies are free: tests look downwards and sideways.
const LAYERS: &[(&str, &[&str])] = &[
    ("smtp", &[]),
    ("mime", &[]),
    ("core", &["smtp", "mime"]),
    ("config", &["core", "smtp"]),
    ("store", &["core", "smtp", "mime"]),
    ("net", &["core", "smtp"]),
    ("gateway", &["net", "config", "core", "smtp", "mime"]),
    ("web", &["gateway", "config", "core", "mime"]),
    ("fakes", &["net", "core", "smtp"]),
    ("testkit", &["fakes", "gateway", "store", "net", "config", "core", "smtp", "mime"]),
    ("bench", &["fakes", "gateway", "store", "net", "core", "smtp"]),
    ("vouchsafe", &["web", "fakes", "gateway", "store", "net", "config", "core", "smtp", "mime"]),
];

/// A crate from outside, and the only ones of ours that may depend on it.
const DOORS: &[(&str, &[&str])] = &[
    ("rusqlite", &["store"]),
    ("object_store", &["store"]),
    ("mail-auth", &["net"]),
    ("socket2", &["net"]),
    ("rustls-platform-verifier", &["net"]),
    ("tokio-rustls", &["net", "gateway", "fakes", "bench"]),
    ("rustls", &["net", "gateway", "fakes", "bench", "vouchsafe"]),
    ("tokio", &["store", "net", "gateway", "web", "fakes", "testkit", "bench", "vouchsafe"]),
];

const PREFIX: &str = "vouchsafe-";

pub fn check(metadata: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for package in
        metadata["packages"].as_array().into_iter().flatten().filter(|package| package["source"].is_null())
    {
        let name = package["name"].as_str().unwrap_or_default();
        let ours = name.strip_prefix(PREFIX).unwrap_or(name);
        let used: Vec<&str> = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .filter_map(|dependency| dependency["name"].as_str())
            .collect();
        faults.extend(judge(ours, &used));
    }
    faults
}

/// The faults of one crate of ours with these dependencies.
fn judge(ours: &str, used: &[&str]) -> Vec<String> {
    if ours == "xtask" {
        let product = used.iter().filter(|name| name.starts_with("vouchsafe"));
        return product
            .map(|name| format!("xtask depends on {name}: it judges the product from outside"))
            .collect();
    }
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == ours) else {
        return vec![format!("{ours}: not a layer of ARCHITECTURE.md; add it to xtask/src/tidy/layers.rs")];
    };
    let mut faults = Vec::new();
    for name in used {
        if let Some(layer) = name.strip_prefix(PREFIX)
            && !allowed.contains(&layer)
        {
            faults.push(format!("crates/{ours}: depends on {name}, which is not below it (ARCHITECTURE.md)"));
        }
        if let Some((_, only)) = DOORS.iter().find(|(door, _)| door == name)
            && !only.contains(&ours)
        {
            faults.push(format!("crates/{ours}: depends on {name}; only {} may", only.join(", ")));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn stray_layers_and_doors_are_told() {
        assert_eq!(judge("core", &["vouchsafe-smtp", "serde"]), Vec::<String>::new());
        assert!(judge("core", &["vouchsafe-store"])[0].contains("not below it"));
        assert!(judge("smtp", &["tokio"])[0].contains("only store, net"));
        assert!(judge("xtask", &["vouchsafe-core"])[0].contains("from outside"));
        assert!(judge("plugins", &[])[0].contains("not a layer"));
    }
}
