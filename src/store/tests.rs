use super::*;
use sqlx::SqliteConnection;

struct Insert(&'static str);

impl Write for Insert {
    type Output = ();
    fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            sqlx::query("INSERT INTO setting (name, value) VALUES (?, 'x')").bind(self.0).execute(tx).await?;
            Ok(())
        })
    }
}

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("segel.db")).await.unwrap();
    (folder, store)
}

async fn names(store: &Store) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM setting ORDER BY name").fetch_all(store.readers()).await.unwrap()
}

#[tokio::test]
async fn c01_many_jobs_share_one_flush_and_a_bad_one_hurts_only_itself() {
    let (_folder, store) = store().await;
    let before = store.commits();
    let jobs = ["a", "b", "c", "a", "d"].map(|name| store.write(Insert(name)));
    let [a, b, c, again, d] = jobs;
    let (a, b, c, again, d) = tokio::join!(a, b, c, again, d);
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    assert!(matches!(again, Err(StoreError::Sql(_))), "{again:?}");
    assert_eq!(names(&store).await, ["a", "b", "c", "d"]);
    // The batch failed as a whole, then each good job was committed alone.
    assert_eq!(store.commits() - before, 4);

    const NAMES: [&str; 6] = ["e", "f", "g", "h", "i", "j"];
    let before = store.commits();
    let [e, f, g, h, i, j] = NAMES.map(|name| store.write(Insert(name)));
    let done = tokio::join!(e, f, g, h, i, j);
    assert!(done.0.is_ok() && done.5.is_ok());
    assert_eq!(store.commits() - before, 1, "one flush for all");
    assert_eq!(names(&store).await.len(), 10);
}

#[tokio::test]
async fn jobs_are_done_before_closing_and_refused_after() {
    let (_folder, store) = store().await;
    let other = store.clone();
    store.write(Insert("a")).await.unwrap();
    store.close().await;
    assert!(matches!(other.write(Insert("b")).await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (folder, store) = store().await;
    store.close().await;
    let path = folder.path().join("segel.db");
    let mut connection = writer::connect(&options(&path)).await.unwrap();
    sqlx::query("PRAGMA user_version = 99").execute(&mut connection).await.unwrap();
    drop(connection);
    assert!(matches!(Store::open(&path).await, Err(StoreError::NewerSchema { found: 99, .. })));
}

#[tokio::test]
async fn an_older_schema_is_brought_up_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.db");
    let mut connection = writer::connect(&options(&path)).await.unwrap();
    sqlx::raw_sql(include_str!("migrations/0001.sql")).execute(&mut connection).await.unwrap();
    let row = "INSERT INTO certificate (sha256, der, trust, source, added) VALUES (x'00', x'01', 'seen', 'mail', 7); \
               PRAGMA user_version = 1";
    sqlx::raw_sql(row).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let store = Store::open(&path).await.unwrap();
    let found: (i64, Option<Vec<u8>>) =
        sqlx::query_as("SELECT added, capabilities FROM certificate").fetch_one(store.readers()).await.unwrap();
    assert_eq!(found, (7, None));
    store.close().await;
    Store::open(&path).await.unwrap();
}

#[tokio::test]
async fn the_measured_settings_hold() {
    let (_folder, store) = store().await;
    struct Pragmas;
    impl Write for Pragmas {
        type Output = Vec<String>;
        fn apply<'a>(&'a self, tx: &'a mut SqliteConnection) -> BoxFuture<'a, Result<Vec<String>, sqlx::Error>> {
            Box::pin(async move {
                let mut values = Vec::new();
                for name in ["journal_mode", "synchronous", "page_size", "wal_autocheckpoint", "auto_vacuum"]
                    .into_iter()
                    .chain(["secure_delete", "foreign_keys"])
                {
                    let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
                    let row = sqlx::query(sql).fetch_one(&mut *tx).await?;
                    let number = sqlx::Row::try_get::<i64, _>(&row, 0).map(|number| number.to_string());
                    values.push(number.or_else(|_| sqlx::Row::try_get(&row, 0))?);
                }
                Ok(values)
            })
        }
    }
    assert_eq!(store.write(Pragmas).await.unwrap(), ["wal", "2", "4096", "4000", "2", "1", "1"]);
}

#[test]
fn a_data_directory_is_locked_once() {
    let folder = tempfile::tempdir().unwrap();
    let lock = Lock::take(folder.path()).unwrap();
    assert!(matches!(Lock::take(folder.path()), Err(LockError::Held(_))));
    drop(lock);
    // A program that another test starts holds a copy of every open file until it runs: give it time.
    let again = (0..500).any(|_| {
        let taken = Lock::take(folder.path()).is_ok();
        if !taken {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        taken
    });
    assert!(again);
}
