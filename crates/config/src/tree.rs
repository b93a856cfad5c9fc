//! The TOML text as a plain tree in which every key and value knows its line; inline, dotted and headed tables,
//! and arrays of either kind, look alike. Knows nothing of settings.

use toml_edit::{Document, Item, TableLike, Value as Toml};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub line: usize,
    pub value: Value,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    /// Floats and dates: no setting wants them, so only their text is kept.
    Other(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub entries: Vec<(String, Node)>,
    /// Tables written `[[like this]]` are marked, so that the other brackets can be told from them.
    pub headed_array: bool,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, n)| n)
    }
}

/// Syntax that TOML does not have, and its line.
pub(crate) struct BadSyntax {
    pub line: usize,
    pub what: String,
}

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> Result<Table, BadSyntax> {
    let lines = Lines::new(text);
    let document = Document::parse(text).map_err(|e| BadSyntax {
        line: e.span().map_or(1, |s| lines.of(s.start)),
        what: e.message().trim().replace('\n', ", "),
    })?;
    Ok(table(document.as_table(), &lines))
}

/// Reads one value, as the settings table writes its defaults.
pub(crate) fn parse_value(text: &str) -> Option<Node> {
    let root = parse(&format!("v = {text}")).ok()?;
    root.get("v").cloned()
}

struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Lines {
        Lines(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }
    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}

fn table(table: &dyn TableLike, lines: &Lines) -> Table {
    let mut entries = Vec::new();
    for (name, item) in table.iter() {
        let line = table.key(name).and_then(|k| k.span()).map_or(1, |s| lines.of(s.start));
        if let Some(value) = item_value(item, lines) {
            entries.push((name.to_owned(), Node { line, value }));
        }
    }
    Table { entries, headed_array: false }
}

fn item_value(item: &Item, lines: &Lines) -> Option<Value> {
    match item {
        Item::None => None,
        Item::Value(v) => Some(value(v, lines)),
        Item::Table(t) => Some(Value::Table(table(t, lines))),
        Item::ArrayOfTables(list) => Some(Value::Array(
            list.iter()
                .map(|t| Node {
                    line: t.span().map_or(1, |s| lines.of(s.start)),
                    value: Value::Table(Table { headed_array: true, ..table(t, lines) }),
                })
                .collect(),
        )),
    }
}

fn value(v: &Toml, lines: &Lines) -> Value {
    match v {
        Toml::String(s) => Value::Text(s.value().clone()),
        Toml::Integer(i) => Value::Integer(*i.value()),
        Toml::Boolean(b) => Value::Flag(*b.value()),
        Toml::Float(f) => Value::Other(f.value().to_string()),
        Toml::Datetime(d) => Value::Other(d.value().to_string()),
        Toml::Array(list) => Value::Array(
            list.iter()
                .map(|v| Node { line: v.span().map_or(1, |s| lines.of(s.start)), value: value(v, lines) })
                .collect(),
        ),
        Toml::InlineTable(t) => Value::Table(table(t, lines)),
    }
}

impl Value {
    /// The value as one line of TOML: what faults quote and `settings show` prints.
    pub fn text(&self) -> String {
        match self {
            Value::Text(s) => quote(s),
            Value::Integer(i) => i.to_string(),
            Value::Flag(b) => b.to_string(),
            Value::Other(s) => s.clone(),
            Value::Array(list) => {
                format!("[{}]", list.iter().map(|n| n.value.text()).collect::<Vec<_>>().join(", "))
            }
            Value::Table(t) if t.entries.is_empty() => "{}".to_owned(),
            Value::Table(t) => {
                let of = |(k, n): &(String, Node)| format!("{} = {}", bare_or_quoted(k), n.value.text());
                format!("{{ {} }}", t.entries.iter().map(of).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Equal in meaning: lines, brackets and the order of keys do not count.
    pub fn same(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Array(a), Value::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.value.same(&b.value))
            }
            (Value::Table(a), Value::Table(b)) => {
                let found = |(k, n): &(String, Node)| b.get(k).is_some_and(|m| n.value.same(&m.value));
                a.entries.len() == b.entries.len() && a.entries.iter().all(found)
            }
            _ => self.text() == other.text(),
        }
    }
}

/// A TOML string.
pub(crate) fn quote(text: &str) -> String {
    Toml::from(text).to_string()
}

/// A TOML key.
pub(crate) fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { quote(key) }
}
