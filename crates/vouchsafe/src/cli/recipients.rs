//! `recipients import`: a directory's export becomes a recipient list, for sites that cannot or will not ask a delegate.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use vouchsafe_core::directory::{self, Found};

use super::args::RecipientsCommand;
use super::failure::Failure;
use super::file;
use super::load::plain;
use super::output::{Output, count};

/// Runs the command.
pub fn run(command: RecipientsCommand, out: &mut Output<'_>) -> Result<(), Failure> {
    let RecipientsCommand::Import { file, to, replace } = command;
    let found = import(&file, &to, replace)?;
    Ok(out.give(|| text(&found, &to), || to_json(&found, &to))?)
}

fn import(from: &Path, to: &Path, replace: bool) -> Result<Found, Failure> {
    let octets = fs::read(from).map_err(|fault| {
        Failure::refused(format!("{} cannot be read: {}", from.display(), plain(&fault)), "name an export")
    })?;
    let found = directory::read(&octets).map_err(|why| {
        let advice = "export mail and proxyAddresses as CSV with column names, or as LDIF";
        Failure::refused(format!("{} {why}", from.display()), advice)
    })?;
    // An empty list would refuse everybody.
    if found.addresses.is_empty() {
        let advice = "export mail and proxyAddresses";
        return Err(Failure::refused(format!("{} holds no address", from.display()), advice));
    }
    if to.exists() && !replace {
        let what = format!("{} is there already", to.display());
        return Err(Failure::refused(what, "name another list, or write over it with --replace"));
    }
    let about = format!("{}, imported from {}", addresses(&found), from.display());
    let list = directory::list(found.addresses.iter().map(String::as_str), &about);
    file::replace(to, &list).map_err(|fault| {
        let what = format!("{} cannot be written: {}", to.display(), plain(&fault));
        Failure::refused(what, "name a file in a folder that you may write to")
    })?;
    Ok(found)
}

fn addresses(found: &Found) -> String {
    count(found.addresses.len() as u64, "address", "addresses")
}

fn text(found: &Found, to: &Path) -> String {
    let mut out = format!("{} in {}.\n", addresses(found), to.display());
    if found.odd_count > 0 {
        let values = count(found.odd_count as u64, "value is no address", "values are no addresses");
        out.push_str(&format!("{values}:\n"));
        for (line, value) in &found.odd {
            out.push_str(&format!("  line {line}: {value}\n"));
        }
    }
    out.push_str(&format!("In the settings of a domain: recipients = [\"list:{}\"]\n", to.display()));
    out
}

fn to_json(found: &Found, to: &Path) -> Value {
    let odd: Vec<Value> =
        found.odd.iter().map(|(line, value)| json!({ "line": line, "value": value })).collect();
    json!({ "list": to, "addresses": found.addresses.len(), "odd": found.odd_count, "odd_values": odd })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_becomes_a_list_and_a_list_is_not_written_over_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("users.csv"), dir.path().join("recipients"));
        fs::write(&from, "name,mail\nBob,Bob@example.com\nOdd,odd\n").unwrap();
        let found = import(&from, &to, false).unwrap();
        let list = format!("# 1 address, imported from {}\nbob@example.com\n", from.display());
        assert_eq!(fs::read_to_string(&to).unwrap(), list);
        let said = text(&found, Path::new("/etc/list"));
        let expected = "\
1 address in /etc/list.
1 value is no address:
  line 3: odd
In the settings of a domain: recipients = [\"list:/etc/list\"]
";
        assert_eq!(said, expected);
        assert!(import(&from, &to, false).unwrap_err().to_string().contains("is there already"));
        assert!(import(&from, &to, true).is_ok());
        assert_eq!(to_json(&found, &to)["addresses"], 1);
    }

    #[test]
    fn an_export_without_addresses_leaves_the_list_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("users.csv"), dir.path().join("recipients"));
        fs::write(&to, "bob@example.com\n").unwrap();
        for text in ["name,mail\nBob,\n", "name\nBob\n", ""] {
            fs::write(&from, text).unwrap();
            assert!(import(&from, &to, true).is_err(), "{text}");
        }
        assert_eq!(fs::read_to_string(&to).unwrap(), "bob@example.com\n");
    }
}
