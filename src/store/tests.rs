use super::*;

struct Insert(&'static str);

impl Write for Insert {
    type Output = ();
    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        tx.execute("INSERT INTO setting (name, value) VALUES (?, 'x')", &values![self.0]).map(|_| ())
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

/// Keeps the writer busy until it is told to go on.
struct Gate(std::sync::Mutex<std::sync::mpsc::Receiver<()>>);

impl Write for Gate {
    type Output = ();
    fn apply(&self, _tx: &mut Tx<'_>) -> Result<(), TxError> {
        self.0.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
        Ok(())
    }
}

/// The writer is in a transaction that ends when the answer is used.
async fn busy(store: &Store) -> std::sync::mpsc::Sender<()> {
    let (go_on, wait) = std::sync::mpsc::channel();
    let (other, before) = (store.clone(), store.generation().load(Ordering::SeqCst));
    tokio::spawn(async move { other.write(Gate(std::sync::Mutex::new(wait))).await.unwrap() });
    while store.generation().load(Ordering::SeqCst) == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    go_on
}

#[tokio::test]
async fn c01_many_jobs_share_one_flush_and_a_bad_one_hurts_only_itself() {
    let (_folder, store) = store().await;
    let gate = busy(&store).await;
    let before = store.commits();
    let jobs = ["a", "b", "c", "a", "d"].map(|name| store.write(Insert(name)));
    let [a, b, c, again, d] = jobs;
    let go_on = async { gate.send(()).unwrap() };
    let (a, b, c, again, d, ()) = tokio::join!(a, b, c, again, d, go_on);
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    assert!(matches!(again, Err(StoreError::Sql(_))), "{again:?}");
    assert_eq!(names(&store).await, ["a", "b", "c", "d"]);
    // The batch failed as a whole, then each good job was committed alone; before them, what they had waited for.
    assert_eq!(store.commits() - before, 5);

    const NAMES: [&str; 6] = ["e", "f", "g", "h", "i", "j"];
    let gate = busy(&store).await;
    let before = store.commits();
    let [e, f, g, h, i, j] = NAMES.map(|name| store.write(Insert(name)));
    let go_on = async { gate.send(()).unwrap() };
    let done = tokio::join!(e, f, g, h, i, j, go_on);
    assert!(done.0.is_ok() && done.5.is_ok());
    assert_eq!(store.commits() - before, 2, "one flush for all, after what they had waited for");
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
async fn opening_a_store_that_is_there_writes_nothing() {
    let (folder, store) = store().await;
    store.write(Insert("a")).await.unwrap();
    let log = || std::fs::metadata(folder.path().join("segel.db-wal")).unwrap().len();
    let before = log();
    let path = folder.path().join("segel.db");
    let other = Store::open_current(&path).await.unwrap();
    for one in [&store, &other] {
        let found: i64 = sqlx::query_scalar("SELECT count(*) FROM setting").fetch_one(one.readers()).await.unwrap();
        assert!(found > 0);
    }
    backup::close(backup::unchecked(&path).await.unwrap()).await;
    assert_eq!(log(), before, "a full disk must not keep anybody from looking");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (folder, store) = store().await;
    store.close().await;
    let path = folder.path().join("segel.db");
    let connection = writer::connect(&path, true).unwrap();
    connection.execute_batch("PRAGMA user_version = 1000").unwrap();
    drop(connection);
    assert!(matches!(Store::open(&path).await, Err(StoreError::NewerSchema { found: 1000, known: 8 })));
}

#[tokio::test]
async fn an_older_schema_is_brought_up_and_keeps_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segel.db");
    let connection = writer::connect(&path, true).unwrap();
    connection.execute_batch(include_str!("migrations/0001.sql")).unwrap();
    let row = "INSERT INTO certificate (sha256, der, trust, source, added) VALUES (x'00', x'01', 'seen', 'mail', 7); \
               PRAGMA user_version = 1";
    connection.execute_batch(row).unwrap();
    connection.close().unwrap();
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
        fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, TxError> {
            let mut values = Vec::new();
            for name in ["journal_mode", "synchronous", "page_size", "wal_autocheckpoint", "auto_vacuum"]
                .into_iter()
                .chain(["secure_delete", "foreign_keys", "temp_store"])
            {
                let sql = format!("PRAGMA {name}");
                let number = tx.one(&sql, &[]).map(|(number,): (i64,)| number.to_string());
                values.push(number.or_else(|_| tx.one(&sql, &[]).map(|(text,)| text))?);
            }
            Ok(values)
        }
    }
    assert_eq!(store.write(Pragmas).await.unwrap(), ["wal", "2", "4096", "4000", "2", "1", "1", "2"]);
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

/// A job that a test writes down where it uses it.
struct Do<T>(fn(&mut Tx<'_>) -> Result<T, TxError>, Urgency);

impl<T: Send + 'static> Write for Do<T> {
    type Output = T;
    fn apply(&self, tx: &mut Tx<'_>) -> Result<T, TxError> {
        (self.0)(tx)
    }
    fn urgency(&self) -> Urgency {
        self.1
    }
}

#[tokio::test]
async fn values_come_back_as_they_went_and_to_the_place_of_their_number() {
    let (_folder, store) = store().await;
    type Columns = (i64, Option<String>, Vec<u8>, Option<i64>, bool);
    let read = |tx: &mut Tx<'_>| -> Result<Columns, TxError> {
        let values = values![7_i64, None::<&str>, &[1_u8, 0, 255], Some("x".len() as u32), true];
        tx.one("SELECT $1, $2, $3, $4, $5", &values)
    };
    let row = store.write(Do(read, Urgency::Now)).await.unwrap();
    assert_eq!(row, (7, None, vec![1, 0, 255], Some(1), true));
    let turned = |tx: &mut Tx<'_>| tx.one::<(String, String)>("SELECT $2, $1 WHERE $2 = 'b'", &values!["a", "b"]);
    assert_eq!(store.write(Do(turned, Urgency::Now)).await.unwrap(), ("b".to_owned(), "a".to_owned()));

    let few = |tx: &mut Tx<'_>| tx.execute("DELETE FROM setting WHERE name = ? AND value = ?", &values!["a"]);
    let many = |tx: &mut Tx<'_>| tx.execute("DELETE FROM setting WHERE name = ?", &values!["a", "b"]);
    let kind = |tx: &mut Tx<'_>| tx.one::<(String,)>("SELECT 1", &[]).map(|_| 0);
    let none = |tx: &mut Tx<'_>| tx.one::<(i64,)>("SELECT 1 WHERE 0", &[]).map(|_| 0);
    type Change = fn(&mut Tx<'_>) -> Result<u64, TxError>;
    let jobs: [(Change, &str); 4] = [
        (few, "expected 2 values, found 1"),
        (many, "expected 1 values, found 2"),
        (kind, "column 0: expected text, found Integer"),
        (none, "expected a row, found none"),
    ];
    for (job, text) in jobs {
        let StoreError::Sql(cause) = store.write(Do(job, Urgency::Now)).await.unwrap_err() else { panic!("{text}") };
        assert_eq!(cause.to_string(), text);
    }
}

#[tokio::test]
async fn overwriting_begins_again_after_what_is_deleted_as_it_lies() {
    let (_folder, store) = store().await;
    store.write(Insert("a")).await.unwrap();
    let scrubs = |tx: &mut Tx<'_>| tx.one::<(i64,)>("PRAGMA secure_delete", &[]);
    let deletes = |tx: &mut Tx<'_>| tx.delete_as_it_lies("DELETE FROM setting", &[]);
    assert_eq!(store.write(Do(deletes, Urgency::Now)).await.unwrap(), 1);
    assert_eq!(store.write(Do(scrubs, Urgency::Now)).await.unwrap(), (1,));
    let fails = |tx: &mut Tx<'_>| tx.delete_as_it_lies("DELETE FROM nothing", &[]);
    assert!(store.write(Do(fails, Urgency::Now)).await.is_err());
    // Another text: a prepared pragma would say what it said before.
    let scrubs = |tx: &mut Tx<'_>| tx.one::<(i64,)>("PRAGMA main.secure_delete", &[]);
    assert_eq!(store.write(Do(scrubs, Urgency::Now)).await.unwrap(), (1,));
}

#[tokio::test]
async fn what_may_wait_shares_a_flush_and_does_not_wait_for_ever() {
    let (_folder, store) = store().await;
    let insert = |tx: &mut Tx<'_>| tx.execute("INSERT INTO setting (name, value) VALUES (random(), 'x')", &[]);
    let gate = busy(&store).await;
    let before = store.commits();
    let soon = || store.write(Do(insert, Urgency::Soon));
    let (a, b, c, ()) = tokio::join!(soon(), soon(), store.write(Insert("now")), async { gate.send(()).unwrap() });
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(store.commits() - before, 2, "what they had waited for, and all of them");
    let alone = tokio::time::timeout(Duration::from_secs(10), soon()).await;
    assert_eq!(alone.unwrap().unwrap(), 1);
    assert_eq!(store.commits() - before, 3);
}

#[tokio::test]
async fn a_database_that_is_gone_after_an_error_of_the_disk_is_not_made_anew() {
    let (folder, store) = store().await;
    store.write(Insert("a")).await.unwrap();
    // After this the writer trusts its connection no more: the next job finds another one.
    let fails = |_: &mut Tx<'_>| -> Result<(), TxError> {
        // SQLITE_IOERR_FSYNC
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(10 | 4 << 8), None).into())
    };
    let failed = store.write(Do(fails, Urgency::Now)).await;
    assert!(matches!(failed, Err(StoreError::Io(_))), "{failed:?}");
    let (database, aside) = (folder.path().join("segel.db"), folder.path().join("aside"));
    std::fs::rename(&database, &aside).unwrap();
    for _ in 0..2 {
        assert!(store.write(Insert("b")).await.is_err());
        assert!(!database.exists(), "an empty one in its place would be served");
    }
    std::fs::rename(&aside, &database).unwrap();
    store.write(Insert("c")).await.unwrap();
    assert_eq!(names(&store).await, ["a", "c"]);
}

#[tokio::test]
async fn a_defect_in_a_job_closes_the_store_and_nobody_hangs() {
    let (_folder, store) = store().await;
    let other = store.clone();
    let defect = |_: &mut Tx<'_>| -> Result<(), TxError> { panic!("a defect") };
    let ended = tokio::time::timeout(Duration::from_secs(10), async move {
        assert!(matches!(store.write(Do(defect, Urgency::Now)).await, Err(StoreError::Closed)));
        assert!(matches!(other.write(Insert("a")).await, Err(StoreError::Closed)));
        store.close().await;
        other.close().await;
    });
    ended.await.unwrap();
}

#[test]
fn result_codes_say_whether_trying_again_makes_sense() {
    let cause = || -> Cause { Arc::new(TxError::NoRow) };
    // SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_READONLY, SQLITE_BUSY_SNAPSHOT, SQLITE_CONSTRAINT_UNIQUE, none.
    for (code, full, temporary) in [
        (Some(13), true, true),
        (Some(10 | 4 << 8), false, true),
        (Some(8), false, true),
        (Some(5 | 2 << 8), false, true),
        (Some(11), false, true),
        (Some(19 | 8 << 8), false, false),
        (None, false, false),
    ] {
        let error = StoreError::of(code, cause());
        assert_eq!((error.is_full(), error.is_temporary()), (full, temporary), "{code:?} {error:?}");
    }
}
