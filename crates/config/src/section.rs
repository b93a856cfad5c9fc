//! Reads one section of the file by the rows of the table: a value that is given is parsed, one that is not has its
//! row's default; what was not asked for is an unknown key. Never stops at a fault: the default stands in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::{Fault, Notice, nearest};
use crate::table::{self, Effect, Fallback, Row, Shape};
use crate::tree::{self, Node, Table, Value};
use crate::units;
use crate::{ListenerKind, Shown};

/// Everything found while reading: shared by all sections.
#[derive(Default)]
pub(crate) struct Findings {
    faults: RefCell<Vec<Fault>>,
    notices: RefCell<Vec<Notice>>,
    shown: RefCell<Vec<Shown>>,
    lines: RefCell<BTreeMap<String, usize>>,
    /// `relay.open_relay_i_understand`: only a check needs it.
    pub open_relay_understood: Cell<bool>,
}

impl Findings {
    pub fn into_parts(self) -> (Vec<Fault>, Vec<Notice>, Vec<Shown>) {
        (self.faults.into_inner(), self.notices.into_inner(), self.shown.into_inner())
    }

    /// A fault about this key has been told: what follows from it need not be.
    pub fn reported(&self, key: &str) -> bool {
        self.faults.borrow().iter().any(|f| f.key.starts_with(key))
    }

    pub fn fault(&self, at: &At, what: impl Into<String>, advice: impl Into<String>) {
        let (what, advice) = (what.into(), advice.into());
        let fault = Fault { line: at.line, key: at.key.clone(), value: at.value.clone(), what, advice };
        self.faults.borrow_mut().push(fault);
    }

    pub fn notice(&self, at: &At, what: impl Into<String>) {
        let notice = Notice { line: at.line, key: at.key.clone(), what: what.into() };
        self.notices.borrow_mut().push(notice);
    }

    /// A fault about a value that is there, and about each other part of it that is bad.
    pub fn reject(&self, path: &str, node: &Node, bad: Bad, words: &str) {
        let value = match (bad.secret, bad.part) {
            (true, _) => String::new(),
            (false, Some(part)) => part,
            (false, None) => node.value.text(),
        };
        let at = At { line: Some(bad.line.unwrap_or(node.line)), key: path.to_owned(), value };
        self.fault(&at, bad.what, bad.advice.unwrap_or_else(|| words.to_owned()));
        for bad in bad.more {
            self.reject(path, node, bad, words);
        }
    }

    /// The place of a key, or of the nearest thing above it, for checks that run after reading.
    pub fn at(&self, key: &str, value: impl Into<String>) -> At {
        let lines = self.lines.borrow();
        let mut path = key;
        let line = loop {
            match (lines.get(path), path.rfind('.')) {
                (Some(line), _) => break Some(*line),
                (None, Some(dot)) => path = &path[..dot],
                (None, None) => break None,
            }
        };
        At { line, key: key.to_owned(), value: value.into() }
    }

    pub fn remember(&self, key: &str, line: usize) {
        self.lines.borrow_mut().insert(key.to_owned(), line);
    }
}

/// A place that a fault points at.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub line: Option<usize>,
    pub key: String,
    pub value: String,
}

/// Why a value is not what its setting takes.
pub(crate) struct Bad {
    pub line: Option<usize>,
    pub what: String,
    pub advice: Option<String>,
    /// The part of the value that is at fault, where it is not all of it.
    pub part: Option<String>,
    /// The value is or may hold a secret: it is not quoted.
    pub secret: bool,
    /// Other parts of the same value that are at fault too.
    pub more: Vec<Bad>,
}

impl Bad {
    pub fn new(what: impl Into<String>) -> Bad {
        Bad { line: None, what: what.into(), advice: None, part: None, secret: false, more: Vec::new() }
    }
    pub fn advise(self, advice: impl Into<String>) -> Bad {
        Bad { advice: Some(advice.into()), ..self }
    }
    /// Only this part of the value is at fault.
    pub fn on(self, node: &Node) -> Bad {
        Bad { line: self.line.or(Some(node.line)), part: self.part.or(Some(node.value.text())), ..self }
    }
}

/// One table of the file, or the absence of one.
pub(crate) struct Section<'a> {
    pub findings: &'a Findings,
    table: &'a Table,
    /// Prefix of its rows: `listener`.
    prefix: String,
    /// Its name in faults: `listener[mx]`.
    pub label: String,
    /// Its heading in an exported file.
    heading: String,
    /// The label of the block under that heading: tells one listener's keys from another's.
    block: String,
    /// Its settings are listed as part of the value that holds them.
    quiet: bool,
    kind: Cell<Option<ListenerKind>>,
    known: RefCell<Vec<String>>,
}

static EMPTY: Table = Table { entries: Vec::new(), headed_array: false };

impl<'a> Section<'a> {
    pub fn root(findings: &'a Findings, table: &'a Table) -> Section<'a> {
        Section::new(findings, table, "", "", "")
    }

    /// A block of its own, such as one listener.
    pub fn new(
        findings: &'a Findings,
        table: &'a Table,
        prefix: &str,
        label: &str,
        heading: &str,
    ) -> Section<'a> {
        Section {
            findings,
            table,
            prefix: prefix.to_owned(),
            label: label.to_owned(),
            heading: heading.to_owned(),
            block: label.to_owned(),
            quiet: false,
            kind: Cell::new(None),
            known: RefCell::default(),
        }
    }

    /// A table that is one value, such as an endpoint.
    pub fn inside(findings: &'a Findings, table: &'a Table, prefix: &str, label: &str) -> Section<'a> {
        Section { quiet: true, ..Section::new(findings, table, prefix, label, "") }
    }

    /// A table below this one that shares its heading unless `heading` names its own.
    pub fn below(&self, key: &str, heading: Option<&str>) -> Section<'a> {
        let path = |start: &str| if start.is_empty() { key.to_owned() } else { format!("{start}.{key}") };
        let table = match self.take(key) {
            None => &EMPTY,
            Some(Node { value: Value::Table(t), line }) => {
                self.findings.remember(&path(&self.label), *line);
                t
            }
            Some(node) => {
                self.reject(
                    key,
                    node,
                    Bad::new("is not a table").advise(format!("write it as [{}]", path(&self.label))),
                );
                &EMPTY
            }
        };
        let own = heading.is_some();
        let heading = heading.unwrap_or(&self.heading);
        let section = Section::new(self.findings, table, &path(&self.prefix), &path(&self.label), heading);
        if own { section } else { Section { block: self.block.clone(), ..section } }
    }

    /// The listener's kind decides some defaults.
    pub fn set_kind(&self, kind: ListenerKind) {
        self.kind.set(Some(kind));
    }

    /// The raw node, marked as known.
    pub fn take(&self, key: &str) -> Option<&'a Node> {
        self.known.borrow_mut().push(key.to_owned());
        self.table.get(key)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// A setting by its row: what is given, or the default; `None` where the row has no default.
    pub fn value<T>(&self, key: &str, parse: impl Fn(&Node) -> Result<T, Bad>) -> Option<T> {
        let row = self.row(key);
        let given = self.take(key);
        let fallback = self.default_text(row).and_then(tree::parse_value);
        if let Some(node) = given {
            self.findings.remember(&self.path(key), node.line);
            let default = fallback.as_ref().is_some_and(|d| d.value.same(&node.value));
            self.show(key, node, Some(node.line), default);
            match parse(node) {
                Ok(value) => return Some(value),
                Err(bad) => self.reject(key, node, bad),
            }
        } else if row.default == Fallback::Required {
            let at = self.findings.at(&self.path(key), "");
            self.findings.fault(&at, "is missing", format!("add {key}: {}", row.shape.words()));
        }
        let node = fallback?;
        if given.is_none() {
            self.show(key, &node, None, true);
        }
        parse(&node).ok()
    }

    /// As [`Section::value`], for rows that have a default.
    fn sure<T>(&self, key: &str, parse: impl Fn(&Node) -> Result<T, Bad>) -> T {
        self.value(key, parse).expect("the row has a default that parses: proved by tests/table.rs")
    }

    pub fn text(&self, key: &str) -> Option<String> {
        self.value(key, |n| text(n).map(str::to_owned))
    }

    pub fn flag(&self, key: &str) -> bool {
        self.sure(key, |n| match n.value {
            Value::Flag(b) => Ok(b),
            _ => Err(Bad::new("is not true or false")),
        })
    }

    pub fn count(&self, key: &str) -> usize {
        let Shape::Count(from, to) = self.row(key).shape else {
            unreachable!("{key} is a count in the table")
        };
        self.sure(key, |n| match n.value {
            Value::Integer(i) => match u64::try_from(i) {
                Ok(i) if (from..=to).contains(&i) => {
                    usize::try_from(i).map_err(|_| Bad::new("is out of range"))
                }
                _ => Err(Bad::new("is out of range")),
            },
            _ => Err(Bad::new("is not a whole number")),
        })
    }

    pub fn time(&self, key: &str) -> Duration {
        let Shape::Time(from, to) = self.row(key).shape else { unreachable!("{key} is a time in the table") };
        let bound = |t| units::parse_time(t).expect("the table's bounds are times: proved by tests/table.rs");
        self.sure(key, |n| match time(n)? {
            t if t < bound(from) => Err(Bad::new("is too short")),
            t if t > bound(to) => Err(Bad::new("is too long")),
            t => Ok(t),
        })
    }

    pub fn time_or_never(&self, key: &str) -> Option<Duration> {
        self.sure(key, |n| match &n.value {
            Value::Text(t) if t == "never" => Ok(None),
            _ => time(n).map(Some),
        })
    }

    pub fn times(&self, key: &str) -> Vec<Duration> {
        self.sure(key, |n| each(n, time))
    }

    pub fn size(&self, key: &str) -> u64 {
        self.sure(key, size)
    }

    pub fn size_or_none(&self, key: &str) -> Option<u64> {
        Some(self.limit(key)).filter(|limit| *limit != u64::MAX)
    }

    /// A size past which something happens; [`u64::MAX`] for `"none"`.
    pub fn limit(&self, key: &str) -> u64 {
        self.sure(key, limit)
    }

    /// As [`Section::limit`], for rows without a default.
    pub fn own_limit(&self, key: &str) -> Option<u64> {
        self.value(key, limit)
    }

    /// One of the row's words, as the value beside it.
    pub fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.value(key, |n| {
            let word = text(n)?;
            words.iter().find(|(w, _)| *w == word).map(|(_, v)| *v).ok_or_else(|| {
                let bad = Bad::new("is none of its words");
                match nearest(word, words.iter().map(|(w, _)| *w)) {
                    Some(near) => bad.advise(format!("did you mean {near:?}?")),
                    None => bad,
                }
            })
        })
    }

    /// As [`Section::choice`], for rows that have a default.
    pub fn chosen<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> T {
        self.choice(key, words).expect("the row's default is one of its words: proved by tests/table.rs")
    }

    /// Reads what belongs to a later version, then tells of keys that nobody knows.
    pub fn finish(&self) {
        for key in table::keys_below(&self.prefix) {
            let row = table::find(&self.row_key(key));
            if let Some(Row { effect: Effect::Later(values), .. }) = row {
                self.later(key, values);
            }
        }
        for (key, node) in &self.table.entries {
            if !self.known.borrow().contains(key) {
                self.unknown(key, node);
            }
        }
    }

    fn later(&self, key: &str, values: &[&str]) {
        let Some(node) = self.take(key) else { return };
        let defaults: Vec<Node> = values.iter().filter_map(|v| tree::parse_value(v)).collect();
        if !defaults.iter().any(|d| d.value.same(&node.value)) {
            let advice = match values.first() {
                Some(only) => format!("remove it, or leave it at {only}"),
                None => "remove it".to_owned(),
            };
            self.reject(key, node, Bad::new("is not available in this version").advise(advice));
        }
    }

    fn unknown(&self, key: &str, node: &Node) {
        let at = At { line: Some(node.line), key: self.path(key), value: String::new() };
        let mut keys: Vec<&str> = table::keys_below(&self.prefix).collect();
        keys.dedup();
        let there =
            |k: &&str| !matches!(table::find(&self.row_key(k)), Some(Row { effect: Effect::Later(_), .. }));
        let advice = match nearest(key, keys.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => match elsewhere(key) {
                Some(place) => format!("it belongs to {place}"),
                None => {
                    let known: Vec<&str> = keys.into_iter().filter(there).collect();
                    format!("known here: {}", known.join(", "))
                }
            },
        };
        self.findings.fault(&at, "is not a setting", advice);
    }

    /// A fault about a value that is there.
    pub fn reject(&self, key: &str, node: &Node, bad: Bad) {
        let words = match table::find(&self.row_key(key)) {
            Some(row) => format!("give {}", row.shape.words()),
            None => "see the reference of settings".to_owned(),
        };
        self.findings.reject(&self.path(key), node, bad, &words);
    }

    /// Key path of one of its keys.
    pub fn path(&self, key: &str) -> String {
        if self.label.is_empty() { key.to_owned() } else { format!("{}.{key}", self.label) }
    }

    fn row_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    fn row(&self, key: &str) -> &'static Row {
        let full = self.row_key(key);
        table::find(&full).unwrap_or_else(|| unreachable!("{full} has a row: proved by tests/table.rs"))
    }

    fn default_text(&self, row: &Row) -> Option<&'static str> {
        match row.default {
            Fallback::Value(text) => Some(text),
            Fallback::ByKind(texts) => Some(match self.kind.get() {
                Some(ListenerKind::Mx) | None => texts[0],
                Some(ListenerKind::Submission) => texts[1],
                Some(ListenerKind::Trusted) => texts[2],
            }),
            Fallback::Unset(_) | Fallback::Required => None,
        }
    }

    fn show(&self, key: &str, node: &Node, line: Option<usize>, default: bool) {
        if self.quiet {
            return;
        }
        // Keys of tables below the heading are shown dotted: sessions.auth.
        let below = self.prefix.split_once('.').map(|(_, rest)| rest);
        let under = match (below, self.heading.is_empty()) {
            (Some(rest), _) => format!("{rest}.{key}"),
            (None, true) => self.path(key),
            (None, false) => key.to_owned(),
        };
        let shown = Shown {
            heading: self.heading.clone(),
            block: self.block.clone(),
            key: under,
            path: self.path(key),
            value: node.value.text(),
            default,
            line,
            stored: false,
        };
        self.findings.shown.borrow_mut().push(shown);
    }
}

/// The section that knows a key which was written into another one.
fn elsewhere(key: &str) -> Option<&'static str> {
    let mut places = table::TABLE.iter().filter_map(|r| {
        let (section, rest) = r.key.split_once('.')?;
        (rest == key).then_some(section)
    });
    let section = places.next()?;
    // Known in several places: naming one would mislead.
    if places.next().is_some() {
        return None;
    }
    table::SECTIONS.iter().find(|(prefix, ..)| *prefix == section).map(|(_, heading, _)| *heading)
}

/// A list, or a single value as a list of one.
pub(crate) fn list(node: &Node) -> &[Node] {
    match &node.value {
        Value::Array(list) => list,
        _ => std::slice::from_ref(node),
    }
}

/// Every element of a list; all bad ones are told, not only the first.
pub(crate) fn each<T>(node: &Node, parse: impl Fn(&Node) -> Result<T, Bad>) -> Result<Vec<T>, Bad> {
    let whole = !matches!(node.value, Value::Array(_));
    gather(list(node).iter().map(|n| parse(n).map_err(|b| if whole { b } else { b.on(n) })))
}

/// The good ones, or all bad ones as one.
pub(crate) fn gather<T>(results: impl Iterator<Item = Result<T, Bad>>) -> Result<Vec<T>, Bad> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => good.push(value),
            Err(why) => bad.push(why),
        }
    }
    if bad.is_empty() {
        return Ok(good);
    }
    let mut first = bad.remove(0);
    first.more.append(&mut bad);
    Err(first)
}

pub(crate) fn text(node: &Node) -> Result<&str, Bad> {
    match &node.value {
        Value::Text(t) if t.chars().any(char::is_control) => Err(Bad::new("holds a control character")),
        Value::Text(t) if t.is_empty() => Err(Bad::new("is empty")),
        Value::Text(t) => Ok(t),
        _ => Err(Bad::new("is not text in quotes")),
    }
}

fn time(node: &Node) -> Result<Duration, Bad> {
    match &node.value {
        Value::Text(t) => units::parse_time(t).ok_or_else(|| Bad::new("is not a time")),
        Value::Integer(i) => {
            Err(Bad::new("is a number without a unit").advise(format!("write \"{i}s\" or \"{i}m\"")))
        }
        _ => Err(Bad::new("is not a time")),
    }
}

fn limit(node: &Node) -> Result<u64, Bad> {
    match &node.value {
        Value::Text(t) if t == "none" => Ok(u64::MAX),
        _ => size(node),
    }
}

fn size(node: &Node) -> Result<u64, Bad> {
    match &node.value {
        Value::Text(t) => units::parse_size(t).ok_or_else(|| Bad::new("is not a size")),
        Value::Integer(i) => u64::try_from(*i).map_err(|_| Bad::new("is not a size")),
        _ => Err(Bad::new("is not a size")),
    }
}
