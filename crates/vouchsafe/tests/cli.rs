//! The real binary as a shell meets it: exit codes, what goes to standard output, what to standard error.

mod support;

use std::path::Path;
use std::process::Command;

fn vouchsafe(dir: &Path, words: &str, input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vouchsafe"));
    command.args(words.split(' ')).current_dir(dir);
    support::finish(command, input)
}

#[test]
fn users_are_added_before_the_first_start_and_their_passwords_come_from_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let run = |words, input| vouchsafe(dir.path(), words, input);
    assert_eq!(run("users add alice", "secret\n"), (0, "User alice added.\n".into(), String::new()));
    let (code, _, said) = run("users add alice", "secret\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("vouchsafe: user alice is there; "), "{said}");
    let (code, listed, _) = run("users list --json", "");
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&listed).unwrap()[0]["name"], "alice");
    assert!(!listed.contains("argon2"), "{listed}");
    assert_eq!(run("users remove alice", "").0, 0);
    assert_eq!(run("users remove alice", "").0, 1);
    assert_eq!(
        run("users add bob", "\n").2,
        "vouchsafe: the password is empty; give one on standard input\n"
    );
    assert_eq!(run("users add bob hunter2", "").0, 2);
}

#[test]
fn a_question_makes_no_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    for words in ["queue list", "status", "history", "users list"] {
        let (code, _, said) = vouchsafe(dir.path(), words, "");
        assert_eq!(code, 1, "{words}");
        assert!(said.starts_with("vouchsafe: there is no gateway's data in ./vouchsafe-data; "), "{said}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn check_tells_every_fault_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "[[listener]]\nname = \"mx\"\nkind = \"mxx\"\naddress = \"127.0.0.1:2525\"\n[queue]\nexpire = 5\n";
    std::fs::write(dir.path().join("bad.toml"), text).unwrap();
    let (code, out, said) = vouchsafe(dir.path(), "check --config bad.toml", "");
    assert_eq!((code, out.as_str()), (1, "2 faults.\n"));
    let expected = "\
vouchsafe: bad.toml, line 3: listener[mx].kind = \"mxx\": is none of its words; did you mean \"mx\"?
vouchsafe: bad.toml, line 6: queue.expire = 5: is a number without a unit; write \"5s\" or \"5m\"
";
    assert_eq!(said, expected);
    // The same words from whoever else reads the file.
    for words in ["serve --config bad.toml", "queue list --config bad.toml"] {
        let (code, _, said) = vouchsafe(dir.path(), words, "");
        assert_eq!((code, said.as_str()), (1, expected), "{words}");
    }
}

#[test]
fn an_export_of_flags_checks_well() {
    let dir = tempfile::tempdir().unwrap();
    let flags = "settings export --delegate 127.0.0.1:2599 --next-hop 127.0.0.1:2598 --domain example.com";
    let (code, toml, _) = vouchsafe(dir.path(), flags, "");
    assert_eq!(code, 0);
    std::fs::write(dir.path().join("good.toml"), toml).unwrap();
    let (code, out, said) = vouchsafe(dir.path(), "check --config good.toml --json", "");
    assert_eq!(code, 0, "{said}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["good"], true);
}

#[test]
fn misuse_ends_with_2_and_help_with_0() {
    let dir = tempfile::tempdir().unwrap();
    for (words, code) in
        [("frobnicate", 2), ("queue", 2), ("queue show xx", 2), ("--help", 0), ("--version", 0)]
    {
        assert_eq!(vouchsafe(dir.path(), words, "").0, code, "{words}");
    }
}
