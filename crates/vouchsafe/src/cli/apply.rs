//! Writes a delegate's settings into the settings file: every other line and comment stays, nothing is overwritten, and
//! what would not pass `check` is not written at all.

use std::fs;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::failure::Failure;
use super::file;
use super::load::plain;
use crate::lookup::Machine;

/// Refuses a name that is there already: before anyone is asked anything.
pub fn check_name(path: &Path, name: &str) -> Result<(), Failure> {
    let document = read(path)?;
    match delegates(&document).is_some_and(|delegates| delegates.contains_key(name)) {
        true => Err(Failure::refused(
            format!("{} has a delegate.{name}", path.display()),
            "give the new one another name with --name NAME",
        )),
        false => Ok(()),
    }
}

/// Adds `[delegate.NAME]`; `lines` are the doctor's.
pub fn delegate(path: &Path, name: &str, lines: &str) -> Result<(), Failure> {
    check_name(path, name)?;
    let text = with_delegate(read(path)?, name, lines).ok_or_else(|| {
        Failure::refused("the delegates do not stand in tables", "paste the settings by hand")
    })?;
    if let Err(faults) = vouchsafe_config::read(&text, &Machine) {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        return Err(Failure::refused(
            format!("{} would not be good: {}", path.display(), told.join("; ")),
            "mend it, or paste the settings by hand",
        ));
    }
    file::replace(path, &text).map_err(|fault| {
        Failure::refused(
            format!("{} cannot be written: {}", path.display(), plain(&fault)),
            "paste the settings by hand",
        )
    })
}

fn read(path: &Path) -> Result<DocumentMut, Failure> {
    let text = fs::read_to_string(path).map_err(|fault| {
        Failure::refused(
            format!("{} cannot be read: {}", path.display(), plain(&fault)),
            "name a settings file",
        )
    })?;
    text.parse().map_err(|_| {
        Failure::refused(format!("{} is not TOML", path.display()), "vouchsafe check tells the line")
    })
}

fn delegates(document: &DocumentMut) -> Option<&dyn TableLike> {
    document.get("delegate").and_then(Item::as_table_like)
}

fn with_delegate(mut document: DocumentMut, name: &str, lines: &str) -> Option<String> {
    let mut fresh: DocumentMut = lines.parse().ok()?;
    let Item::Table(mut made) = fresh.get_mut("delegate")?.as_table_mut()?.remove(name)? else { return None };
    // Behind what stands there, a blank line between.
    made.set_position(None);
    made.decor_mut().set_prefix("\n");
    let parent = document.entry("delegate").or_insert_with(|| {
        let mut parent = Table::new();
        parent.set_implicit(true);
        Item::Table(parent)
    });
    parent.as_table_mut()?.insert(name, Item::Table(made));
    Some(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "\
# ours
hostname = \"gw.example.com\"    # stays

[[listener]]
name = \"mx\"
kind = \"mx\"
address = \"127.0.0.1:2525\"

# the end
";
    const LINES: &str = "\
[delegate.office]
# Nobody answers for logins here.
recipients = { host = \"mail.example.com:25\", tls = \"opportunistic\" }
";

    #[test]
    fn comments_stay_and_the_delegate_is_added() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vouchsafe.toml");
        fs::write(&file, BEFORE).unwrap();
        delegate(&file, "office", LINES).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# ours\nhostname = \"gw.example.com\"    # stays\n"), "{text}");
        assert!(text.contains("# the end\n"), "{text}");
        assert!(text.contains(LINES), "{text}");
        let second = LINES.replace("office", "other");
        delegate(&file, "other", &second).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&second) && text.contains(LINES), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_is_there_is_refused_and_the_file_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vouchsafe.toml");
        let before = format!("{BEFORE}[delegate.office]\nhost = \"mail.example.com\"\n");
        fs::write(&file, &before).unwrap();
        let failure = delegate(&file, "office", LINES).unwrap_err();
        assert!(
            failure
                .to_string()
                .ends_with("has a delegate.office; give the new one another name with --name NAME")
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }

    #[test]
    fn what_would_not_pass_the_check_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vouchsafe.toml");
        fs::write(&file, BEFORE).unwrap();
        let odd = LINES.replace("office", "the_office").replace("opportunistic", "sometimes");
        assert!(delegate(&file, "the_office", &odd).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), BEFORE);
    }
}
