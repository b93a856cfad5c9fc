//! Licences and banned crates of everything that is compiled, by the lists of `deny.toml`.

use std::collections::BTreeSet;

/// `tree`: a line for each package that is compiled, name, version and licence as `NAME vVERSION|LICENCE`.
pub fn check(tree: &str, deny: &str) -> Vec<String> {
    let allowed = quoted(deny, "allow = [");
    let banned = quoted(deny, "deny = [");
    let packages: BTreeSet<(&str, &str)> = tree.lines().filter_map(|line| line.split_once('|')).collect();
    let mut faults = Vec::new();
    for (package, licence) in packages {
        let name = package.split(' ').next().unwrap_or_default();
        if banned.iter().any(|banned| banned == name) {
            faults.push(format!("deny.toml: {name} is banned; `cargo tree -i {name}` shows who pulls it in"));
        }
        // cargo marks what it has shown before.
        let licence = licence.trim_end_matches(" (*)");
        if !allows(licence, &allowed) {
            faults.push(format!("deny.toml: {name} has the licence `{licence}`, which is not allowed"));
        }
    }
    faults
}

/// The quoted words between `start` and the closing bracket.
fn quoted(text: &str, start: &str) -> Vec<String> {
    let list =
        text.lines().skip_while(|line| !line.starts_with(start)).take_while(|line| !line.starts_with(']'));
    list.flat_map(|line| line.split('"').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Whether an SPDX expression can be satisfied by allowed licences. `/` is an old way to write OR.
fn allows(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let verdict = either(&words, &mut at, allowed);
    verdict && at == words.len()
}

fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut verdict = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        verdict |= both(words, at, allowed);
    }
    verdict
}

fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut verdict = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        verdict &= one(words, at, allowed);
    }
    verdict
}

fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let verdict = either(words, at, allowed);
        let closed = words.get(*at) == Some(&")");
        *at += 1;
        return verdict && closed;
    }
    let mut name = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", words.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_understood() {
        let allowed = ["MIT".to_owned(), "ISC".to_owned(), "Apache-2.0 WITH LLVM-exception".to_owned()];
        for good in [
            "MIT",
            "MIT/GPL-3.0",
            "GPL-3.0 OR MIT",
            "ISC AND (GPL-3.0 OR MIT)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allows(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "ISC AND (GPL-3.0 OR LGPL-3.0)", "MIT MIT", "(MIT"] {
            assert!(!allows(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn banned_crates_and_strange_licences_are_told() {
        let deny = "allow = [\n  \"MIT\",\n]\ndeny = [\n  { crate = \"ring\" },\n]\n";
        let faults = check("a v1.0.0|MIT (*)\nb v1.0.0|GPL-3.0\nring v0.17.0|MIT\n", deny);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn lists_are_read_from_deny_toml() {
        let deny = "[licenses]\nallow = [\n  \"MIT\",\n  \"ISC\",\n]\n[bans]\ndeny = [\n  { crate = \"ring\" },\n]\n";
        assert_eq!(quoted(deny, "allow = ["), ["MIT", "ISC"]);
        assert_eq!(quoted(deny, "deny = ["), ["ring"]);
    }
}
