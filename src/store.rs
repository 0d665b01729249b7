//! The database: pool, migrations, and the writer that commits for many sessions at once.
//! Knows no table's meaning: the modules below own their SQL.
/// Concrete pools, not `AnyPool`. PostgreSQL joins here.
#[derive(Clone, Debug)]
pub enum Db {
    Sqlite(sqlx::SqlitePool),
}
