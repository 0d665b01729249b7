//! The database from outside, by Python's sqlite3: what a disk or another version may have left.

use super::process::run;
use super::sink::PYTHON;
use std::path::Path;
use std::process::Command;

/// Runs statements on a database that nobody has open, and gives the rows of the last one, tab-separated.
pub fn sql(database: &Path, statements: &str) -> Vec<String> {
    const SCRIPT: &str = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        rows = []\nfor s in sys.argv[2].split(';'):\n    rows = c.execute(s).fetchall() if s.strip() else rows\n\
        for r in rows: print('\\t'.join(str(v) for v in r))\nc.close()";
    let mut command = Command::new(PYTHON);
    command.args(["-c", SCRIPT]).arg(database).arg(statements);
    let output = run(&mut command, b"");
    assert!(output.status.success(), "{statements}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Makes the database again as a version of that schema had it, with what its tables can hold of today's rows.
pub fn as_of_schema(database: &Path, schema: usize) {
    const SCRIPT: &str = r#"
import glob, os, sqlite3, sys
path, schema, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
old = path + ".old"
c = sqlite3.connect(old, isolation_level=None)
c.execute("PRAGMA page_size = 4096")
c.execute("PRAGMA auto_vacuum = INCREMENTAL")
for number in range(1, schema + 1):
    c.executescript(open(os.path.join(folder, "%04d.sql" % number)).read())
c.execute("ATTACH ? AS new", (path,))
tables = [r[0] for r in c.execute("SELECT name FROM main.sqlite_schema WHERE type = 'table'")]
for table in tables:
    has = [r[1] for r in c.execute("PRAGMA new.table_info(%s)" % table)]
    columns = ", ".join(r[1] for r in c.execute("PRAGMA main.table_info(%s)" % table) if r[1] in has)
    c.execute("INSERT INTO main.%s (%s) SELECT %s FROM new.%s" % (table, columns, columns, table))
if "sealed" not in tables:
    # Octets had their column beside the keys before they had a table.
    c.execute("UPDATE main.content SET sealed = coalesce((SELECT octets FROM new.sealed s WHERE s.content = id), sealed)")
c.execute("DETACH new")
c.execute("PRAGMA user_version = %d" % schema)
c.execute("PRAGMA journal_mode = WAL").fetchall()
c.close()
for end in ("-wal", "-shm"):
    if os.path.exists(path + end): os.remove(path + end)
os.chmod(old, 0o600)
os.rename(old, path)
"#;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
    let mut command = Command::new(PYTHON);
    command.args(["-c", SCRIPT]).arg(database).arg(schema.to_string()).arg(folder);
    let output = run(&mut command, b"");
    assert!(output.status.success(), "schema {schema}: {}", String::from_utf8_lossy(&output.stderr));
}

/// How many schemas there have been.
pub fn schemas() -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
    std::fs::read_dir(folder).unwrap().count()
}
