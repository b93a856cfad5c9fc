//! Every setting as text: what `settings show` lists and `settings export` writes.
//! Never holds a secret: secrets stand in the settings by reference only.

/// One setting in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Heading in the file: `[[listener]]`; empty at the top.
    pub heading: String,
    /// Which block under that heading.
    pub block: String,
    /// Key below the heading: `sessions.auth`.
    pub key: String,
    /// Key path: `listener[mx].tls`.
    pub path: String,
    /// Value as TOML.
    pub value: String,
    /// It is the default, given or not.
    pub default: bool,
    /// Line in the file, if it is given there.
    pub line: Option<usize>,
    /// It is given in the store.
    pub stored: bool,
}

/// A settings file that gives exactly these settings.
pub fn export(shown: &[Shown]) -> String {
    let mut out = String::new();
    let mut block: Option<&str> = None;
    // Top-level keys first: below a heading they would belong to it.
    let (top, headed): (Vec<_>, Vec<_>) = shown.iter().partition(|s| s.heading.is_empty());
    for s in top.into_iter().chain(headed) {
        if !s.heading.is_empty() && block != Some(&s.block) {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&s.heading);
            out.push('\n');
            block = Some(&s.block);
        }
        out.push_str(&format!("{} = {}\n", s.key, s.value));
    }
    out
}
