//! Pairs of bad settings and what is said of them: `bad/NAME.toml`, `bad/NAME.err`.
//! `UPDATE=1 cargo test -p vouchsafe-config --test bad` writes the .err files; read their diff.

mod common;

use common::World;

#[test]
fn every_bad_file_is_told_all_its_faults() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bad");
    let mut seen = 0;
    let mut wrong = String::new();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "toml")) {
        seen += 1;
        let text = std::fs::read_to_string(path).unwrap();
        let said = match vouchsafe_config::parse(&text, &World) {
            Ok(_) => {
                wrong.push_str(&format!("{} is good\n", path.display()));
                continue;
            }
            Err(faults) => faults.iter().map(|f| format!("{f}\n")).collect::<String>(),
        };
        let expected_path = path.with_extension("err");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected_path, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected {
            wrong.push_str(&format!("{}\nsaid:\n{said}expected:\n{expected}\n", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(seen >= 25, "{seen} bad files");
}
