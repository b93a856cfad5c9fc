//! Settings from several places: what stands in the file wins over what the store holds, that over what `serve` takes
//! with neither. Tables are laid over each other key by key, blocks (`[[listener]]`, `[[domain]]`) name by name; a value
//! is one thing, also where it is written as a table. Never touches the file.

use toml_edit::{ArrayOfTables, DocumentMut, Item, Table as Toml};

use crate::report::Fault;
use crate::table;
use crate::tree::{self, Node, Table, Value, quote};
use crate::{Lookup, Reading};

/// The line of everything that the store holds; files begin at 1.
pub(crate) const STORED: usize = 0;

/// The line of everything that holds where neither file nor store says anything.
pub(crate) const BASE: usize = usize::MAX;

/// Texts, the strongest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers<'a> {
    /// The file, or the flags written as one.
    pub file: &'a str,
    /// What the store holds: edited in the page and by `settings set`.
    pub stored: &'a str,
    /// What holds where neither says anything.
    pub base: &'a str,
}

impl Layers<'_> {
    /// Reads them as one file. All faults are told at once; those of the store have no line.
    pub fn read(&self, lookup: &dyn Lookup) -> Result<Reading, Vec<Fault>> {
        let mut root = crate::root(self.file)?;
        let mut stored = crate::root(self.stored)?;
        place(&mut stored, STORED);
        lay(&mut root, stored, "");
        let mut base = crate::root(self.base)?;
        place(&mut base, BASE);
        lay(&mut root, base, "");
        crate::read_root(&root, lookup)
    }
}

fn place(table: &mut Table, line: usize) {
    for (_, node) in &mut table.entries {
        place_node(node, line);
    }
}

fn place_node(node: &mut Node, line: usize) {
    node.line = line;
    match &mut node.value {
        Value::Table(table) => place(table, line),
        Value::Array(list) => list.iter_mut().for_each(|node| place_node(node, line)),
        _ => {}
    }
}

/// Adds what `under` has and `over` has not. `prefix` is the section as the settings table names it.
fn lay(over: &mut Table, under: Table, prefix: &str) {
    for (key, node) in under.entries {
        let path = below(prefix, &key);
        let Some((_, there)) = over.entries.iter_mut().find(|(known, _)| *known == key) else {
            over.entries.push((key, node));
            continue;
        };
        match (&mut there.value, node.value) {
            (Value::Table(there), Value::Table(under)) if table::find(&path).is_none() => {
                lay(there, under, &path)
            }
            (Value::Array(there), Value::Array(under)) if is_blocks(&path) => {
                for block in under {
                    match there.iter_mut().find(|known| name(known) == name(&block)) {
                        None => there.push(block),
                        Some(Node { value: Value::Table(known), .. }) => {
                            if let Value::Table(block) = block.value {
                                lay(known, block, &path);
                            }
                        }
                        Some(_) => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// `delegate.NAME.x` is `delegate.x` in the settings table.
fn below(prefix: &str, key: &str) -> String {
    match prefix {
        "" => key.to_owned(),
        "delegate" => "delegate.".to_owned(),
        "delegate." => format!("delegate.{key}"),
        _ => format!("{prefix}.{key}"),
    }
}

fn is_blocks(path: &str) -> bool {
    table::SECTIONS.iter().any(|(prefix, heading, _)| *prefix == path && heading.starts_with("[["))
}

fn name(block: &Node) -> Option<&str> {
    let Value::Table(table) = &block.value else { return None };
    match &table.get("name")?.value {
        Value::Text(name) => Some(name),
        _ => None,
    }
}

/// A change of the stored settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key path as `settings show` prints it: `queue.expire`, `delegate.office.auth`, `domain[example.com].next_hop`.
    /// A block's own path (`domain[example.com]`) names all of it.
    pub key: String,
    /// TOML, or plain text for settings that take text. `None`: the store no longer says anything about it.
    pub value: Option<String>,
}

/// The changes that make the stored settings say what this piece of a settings file says.
pub fn changes_of(text: &str) -> Result<Vec<Change>, Vec<Fault>> {
    let mut changes = Vec::new();
    flatten(&crate::root(text)?, "", "", &mut changes);
    Ok(changes)
}

fn flatten(table: &Table, prefix: &str, label: &str, changes: &mut Vec<Change>) {
    for (key, node) in &table.entries {
        let path = below(prefix, key);
        let label = if label.is_empty() { key.clone() } else { format!("{label}.{key}") };
        match &node.value {
            Value::Table(below) if table::find(&path).is_none() => flatten(below, &path, &label, changes),
            Value::Array(blocks) if is_blocks(&path) => {
                for block in blocks {
                    let Value::Table(below) = &block.value else { continue };
                    flatten(below, &path, &format!("{label}[{}]", name(block).unwrap_or_default()), changes);
                }
            }
            value => changes.push(Change { key: label, value: Some(value.text()) }),
        }
    }
}

/// The stored settings with a change made. `Err`: what is wrong with the change itself, before any check of the whole.
pub fn edit(stored: &str, change: &Change) -> Result<String, Fault> {
    let fault = |what: &str, advice: &str| Fault {
        line: None,
        key: change.key.clone(),
        value: change.value.clone().unwrap_or_default(),
        what: what.to_owned(),
        advice: advice.to_owned(),
    };
    let mut document: DocumentMut = stored
        .parse()
        .map_err(|_| fault("cannot be stored", "the stored settings are damaged; roll them back"))?;
    let Some((block, path)) = split(&change.key) else {
        return Err(fault("is not a setting", "`vouchsafe settings show` lists the keys"));
    };
    let row_key = row_key(block, &path);
    if row_key == "data_dir" {
        return Err(fault(
            "cannot be stored",
            "it says where the store is: set it in the file or with --data-dir",
        ));
    }
    match &change.value {
        Some(value) => {
            if table::find(&row_key).is_none() {
                return Err(fault("is not a setting", "`vouchsafe settings show` lists the keys"));
            }
            let text = toml_of(&row_key, value);
            let item: toml_edit::Value = text
                .parse()
                .map_err(|_| fault("is not TOML", "put text in quotes, a list in [ ], a table in { }"))?;
            let mut at = open(&mut document, block)
                .ok_or_else(|| fault("cannot be stored", "the store holds something else in its place"))?;
            let (last, above) =
                path.split_last().ok_or_else(|| fault("names a whole block", "name a key of it"))?;
            for key in above {
                let next = at.entry(key).or_insert_with(|| Item::Table(dotted()));
                at = next
                    .as_table_mut()
                    .ok_or_else(|| fault("cannot be stored", "unset what stands above it first"))?;
            }
            at.insert(last, Item::Value(item));
        }
        None => close(&mut document, block, &path),
    }
    Ok(document.to_string())
}

fn dotted() -> Toml {
    let mut table = Toml::new();
    table.set_implicit(true);
    table
}

/// (section with a block's name, keys below it). The name may hold dots.
type Split<'a> = (Option<(&'a str, &'a str)>, Vec<&'a str>);

fn split(key: &str) -> Option<Split<'_>> {
    if let Some((section, rest)) = key.split_once('[') {
        let (name, rest) = rest.split_once(']')?;
        let path = match rest.strip_prefix('.') {
            Some(rest) => rest.split('.').collect(),
            None if rest.is_empty() => Vec::new(),
            None => return None,
        };
        return (is_blocks(section) && !name.is_empty()).then_some((Some((section, name)), path));
    }
    let path: Vec<&str> = key.split('.').collect();
    path.iter().all(|part| !part.is_empty()).then_some((None, path))
}

fn row_key(block: Option<(&str, &str)>, path: &[&str]) -> String {
    match (block, path) {
        (Some((section, _)), path) => format!("{section}.{}", path.join(".")),
        (None, ["delegate", _, rest @ ..]) => format!("delegate.{}", rest.join(".")),
        (None, path) => path.join("."),
    }
}

/// The table of a block, made if it is not there.
fn open<'a>(document: &'a mut DocumentMut, block: Option<(&str, &str)>) -> Option<&'a mut Toml> {
    let Some((section, name)) = block else { return Some(document.as_table_mut()) };
    let blocks = document.entry(section).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    let blocks = blocks.as_array_of_tables_mut()?;
    let named = |table: &Toml| table.get("name").and_then(Item::as_str) == Some(name);
    let known = blocks.iter().position(named);
    let at = match known {
        Some(at) => at,
        None => {
            let mut table = Toml::new();
            table.insert("name", toml_edit::value(name));
            blocks.push(table);
            blocks.len() - 1
        }
    };
    blocks.get_mut(at)
}

/// Removes a key, or the whole block, and what is empty then.
fn close(document: &mut DocumentMut, block: Option<(&str, &str)>, path: &[&str]) {
    let Some((section, name)) = block else { return remove(document.as_table_mut(), path) };
    let Some(blocks) = document.get_mut(section).and_then(Item::as_array_of_tables_mut) else { return };
    let named = |table: &Toml| table.get("name").and_then(Item::as_str) == Some(name);
    let known = blocks.iter().position(named);
    let Some(at) = known else { return };
    if let (Some(table), false) = (blocks.get_mut(at), path.is_empty()) {
        remove(table, path);
        // A name alone says nothing.
        if table.len() > 1 {
            return;
        }
    }
    blocks.remove(at);
    if blocks.is_empty() {
        document.remove(section);
    }
}

fn remove(table: &mut Toml, path: &[&str]) {
    match path {
        [] => {}
        [key] => drop(table.remove(key)),
        [key, rest @ ..] => {
            if let Some(below) = table.get_mut(key).and_then(Item::as_table_mut) {
                remove(below, rest);
                if below.is_empty() {
                    table.remove(key);
                }
            }
        }
    }
}

/// What an administrator typed, as TOML: quotes may be left out where the setting takes text and nothing else is meant.
fn toml_of(row_key: &str, typed: &str) -> String {
    let typed = typed.trim();
    let shape = table::find(row_key).map(|row| row.shape);
    let is_bare = matches!(shape, Some(table::Shape::Flag | table::Shape::Count(..)));
    let reads = |node: &Node| !matches!(node.value, Value::Other(_) | Value::Integer(_) | Value::Flag(_));
    match tree::parse_value(typed) {
        _ if is_bare => typed.to_owned(),
        Some(node) if reads(&node) => typed.to_owned(),
        _ if typed.starts_with(['[', '{', '"', '\'']) => typed.to_owned(),
        _ => quote(typed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    struct Nobody;

    impl Lookup for Nobody {
        fn env(&self, _: &str) -> Option<String> {
            None
        }
        fn file(&self, _: &Path) -> Result<String, String> {
            Err("there is none".to_owned())
        }
        fn hostname(&self) -> Option<String> {
            Some("gw.example.com".to_owned())
        }
    }

    const LISTENER: &str = "[[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"\n";

    fn set(stored: &str, key: &str, value: &str) -> String {
        edit(stored, &Change { key: key.to_owned(), value: Some(value.to_owned()) }).unwrap()
    }

    fn unset(stored: &str, key: &str) -> String {
        edit(stored, &Change { key: key.to_owned(), value: None }).unwrap()
    }

    #[test]
    fn the_file_wins_over_the_store_and_that_over_the_base() {
        let file = "[queue]\nexpire = \"3d\"\n";
        let stored = "[queue]\nexpire = \"9d\"\nwarn_after = \"2h\"\n[[listener]]\nname = \"mx\"\naddress = \"127.0.0.1:25\"\n";
        let reading = Layers { file, stored, base: LISTENER }.read(&Nobody).unwrap();
        let found = |path: &str| reading.shown.iter().find(|s| s.path == path).unwrap().clone();
        let expire = found("queue.expire");
        assert_eq!((expire.value.as_str(), expire.line, expire.stored), ("\"3d\"", Some(2), false));
        let warn = found("queue.warn_after");
        assert_eq!((warn.value.as_str(), warn.line, warn.stored), ("\"2h\"", None, true));
        assert_eq!(found("listener[mx].address").value, "\"127.0.0.1:25\"");
        assert_eq!(found("listener[mx].kind").value, "\"mx\"");
    }

    #[test]
    fn faults_of_the_store_have_no_line() {
        let faults =
            Layers { file: LISTENER, stored: "[queue]\nexpire = 7\n", base: "" }.read(&Nobody).unwrap_err();
        assert_eq!(
            faults[0].to_string(),
            "queue.expire = 7: is a number without a unit; write \"7s\" or \"7m\""
        );
    }

    #[test]
    fn a_change_is_made_where_its_key_belongs() {
        let stored = set("", "queue.expire", "3d");
        assert_eq!(stored, "[queue]\nexpire = \"3d\"\n");
        let stored = set(&stored, "domain[example.com].next_hop", "mail.example.com:25");
        let stored = set(&stored, "delegate.office.sessions.auth", "5");
        let stored = set(&stored, "relay.open_relay", "false");
        let root = tree::parse(&stored).ok().unwrap();
        let Some(Node { value: Value::Array(domains), .. }) = root.get("domain") else { panic!("{stored}") };
        assert_eq!(domains[0].value.text(), "{ name = \"example.com\", next_hop = \"mail.example.com:25\" }");
        assert_eq!(root.get("delegate").unwrap().value.text(), "{ office = { sessions = { auth = 5 } } }");
        let stored = unset(&stored, "domain[example.com].next_hop");
        let stored = unset(&stored, "delegate.office.sessions.auth");
        let stored = unset(&unset(&stored, "relay.open_relay"), "queue.expire");
        assert_eq!(stored.trim(), "");
    }

    #[test]
    fn a_piece_of_a_file_is_a_list_of_changes() {
        let text = "[delegate.office]\nauth = { host = \"a:587\" }\nsessions.auth = 3\n[[domain]]\nname = \"b.example\"\nnext_hop = \"c\"\n";
        let changes = changes_of(text).unwrap();
        let told: Vec<String> =
            changes.iter().map(|c| format!("{} = {}", c.key, c.value.as_deref().unwrap_or("-"))).collect();
        assert_eq!(
            told,
            [
                "delegate.office.auth = { host = \"a:587\" }",
                "delegate.office.sessions.auth = 3",
                "domain[b.example].name = \"b.example\"",
                "domain[b.example].next_hop = \"c\"",
            ]
        );
        let stored = changes.iter().fold(String::new(), |stored, change| edit(&stored, change).unwrap());
        assert_eq!(changes_of(&stored).unwrap().len(), 4, "{stored}");
    }

    #[test]
    fn a_list_is_taken_as_written_and_a_word_is_put_in_quotes() {
        assert_eq!(toml_of("queue.retry", "[\"5m\"]"), "[\"5m\"]");
        assert_eq!(toml_of("queue.expire", "5d"), "\"5d\"");
        assert_eq!(toml_of("hostname", "42"), "\"42\"");
        assert_eq!(toml_of("hostname", "true"), "\"true\"");
        assert_eq!(toml_of("relay.open_relay", "yes"), "yes");
        let odd = Change { key: "queue.retry".to_owned(), value: Some("[\"5m\"".to_owned()) };
        assert_eq!(edit("", &odd).unwrap_err().what, "is not TOML");
        let unknown = Change { key: "queue.expires".to_owned(), value: Some("5d".to_owned()) };
        assert_eq!(edit("", &unknown).unwrap_err().what, "is not a setting");
    }
}
