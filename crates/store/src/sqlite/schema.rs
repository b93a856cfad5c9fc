//! Opening the databases: pragmas, numbered forward-only migrations, the copy before each.
//!
//! A schema newer than this program is refused in words, never touched. Proof: the tests below.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::OpenFault;

/// Migrations of `queue.db`; the n-th makes version n. A change is a new file, never an edit.
pub const QUEUE: &[&str] = &[
    include_str!("migrations/queue_0001.sql"),
    include_str!("migrations/queue_0002.sql"),
    include_str!("migrations/queue_0003.sql"),
    include_str!("migrations/queue_0004.sql"),
    include_str!("migrations/queue_0005.sql"),
    include_str!("migrations/queue_0006.sql"),
    include_str!("migrations/queue_0007.sql"),
    include_str!("migrations/queue_0008.sql"),
];
/// Migrations of `history.db`.
pub const HISTORY: &[&str] = &[
    include_str!("migrations/history_0001.sql"),
    include_str!("migrations/history_0002.sql"),
    include_str!("migrations/history_0003.sql"),
    include_str!("migrations/history_0004.sql"),
];

/// Opens a database to write. `synchronous`: FULL makes each commit durable (in WAL mode nothing less does).
pub fn open(path: &Path, synchronous: &str, migrations: &[&str]) -> Result<Connection, OpenFault> {
    let fault =
        |error: rusqlite::Error| OpenFault::Database { path: path.to_owned(), error: error.to_string() };
    let mut connection = connect(path, synchronous).map_err(fault)?;
    migrate(&mut connection, path, migrations, fault)?;
    Ok(connection)
}

/// A connection to write with.
pub fn connect(path: &Path, synchronous: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::default())?;
    // auto_vacuum can be chosen only before the first table. Checkpoints are the writer's business.
    connection.execute_batch(&format!(
        "PRAGMA busy_timeout = 5000;
         PRAGMA auto_vacuum = INCREMENTAL;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         PRAGMA cache_size = -3072;
         PRAGMA foreign_keys = OFF;"
    ))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// A connection that only reads.
pub fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -1024; PRAGMA query_only = ON;")?;
    Ok(connection)
}

fn migrate(
    connection: &mut Connection,
    path: &Path,
    migrations: &[&str],
    fault: impl Fn(rusqlite::Error) -> OpenFault,
) -> Result<(), OpenFault> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&fault)?;
    // Not ours, or damaged, if it is negative: refused like a later one.
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let known = migrations.len();
    if found > known {
        return Err(OpenFault::Newer { path: path.to_owned(), found, known });
    }
    if found > 0 && found < known {
        copy(connection, path, found)?;
    }
    for (version, step) in (1i64..).zip(migrations).skip(found) {
        let transaction = connection.transaction().map_err(&fault)?;
        transaction.execute_batch(step).map_err(&fault)?;
        transaction.pragma_update(None, "user_version", version).map_err(&fault)?;
        transaction.commit().map_err(&fault)?;
    }
    Ok(())
}

/// Where the copy of a database of this version is kept.
fn copy_path(path: &Path, version: usize) -> PathBuf {
    path.with_extension(format!("db.v{version}"))
}

fn copy(connection: &Connection, path: &Path, version: usize) -> Result<(), OpenFault> {
    let copy = copy_path(path, version);
    let fault = |error: String| OpenFault::Disk { path: copy.clone(), error };
    match std::fs::remove_file(&copy) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fault(error.to_string())),
        _ => {}
    }
    connection
        .execute("VACUUM INTO ?1", [copy.to_string_lossy()])
        .map_err(|error| fault(error.to_string()))?;
    tracing::info!(copy = %copy.display(), "kept a copy of the database before changing its schema");
    Ok(())
}

#[cfg(test)]
mod tests {
    use vouchsafe_core::links::{LinkSecret, SHARED};
    use vouchsafe_core::recipe::{Piece, Recipe, SlotCoding};

    use super::super::{shares, tables};
    use super::*;

    const FIRST: &str = "CREATE TABLE note (text TEXT NOT NULL) STRICT;";
    const SECOND: &str = "ALTER TABLE note ADD COLUMN at INTEGER NOT NULL DEFAULT 7;";

    #[test]
    fn an_older_database_is_copied_then_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let old = open(&path, "FULL", &[FIRST]).unwrap();
        old.execute("INSERT INTO note VALUES ('kept')", []).unwrap();
        drop(old);
        let new = open(&path, "FULL", &[FIRST, SECOND]).unwrap();
        let row: (String, i64) =
            new.query_row("SELECT text, at FROM note", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, ("kept".to_owned(), 7));
        let copy = connect_to_read(&copy_path(&path, 1)).unwrap();
        let text: String = copy.query_row("SELECT * FROM note", [], |row| row.get(0)).unwrap();
        assert_eq!(text, "kept");
    }

    #[test]
    fn every_version_that_ever_was_becomes_the_newest() {
        for (name, migrations) in [("queue.db", QUEUE), ("history.db", HISTORY)] {
            let shape = |at: &Path| -> Vec<String> {
                let connection = connect_to_read(at).unwrap();
                let mut rows = connection
                    .prepare("SELECT name || ': ' || sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY name")
                    .unwrap();
                rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
            };
            let dir = tempfile::tempdir().unwrap();
            let newest = dir.path().join(name);
            drop(open(&newest, "FULL", migrations).unwrap());
            for version in 1..migrations.len() {
                let path = dir.path().join(format!("{version}-{name}"));
                drop(open(&path, "FULL", &migrations[..version]).unwrap());
                drop(open(&path, "FULL", migrations).unwrap());
                assert_eq!(shape(&path), shape(&newest), "{name} from version {version}");
            }
        }
    }

    #[test]
    fn forms_of_an_older_queue_stay_with_their_deliveries_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        let old = open(&path, "FULL", &QUEUE[..7]).unwrap();
        let (secret, recipe) =
            (LinkSecret::new([7; 32]), Recipe::new(vec![Piece::Slot(SlotCoding::Plain)]).unwrap());
        let token = secret.token(SHARED).hash();
        old.execute_batch(
            r#"INSERT INTO message (id, received_at, size, first, deliveries, meta, length, link_key, sharing)
                   VALUES (x'01900000000070008000000000000001', 1, 100, 1, 3, '{"s":"","l":"","f":"a@b.test"}', 90, x'', '"all"');
               INSERT INTO delivery (id, message, first, deliveries, route, attempts, due, pending, held, recipients)
                   SELECT id, x'01900000000070008000000000000001', 1, 3, route, 0, 1, 1, 0, '[{"i":0,"a":"c@d.test"}]'
                   FROM (SELECT 1 AS id, 'domain:one.example' AS route UNION VALUES (2, 'relay'), (3, 'domain:two.example'));
               INSERT INTO share (message, created, expires, sender, owner, domain, size, known, hold, access, reminded, receipted, asked)
                   VALUES (x'01900000000070008000000000000001', 1, 9, '', '', '', 5, 1, 0, 'link', 0, 0, 0);
               INSERT INTO blob (name, sha256, size, key, doomed, created) VALUES ('b', zeroblob(32), 5, x'', 0, 1);
               INSERT INTO attachment VALUES (x'01900000000070008000000000000001', 0, 'b', 'a.pdf', 'application/pdf', 0);"#,
        )
        .unwrap();
        old.execute("UPDATE message SET link_key = ?1", [secret.octets().as_slice()]).unwrap();
        for route in ["domain:one.example", "relay"] {
            let row = rusqlite::params![route, recipe.encode()];
            old.execute("INSERT INTO form SELECT id, ?1, 90, ?2 FROM message", row).unwrap();
        }
        let link =
            "INSERT INTO link (token, message, recipients, downloads) SELECT ?1, id, '[]', 0 FROM message";
        old.execute(link, [token.0.as_slice()]).unwrap();
        drop(old);

        let new = open(&path, "FULL", QUEUE).unwrap();
        let form = |id| tables::load(&new, id).unwrap().unwrap().form;
        let (one, relay) = (form(1).unwrap(), form(2).unwrap());
        assert_eq!((one.number, one.content, &one.recipe), (0, 90, &recipe));
        assert_eq!((&relay, form(3)), (&one, None));
        assert_eq!(one.link("", 0), format!("/{}", secret.token(SHARED)), "links that are out stay good");
        let landing = shares::landing(&new, token).unwrap().unwrap();
        assert_eq!((landing.share.files.len(), &landing.share.links[0].files), (1, &None));
    }

    #[test]
    fn a_newer_database_is_refused_in_words_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("queue.db");
        drop(open(&path, "FULL", &[FIRST, SECOND]).unwrap());
        let refusal = open(&path, "FULL", &[FIRST]).unwrap_err();
        assert!(refusal.to_string().contains("version 2"), "{refusal}");
        open(&path, "FULL", &[FIRST, SECOND]).unwrap();
    }

    #[test]
    fn tables_are_strict_and_space_can_be_given_back() {
        let dir = tempfile::tempdir().unwrap();
        for (name, migrations) in [("queue.db", QUEUE), ("history.db", HISTORY)] {
            let connection = open(&dir.path().join(name), "FULL", migrations).unwrap();
            let vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
            assert_eq!(vacuum, 2);
            let lax: i64 = connection
                .query_row("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite_%'", [], |row| row.get(0))
                .unwrap();
            assert_eq!(lax, 0);
        }
    }
}
