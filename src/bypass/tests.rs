//! Its times: by the clock, by what has passed, over a restart.

use super::*;
use crate::audit::Search;
use crate::seal::MasterKey;
use tempfile::TempDir;

struct Site {
    store: Store,
    audit: Audit,
    _folder: TempDir,
}

impl Site {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("segel.db")).await.unwrap();
        let audit = Audit::open(store.clone(), Arc::new(MasterKey::ephemeral())).await.unwrap();
        Self { store, audit, _folder: folder }
    }

    /// As after a restart at `now`.
    async fn open(&self, now: Timestamp) -> Bypass {
        Bypass::open(self.store.clone(), self.audit.clone(), now).await.unwrap()
    }

    async fn events(&self) -> Vec<String> {
        let page = self.audit.search(&Search::default(), 100).await.unwrap();
        page.rows.into_iter().map(|row| row.event).collect()
    }
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

async fn start(bypass: &Bypass, of: Option<&str>, now: Timestamp) -> Result<Status, BypassError> {
    bypass.start(of.map(domain), 2, "token rusak".to_owned(), "op".to_owned(), now).await
}

#[tokio::test]
async fn one_at_a_time_for_a_domain_and_it_outlives_a_restart() {
    let (site, now) = (Site::new().await, whole(crate::clock::now()));
    let (a, b) = (domain("a.example"), domain("b.example"));
    let bypass = site.open(now).await;
    assert!(!bypass.is_in_force(&a) && bypass.until().is_none());
    start(&bypass, Some("a.example"), now).await.unwrap();
    assert!(bypass.is_in_force(&a) && !bypass.is_in_force(&b));
    assert!(matches!(start(&bypass, Some("A.example"), now).await, Err(BypassError::InForce { .. })));
    start(&bypass, None, now).await.unwrap();
    assert!(bypass.is_in_force(&b));
    assert!(matches!(start(&bypass, Some("b.example"), now).await, Err(BypassError::InForce { .. })));
    let again = site.open(now).await;
    assert_eq!((again.list(), again.until()), (bypass.list(), now.checked_add(hours(2)).ok()));
    assert!(again.is_in_force(&b));
    assert_eq!(again.stop(Some(&a), "op", now).await.unwrap().len(), 1);
    assert!(again.is_in_force(&a), "the one for all is still there");
    assert_eq!(again.stop(None, "op", now).await.unwrap().len(), 1);
    assert!(!again.is_in_force(&a) && matches!(again.stop(None, "op", now).await, Err(BypassError::None(_))));
    assert_eq!(site.events().await, ["bypass-started", "bypass-started", "bypass-ended", "bypass-ended"]);
}

/// One for all that begins while a domain has its own does not lengthen that: the two together last no longer than one may.
#[tokio::test]
async fn a_domains_own_and_one_for_all_are_no_longer_than_one() {
    let (site, now) = (Site::new().await, whole(crate::clock::now()));
    let bypass = site.open(now).await;
    let start = async |of: Option<&str>, hours: u32, ago: i64| {
        let at = now.checked_sub(self::hours(ago)).unwrap();
        bypass.start(of.map(domain), hours, "token rusak".to_owned(), "op".to_owned(), at).await
    };
    start(Some("a.example"), HOURS, 70).await.unwrap();
    let error = start(None, 3, 0).await.unwrap_err();
    assert!(matches!(&error, BypassError::TooLong { domain, left: 1 | 2, .. } if domain == "a.example"), "{error}");
    start(None, 1, 0).await.unwrap();
    assert_eq!(bypass.until_for(&domain("b.example")), now.checked_add(hours(1)).ok());
    assert_eq!(bypass.until_for(&domain("a.example")), now.checked_add(hours(2)).ok());
    bypass.stop(None, "op", now).await.unwrap();
    start(None, HOURS, 0).await.unwrap();
}

#[tokio::test]
async fn it_ends_by_itself_and_whoever_has_to_hear_hears_once() {
    let (site, now) = (Site::new().await, whole(crate::clock::now()));
    let bypass = site.open(now).await;
    // Begun two hours ago, by the clock.
    start(&bypass, None, now.checked_sub(hours(2)).unwrap()).await.unwrap();
    assert!(bypass.until().is_none() && bypass.list().is_empty(), "its time is over before anybody looks");
    bypass.tick(now).await.unwrap();
    assert_eq!(site.events().await, ["bypass-started", "bypass-ended"]);
    let again = site.open(now).await;
    let untold = again.untold();
    assert!(
        matches!(untold.as_slice(), [Untold { ended: true, status }] if status.ended_by.as_deref() == Some("time"))
    );
    again.told(&untold[0]).await.unwrap();
    assert!(again.untold().is_empty() && site.open(now).await.untold().is_empty());
    let begun = start(&again, None, now).await.unwrap();
    assert!(matches!(again.untold().as_slice(), [Untold { ended: false, status }] if *status == begun));
}

/// P33: neither a clock that is set back nor a restart after that gives it more time than it was given.
#[tokio::test]
async fn p33_a_clock_that_is_set_back_does_not_lengthen_it() {
    let (site, now) = (Site::new().await, whole(crate::clock::now()));
    let bypass = site.open(now).await;
    // An hour of its two has passed, and it was written down.
    start(&bypass, None, now.checked_sub(hours(1)).unwrap()).await.unwrap();
    bypass.tick(now).await.unwrap();
    for back in [0, 1, 24] {
        let left = site.open(now.checked_sub(hours(back)).unwrap()).await.entries()[0].deadline.left();
        assert!(left <= Duration::from_secs(3600) && left > Duration::from_secs(3500), "{back}: {left:?}");
    }
    // Set ahead, it ends.
    assert!(!site.open(now.checked_add(hours(2)).unwrap()).await.is_in_force(&domain("a.example")));
}
