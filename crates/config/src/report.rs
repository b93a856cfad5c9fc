//! What is wrong with the settings (faults) and what is only worth knowing (notices), and the near word that was meant.

use std::fmt;

/// Why the settings are not taken. All are told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file; `None` when the setting came from a flag.
    pub line: Option<usize>,
    /// Key path: `listener[mx].tls`.
    pub key: String,
    /// The value as written, on one line; empty when the key itself is at fault or a secret is near.
    pub value: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// What is worth knowing; the settings hold all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Line in the file; `None` when the setting came from a flag or a default.
    pub line: Option<usize>,
    /// Key path.
    pub key: String,
    /// The sentence.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match (self.key.is_empty(), self.value.is_empty()) {
            (true, _) => {}
            (false, true) => write!(f, "{}: ", self.key)?,
            (false, false) => write!(f, "{} = {}: ", self.key, cut(&self.value))?,
        }
        write!(f, "{}; {}", self.what, self.advice)
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        match self.key.as_str() {
            "" => f.write_str(&self.what),
            key => write!(f, "{key}: {}", self.what),
        }
    }
}

/// Longest value that a fault quotes.
const QUOTED: usize = 80;

fn cut(value: &str) -> String {
    match value.char_indices().nth(QUOTED) {
        Some((at, _)) => format!("{}...", &value[..at]),
        None => value.to_owned(),
    }
}

/// The candidate that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let (distance, best) = candidates
        .into_iter()
        .map(|c| (edit_distance(&word, &c.to_ascii_lowercase()), c))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= best.chars().count().div_ceil(3).max(1)).then_some(best)
}

/// Letters to insert, delete or replace; two swapped neighbours count once (Damerau).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_found_and_a_far_one_is_not() {
        let keys = ["next_hop", "recipients", "name"];
        assert_eq!(nearest("nexthop", keys), Some("next_hop"));
        assert_eq!(nearest("recipeints", keys), Some("recipients"));
        assert_eq!(nearest("colour", keys), None);
    }
}
