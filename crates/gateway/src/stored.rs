//! Settings that the store holds: edited in the page and by `vouchsafe settings set`, versioned with who and when.
//!
//! What stands in the file wins and is never touched. Nothing is kept that does not pass the check of the whole; what is
//! kept is in force at once. Proof: `crates/config/src/layers.rs`, `crates/vouchsafe/tests/web.rs`.

use std::sync::{Arc, OnceLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vouchsafe_config::table::{self, Effect, Fallback, Row, Shape};
use vouchsafe_config::{Change, Reading, Settings, Shown, edit};
use vouchsafe_core::Timestamp;
use vouchsafe_core::ports::{SettingsStore, StoreFault};

/// The kind of the store's records that are versions of the settings.
pub const KIND: &str = "settings";
/// Versions kept.
const KEEP: usize = 500;

/// Reads layered settings and puts them in force: the binary's, which knows the file and the listeners.
pub trait SettingsDoor: Send + Sync {
    /// The settings with this stored text beneath the file. Faults are lines for the administrator.
    fn read(&self, stored: &str) -> Result<Reading, Vec<String>>;
    /// Puts them in force.
    fn apply(&self, settings: Settings) -> Result<(), String>;
}

/// A version of the stored settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SettingsVersion")]
pub struct Version {
    /// 1, 2, 3 ...; 0: nothing was ever stored.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Account, token or `command line`.
    pub by: String,
    /// What was changed, a line each: `+ queue.expire = "3d"`.
    pub changes: Vec<String>,
    /// All that is stored, as TOML.
    pub toml: String,
}

/// A change of a setting, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SettingWish")]
pub struct Wish {
    /// Key path: `queue.expire`, `delegate.office.auth`, `domain[example.com].next_hop`.
    pub key: String,
    /// TOML or plain text; `null`: back to what holds without it.
    pub value: Option<String>,
}

/// What a change would mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SettingsDraft")]
pub struct Draft {
    /// What is in force and will not be (`-`), what will be (`+`).
    pub diff: Vec<String>,
    /// Why it cannot be; empty: it can.
    pub faults: Vec<String>,
    /// Worth knowing.
    pub notices: Vec<String>,
}

/// Where a setting's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SettingSource")]
pub enum From {
    /// The settings file or a flag: locked.
    File,
    /// The store.
    Stored,
    /// Nobody has set it.
    Default,
}

/// One setting, with all that is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettingRow {
    /// Key path: `listener[mx].tls`.
    pub path: String,
    /// Its section in the settings table: `listener`.
    pub section: String,
    /// Which block of it: `listener[mx]`, or the section itself.
    pub block: String,
    /// Key within the block.
    pub key: String,
    /// What it does.
    pub help: String,
    /// How to write it.
    pub shape: String,
    /// Its words, if it is one of a few.
    pub choices: Vec<String>,
    /// Value in force as TOML; `null` where nothing is set and there is no default value.
    pub value: Option<String>,
    /// What holds without it.
    pub default: String,
    /// Where the value comes from.
    pub from: From,
    /// Line in the file.
    pub line: Option<usize>,
    /// When a change counts: `live`, `new_sessions`, `restart`.
    pub effect: String,
}

/// The stored settings.
pub struct Stored {
    store: Arc<dyn SettingsStore>,
    door: OnceLock<Arc<dyn SettingsDoor>>,
    changing: tokio::sync::Mutex<()>,
}

impl Stored {
    /// Over the given store, without a door yet.
    pub fn new(store: Arc<dyn SettingsStore>) -> Stored {
        Stored { store, door: OnceLock::new(), changing: tokio::sync::Mutex::default() }
    }

    /// How settings are read and put in force. The first one counts.
    pub fn set_door(&self, door: Arc<dyn SettingsDoor>) {
        let _ = self.door.set(door);
    }

    /// The newest version.
    pub async fn current(&self) -> Result<Version, StoreFault> {
        Ok(self.newest(1).await?.into_iter().next().unwrap_or_default())
    }

    /// All versions that are kept, the newest first.
    pub async fn history(&self) -> Result<Vec<Version>, StoreFault> {
        self.newest(0).await
    }

    /// Every setting, in the order of the settings table.
    pub async fn rows(&self) -> Result<Vec<SettingRow>, Vec<String>> {
        let toml = self.current().await.map_err(fault)?.toml;
        Ok(rows(&self.door()?.read(&toml)?.shown))
    }

    /// What these changes would mean.
    pub async fn draft(&self, wishes: &[Wish]) -> Result<Draft, StoreFault> {
        let current = self.current().await?;
        Ok(match self.made(&current.toml, wishes) {
            Ok((_, draft, _)) => draft,
            Err(faults) => Draft { faults, ..Draft::default() },
        })
    }

    /// Makes the changes, keeps them as a version, puts them in force. Faults are lines; then nothing was changed.
    pub async fn change(&self, wishes: &[Wish], by: &str, now: Timestamp) -> Result<Version, Vec<String>> {
        let _one_at_a_time = self.changing.lock().await;
        let current = self.current().await.map_err(fault)?;
        let (toml, draft, settings) = self.made(&current.toml, wishes)?;
        if toml == current.toml {
            return Err(vec!["nothing would change".to_owned()]);
        }
        self.keep(current.number, toml, draft.diff, settings, by, now).await
    }

    /// Makes the settings what they were in a version; itself a new version.
    pub async fn roll_back(&self, number: u64, by: &str, now: Timestamp) -> Result<Version, Vec<String>> {
        let _one_at_a_time = self.changing.lock().await;
        let history = self.history().await.map_err(fault)?;
        let current = history.first().cloned().unwrap_or_default();
        let wanted = match history.iter().find(|version| version.number == number) {
            Some(version) => version.toml.clone(),
            None if number == 0 => String::new(),
            None => {
                return Err(vec![format!("no version {number}; `vouchsafe settings history` lists them")]);
            }
        };
        let door = self.door()?;
        let after = door.read(&wanted)?;
        // The version in force may be the one that cannot be read.
        let before = door.read(&current.toml).map(|reading| reading.shown).unwrap_or_default();
        let mut changes = vec![format!("back to version {number}")];
        changes.extend(diff(&before, &after.shown));
        self.keep(current.number, wanted, changes, after.settings, by, now).await
    }

    async fn keep(
        &self,
        last: u64,
        toml: String,
        changes: Vec<String>,
        settings: Settings,
        by: &str,
        now: Timestamp,
    ) -> Result<Version, Vec<String>> {
        self.door()?.apply(settings).map_err(|why| vec![why])?;
        let version = Version { number: last + 1, at: now, by: by.to_owned(), changes, toml };
        let text = serde_json::to_string(&version).map_err(|fault| vec![fault.to_string()])?;
        self.store.put_record(KIND, format!("{:010}", version.number), text).await.map_err(fault)?;
        self.store.prune_records(KIND, KEEP).await.map_err(fault)?;
        Ok(version)
    }

    fn made(&self, stored: &str, wishes: &[Wish]) -> Result<(String, Draft, Settings), Vec<String>> {
        let door = self.door()?;
        let mut toml = stored.to_owned();
        let mut faults = Vec::new();
        for Wish { key, value } in wishes {
            match edit(&toml, &Change { key: key.clone(), value: value.clone() }) {
                Ok(edited) => toml = edited,
                Err(fault) => faults.push(fault.to_string()),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let before = door.read(stored).map(|reading| reading.shown).unwrap_or_default();
        let after = door.read(&toml)?;
        let locked = |wish: &&Wish| {
            let there = before.iter().find(|shown| shown.path == wish.key);
            there.is_some_and(|shown| from(shown) == From::File)
        };
        if let Some(Wish { key, .. }) = wishes.iter().find(locked) {
            return Err(vec![format!("{key} stands in the settings file, which wins; change it there")]);
        }
        let notices = after.notices.iter().map(ToString::to_string).collect();
        let draft = Draft { diff: diff(&before, &after.shown), faults: Vec::new(), notices };
        Ok((toml, draft, after.settings))
    }

    async fn newest(&self, count: usize) -> Result<Vec<Version>, StoreFault> {
        let records = self.store.records(KIND, count).await?;
        records.into_iter().map(|(key, text)| read(&key, &text)).collect()
    }

    fn door(&self) -> Result<&Arc<dyn SettingsDoor>, Vec<String>> {
        self.door.get().ok_or_else(|| vec!["the settings of this gateway are fixed".to_owned()])
    }
}

/// The stored text of a version's record.
pub fn toml_of_record(text: &str) -> Result<String, StoreFault> {
    read("", text).map(|version| version.toml)
}

fn read(key: &str, text: &str) -> Result<Version, StoreFault> {
    serde_json::from_str(text)
        .map_err(|fault| StoreFault::Corrupt(format!("settings, version {key}: {fault}")))
}

fn fault(fault: StoreFault) -> Vec<String> {
    vec![fault.to_string()]
}

fn from(shown: &Shown) -> From {
    match (shown.stored, shown.line, shown.default) {
        (true, ..) => From::Stored,
        (false, Some(_), _) | (false, None, false) => From::File,
        (false, None, true) => From::Default,
    }
}

fn diff(before: &[Shown], after: &[Shown]) -> Vec<String> {
    let value = |list: &[Shown], path: &str| {
        list.iter().find(|shown| shown.path == path).map(|shown| shown.value.clone())
    };
    let mut lines = Vec::new();
    for shown in before {
        if value(after, &shown.path).as_ref() != Some(&shown.value) {
            lines.push(format!("- {} = {}", shown.path, shown.value));
            if let Some(now) = value(after, &shown.path) {
                lines.push(format!("+ {} = {now}", shown.path));
            }
        }
    }
    let new = after.iter().filter(|shown| value(before, &shown.path).is_none());
    lines.extend(new.map(|shown| format!("+ {} = {}", shown.path, shown.value)));
    lines
}

/// Every row of the table, once for each block that is there.
fn rows(shown: &[Shown]) -> Vec<SettingRow> {
    let mut rows = Vec::new();
    for (section, heading, _) in table::SECTIONS {
        if section == "endpoint" {
            continue;
        }
        let mut blocks: Vec<&str> = match heading.contains("[[") || heading.contains("NAME") {
            true => {
                shown.iter().filter(|s| section_of(&s.block) == section).map(|s| s.block.as_str()).collect()
            }
            false => vec![section],
        };
        blocks.dedup();
        for block in blocks {
            let of_section = table::TABLE.iter().filter(|row| section_of(row.key) == section);
            let there = of_section.filter(|row| !matches!(row.effect, Effect::Later(_)));
            rows.extend(there.map(|row| setting_row(row, section, block, shown)));
        }
    }
    rows
}

/// The section that a key or a block belongs to; those without a heading of their own are at the top.
fn section_of(key: &str) -> &str {
    let end = key.find(['.', '[']).unwrap_or(key.len());
    let first = &key[..end];
    let known = |name: &str| table::SECTIONS.iter().any(|(section, ..)| *section == name && !name.is_empty());
    if known(first) { first } else { "" }
}

fn setting_row(row: &Row, section: &str, block: &str, shown: &[Shown]) -> SettingRow {
    let key = match section {
        "" => row.key,
        _ => row.key.get(section.len() + 1..).unwrap_or(row.key),
    };
    let path = if block.is_empty() { key.to_owned() } else { format!("{block}.{key}") };
    let found = shown.iter().find(|shown| shown.path == path);
    let kind = || {
        let kind = shown.iter().find(|shown| shown.block == block && shown.key == "kind");
        match kind.map(|kind| kind.value.as_str()) {
            Some("\"submission\"") => 1,
            Some("\"trusted\"") => 2,
            _ => 0,
        }
    };
    SettingRow {
        section: section.to_owned(),
        block: block.to_owned(),
        key: key.to_owned(),
        help: row.help.to_owned(),
        shape: row.shape.words(),
        choices: match row.shape {
            Shape::Choice(words) => words.iter().map(|word| (*word).to_owned()).collect(),
            Shape::Flag => vec!["true".to_owned(), "false".to_owned()],
            _ => Vec::new(),
        },
        value: found.map(|shown| shown.value.clone()),
        default: match row.default {
            Fallback::Value(text) | Fallback::Unset(text) => text.to_owned(),
            Fallback::ByKind(texts) => texts[kind()].to_owned(),
            Fallback::Required => "must be given".to_owned(),
        },
        from: found.map_or(From::Default, from),
        line: found.and_then(|shown| shown.line),
        effect: match row.effect {
            Effect::Live | Effect::Later(_) => "live",
            Effect::NewSessions => "new_sessions",
            Effect::Restart => "restart",
        }
        .to_owned(),
        path,
    }
}
