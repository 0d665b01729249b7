//! Whether a recipient exists: asked of the server that would get the mail, and remembered (S63).
//!
//! A mailbox that exists is believed for a week and asked about again in the background after a day. One that does not is
//! believed for ten minutes, so that a new one works soon. No answer counts for a minute. Who asks about the same address at
//! the same time waits for the same answer; how many questions are under way at a time is bounded.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout};

/// What the server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// He exists, or the server does not say before it has the mail.
    Yes,
    /// He does not exist.
    No,
    /// Nobody knows now.
    Unknown,
}

const POSITIVE: Duration = Duration::from_secs(7 * 24 * 3600);
const REFRESH: Duration = Duration::from_secs(24 * 3600);
const NEGATIVE: Duration = Duration::from_secs(600);
const NO_ANSWER: Duration = Duration::from_secs(60);

/// Addresses that are remembered at most: half of them young, half of them old.
const MOST: usize = 50_000;

/// Questions at a time.
const AT_A_TIME: usize = 20;

/// How long the client waits; the question itself ends a little later and its answer is remembered.
const PATIENCE: Duration = Duration::from_secs(25);

/// The memory. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub struct CallAhead {
    known: Arc<Mutex<Known>>,
    asking: Arc<Mutex<HashMap<String, Arc<OnceCell<Answer>>>>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Known {
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    answer: Answer,
    since: Instant,
}

impl Default for CallAhead {
    fn default() -> Self {
        Self { known: Arc::default(), asking: Arc::default(), places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }
}

impl CallAhead {
    /// What is remembered of `key`, else what `ask` finds out. `key` names the server and the address.
    pub async fn exists<F, A>(&self, key: String, ask: F) -> Answer
    where
        F: FnOnce() -> A + Send + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        match self.recall(&key) {
            Some((answer, false)) => answer,
            Some((answer, true)) => {
                let this = self.clone();
                tokio::spawn(async move { this.find_out(key, ask).await });
                answer
            }
            None => {
                // A task of its own: the answer is of use though this client goes away.
                let this = self.clone();
                let asking = tokio::spawn(async move { this.find_out(key, ask).await });
                match timeout(PATIENCE, asking).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) | Err(_) => Answer::Unknown,
                }
            }
        }
    }

    async fn find_out<F, A>(&self, key: String, ask: F) -> Answer
    where
        F: FnOnce() -> A,
        A: Future<Output = Answer>,
    {
        let cell = Arc::clone(lock(&self.asking).entry(key.clone()).or_default());
        let asked = cell.get_or_init(|| async {
            let Ok(_place) = self.places.acquire().await else { return Answer::Unknown };
            let answer = ask().await;
            self.remember(&key, answer);
            answer
        });
        let answer = *asked.await;
        let mut asking = lock(&self.asking);
        if asking.get(&key).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            asking.remove(&key);
        }
        answer
    }

    /// The answer, and whether it is time to ask again.
    fn recall(&self, key: &str) -> Option<(Answer, bool)> {
        let mut known = lock(&self.known);
        let entry = known.young.get(key).copied().or_else(|| {
            let entry = known.old.remove(key)?;
            known.insert(key, entry);
            Some(entry)
        })?;
        let age = entry.since.elapsed();
        let good = match entry.answer {
            Answer::Yes => POSITIVE,
            Answer::No => NEGATIVE,
            Answer::Unknown => NO_ANSWER,
        };
        (age < good).then_some((entry.answer, entry.answer == Answer::Yes && age >= REFRESH))
    }

    fn remember(&self, key: &str, answer: Answer) {
        let mut known = lock(&self.known);
        let believed = || known.young.get(key).or_else(|| known.old.get(key)).is_some_and(Entry::is_believed);
        // That nobody answers is no news of somebody who is known.
        if answer == Answer::Unknown && believed() {
            return;
        }
        known.insert(key, Entry { answer, since: Instant::now() });
    }
}

impl Entry {
    fn is_believed(&self) -> bool {
        self.answer == Answer::Yes && self.since.elapsed() < POSITIVE
    }
}

impl Known {
    fn insert(&mut self, key: &str, entry: Entry) {
        if self.young.len() >= MOST / 2 && !self.young.contains_key(key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.to_owned(), entry);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Answer, CallAhead, Entry, NEGATIVE, NO_ANSWER, POSITIVE, REFRESH};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    /// Asks with a server that says `answer`; what came of it, and whether the server was asked.
    async fn ask(memory: &CallAhead, answer: Answer) -> (Answer, bool) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let found = memory.exists("server u@own.example".to_owned(), move || async move {
            counter.fetch_add(1, Ordering::SeqCst);
            answer
        });
        let found = found.await;
        // What is asked in the background.
        sleep(Duration::from_millis(20)).await;
        (found, asked.load(Ordering::SeqCst) == 1)
    }

    /// Makes what is known of the address older.
    fn age(memory: &CallAhead, by: Duration) {
        for entry in memory.known.lock().unwrap().young.values_mut() {
            *entry = Entry { since: Instant::now().checked_sub(by).unwrap_or(entry.since), ..*entry };
        }
    }

    #[tokio::test]
    async fn s63_answers_are_remembered_as_long_as_they_are_good() {
        for (answer, good) in [(Answer::No, NEGATIVE), (Answer::Unknown, NO_ANSWER)] {
            let memory = CallAhead::default();
            assert_eq!(ask(&memory, answer).await, (answer, true));
            assert_eq!(ask(&memory, Answer::Yes).await, (answer, false));
            age(&memory, good - Duration::from_secs(5));
            assert_eq!(ask(&memory, Answer::Yes).await, (answer, false));
            age(&memory, good);
            assert_eq!(ask(&memory, Answer::Yes).await, (Answer::Yes, true));
        }
    }

    #[tokio::test]
    async fn s63_who_exists_is_asked_about_again_in_the_background() {
        // A machine that was started just now has no time a week ago.
        if Instant::now().checked_sub(POSITIVE).is_none() {
            println!("skipped: the clock started less than a week ago");
            return;
        }
        let memory = CallAhead::default();
        assert_eq!(ask(&memory, Answer::Yes).await, (Answer::Yes, true));
        age(&memory, REFRESH);
        // No answer changes nothing; it is asked again.
        assert_eq!(ask(&memory, Answer::Unknown).await, (Answer::Yes, true));
        assert_eq!(ask(&memory, Answer::No).await, (Answer::Yes, true));
        assert_eq!(ask(&memory, Answer::Yes).await, (Answer::No, false));
        age(&memory, NEGATIVE);
        assert_eq!(ask(&memory, Answer::Yes).await, (Answer::Yes, true));
        age(&memory, POSITIVE);
        assert_eq!(ask(&memory, Answer::Unknown).await, (Answer::Unknown, true));
    }

    #[tokio::test]
    async fn s63_the_same_question_is_asked_once() {
        let (memory, asked) = (CallAhead::default(), Arc::new(AtomicUsize::new(0)));
        let questions = (0..50).map(|_| {
            let (memory, asked) = (memory.clone(), Arc::clone(&asked));
            tokio::spawn(async move {
                let slowly = move || async move {
                    asked.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(100)).await;
                    Answer::No
                };
                memory.exists("server u@own.example".to_owned(), slowly).await
            })
        });
        for question in questions.collect::<Vec<_>>() {
            assert_eq!(question.await.unwrap(), Answer::No);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(memory.asking.lock().unwrap().is_empty());
    }
}
