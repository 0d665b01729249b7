use super::*;
use crate::mail::Address;

async fn open(folder: &std::path::Path) -> (Store, Audit) {
    let store = Store::open(&folder.join("segel.db")).await.unwrap();
    let audit = Audit::open(store.clone(), Arc::new(MasterKey::ephemeral())).await.unwrap();
    (store, audit)
}

fn held(queue_id: &str, recipient: &str) -> Event {
    Event::Held {
        queue_id: queue_id.to_owned(),
        class: "quarantine".to_owned(),
        reasons: vec![crate::reason::Reason::Revoked],
        recipient: Address::parse(recipient).unwrap(),
    }
}

struct Sql(&'static str);

impl Write for Sql {
    type Output = ();
    fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
        tx.execute(self.0, &[]).map(|_| ())
    }
}

async fn filled() -> (tempfile::TempDir, Store, Audit) {
    let folder = tempfile::tempdir().unwrap();
    let (store, audit) = open(folder.path()).await;
    for n in 0..20 {
        audit.record(vec![held(&format!("q{n}"), "siti@kabupaten.go.id"), Event::Stopped]).await.unwrap();
    }
    audit.checkpoint().await.unwrap();
    audit.record(vec![Event::Reloaded { policy: "p".to_owned() }]).await.unwrap();
    let last = audit.checkpoint().await.unwrap();
    // Where nothing has happened since, the last one says it all.
    assert_eq!(audit.checkpoint().await.unwrap().at, last.at);
    (folder, store, audit)
}

#[tokio::test]
async fn c45_the_chain_verifies_and_each_change_is_found() {
    let (_folder, _store, audit) = filled().await;
    let report = audit.verify().await.unwrap();
    assert_eq!((report.chains, report.rows, report.checkpoints, report.bad), (1, 41, 2, None));

    for (sql, seq) in [
        ("UPDATE audit SET public = '{}' WHERE seq = 7", 7),
        ("UPDATE audit SET at = at + 1 WHERE seq = 8", 8),
        ("UPDATE audit SET queue_id = 'other' WHERE seq = 9", 9),
        ("UPDATE audit SET sealed = zeroblob(40) WHERE seq = 11", 11),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 12", 12),
        ("DELETE FROM audit WHERE seq = 13", 14),
        ("DELETE FROM audit WHERE seq = 41", 2),
        ("UPDATE audit_checkpoint SET at = 1 WHERE id = 1", 1),
    ] {
        let (_folder, store, audit) = filled().await;
        store.write(Sql(sql)).await.unwrap();
        let bad = audit.verify().await.unwrap().bad.expect(sql);
        assert_eq!(bad.seq, seq, "{sql}: {bad:?}");
    }
}

#[tokio::test]
async fn p44_personal_fields_are_sealed_and_erasing_a_subject_breaks_nothing() {
    let (_folder, store, audit) = filled().await;
    let rows: Vec<(String, Option<String>, Option<Vec<u8>>)> =
        sqlx::query_as("SELECT public, subject, sealed FROM audit WHERE event = 'held'")
            .fetch_all(store.readers())
            .await
            .unwrap();
    assert!(rows.iter().all(|(public, _, _)| !public.contains("siti")));
    let (_, Some(subject), Some(sealed)) = &rows[0] else { panic!("{:?}", rows[0]) };
    assert!(rows.iter().all(|row| row.1.as_ref() == Some(subject)), "one subject, one pseudonym");
    let personal = audit.open_personal(subject, "held", sealed).await.unwrap().unwrap();
    assert_eq!(personal["recipient"], "siti@kabupaten.go.id");

    store.write(Sql("UPDATE audit_subject SET wrapped = NULL")).await.unwrap();
    assert!(audit.open_personal(subject, "held", sealed).await.unwrap().is_none());
    assert_eq!(audit.verify().await.unwrap().bad, None);
}

#[tokio::test]
async fn a_rolled_back_subject_key_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, audit) = open(folder.path()).await;
    struct Fails(Arc<ChainWriter>);
    impl Write for Fails {
        type Output = ();
        fn apply(&self, tx: &mut Tx<'_>) -> Result<(), TxError> {
            append(tx, &self.0, &[held("q1", "budi@kabupaten.go.id")])?;
            append(tx, &self.0, &[held("q2", "budi@kabupaten.go.id")])?;
            Err(TxError::NoRow)
        }
    }
    assert!(store.write(Fails(Arc::clone(audit.chain()))).await.is_err());
    audit.record(vec![held("q3", "budi@kabupaten.go.id")]).await.unwrap();
    audit.record(vec![held("q4", "budi@kabupaten.go.id")]).await.unwrap();
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT subject, sealed FROM audit").fetch_all(store.readers()).await.unwrap();
    assert_eq!(rows.len(), 2);
    for (subject, sealed) in rows {
        assert!(audit.open_personal(&subject, "held", &sealed).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let master = Arc::new(MasterKey::ephemeral());
    for _ in 0..3 {
        let store = Store::open(&folder.path().join("segel.db")).await.unwrap();
        let audit = Audit::open(store.clone(), Arc::clone(&master)).await.unwrap();
        audit.record(vec![Event::Stopped, held("q", "siti@kabupaten.go.id")]).await.unwrap();
        audit.checkpoint().await.unwrap();
        let report = audit.verify().await.unwrap();
        assert_eq!((report.chains, report.bad), (1, None));
        store.close().await;
    }
}
