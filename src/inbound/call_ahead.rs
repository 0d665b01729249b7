//! Whether a recipient exists: asked of the server that would get the mail, and remembered (S63).
//!
//! A mailbox that exists is believed for a week and asked about again in the background after a day. One that does not is
//! believed for ten minutes, so that a new one works soon. No answer counts for a minute. Who asks about the same address at
//! the same time waits for the same answer. How many questions are under way is bounded for each server and each client: one
//! server that hangs, or one client with many made-up names, keeps nobody else waiting.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
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

/// Questions to one server at a time.
const AT_A_TIME: usize = 40;

/// Of these, for one client.
const OF_A_CLIENT: usize = 10;

/// How long a question waits for its turn. It is not remembered that there was none.
const TURN: Duration = Duration::from_secs(5);

/// How long the client waits; the question itself ends a little later and its answer is remembered.
const PATIENCE: Duration = Duration::from_secs(25);

/// The memory. Cloning gives another handle on the same.
#[derive(Clone, Debug, Default)]
pub struct CallAhead {
    known: Arc<Mutex<Known>>,
    asking: Arc<Mutex<HashMap<String, Arc<OnceCell<Answer>>>>>,
    /// By server: as many as the configuration names.
    places: Arc<Mutex<HashMap<String, Arc<Semaphore>>>>,
    /// By client, while he has questions under way.
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// What is asked, for whom, and of whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who waits for the answer.
    pub client: IpAddr,
    /// The server that is asked.
    pub server: String,
    /// The mailbox key.
    pub mailbox: String,
}

impl Question {
    fn key(&self) -> String {
        format!("{} {}", self.server, self.mailbox)
    }
}

/// One question of a client.
struct Turn {
    clients: Arc<Mutex<HashMap<IpAddr, usize>>>,
    client: IpAddr,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut clients = lock(&self.clients);
        match clients.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(clients.remove(&self.client)),
        }
    }
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

impl CallAhead {
    /// What is remembered, else what `ask` finds out.
    pub async fn exists<F, A>(&self, question: Question, ask: F) -> Answer
    where
        F: FnOnce() -> A + Send + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        match self.recall(&question.key()) {
            Some((answer, false)) => answer,
            Some((answer, true)) => {
                let this = self.clone();
                tokio::spawn(async move { this.find_out(question, ask).await });
                answer
            }
            None => {
                let Some(turn) = self.begin(&question) else { return Answer::Unknown };
                // A task of its own: the answer is of use though this client goes away.
                let this = self.clone();
                let asking = tokio::spawn(async move {
                    let answer = this.find_out(question, ask).await;
                    drop(turn);
                    answer
                });
                match timeout(PATIENCE, asking).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) | Err(_) => Answer::Unknown,
                }
            }
        }
    }

    /// Whether it may be asked. Who asks what somebody asks already only waits with him.
    fn begin(&self, question: &Question) -> Option<Option<Turn>> {
        let mut asking = lock(&self.asking);
        let key = question.key();
        if asking.contains_key(&key) {
            return Some(None);
        }
        let turn = self.turn(question.client)?;
        asking.insert(key, Arc::default());
        Some(Some(turn))
    }

    /// Room for one more question of this client.
    fn turn(&self, client: IpAddr) -> Option<Turn> {
        let mut clients = lock(&self.clients);
        let count = clients.entry(client).or_default();
        if *count >= OF_A_CLIENT {
            return None;
        }
        *count += 1;
        Some(Turn { clients: Arc::clone(&self.clients), client })
    }

    async fn find_out<F, A>(&self, question: Question, ask: F) -> Answer
    where
        F: FnOnce() -> A,
        A: Future<Output = Answer>,
    {
        let key = question.key();
        let cell = Arc::clone(lock(&self.asking).entry(key.clone()).or_default());
        let new = || Arc::new(Semaphore::new(AT_A_TIME));
        let places = Arc::clone(lock(&self.places).entry(question.server).or_insert_with(new));
        let asked = cell.get_or_init(|| async {
            let Ok(Ok(_place)) = timeout(TURN, places.acquire()).await else { return Answer::Unknown };
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
    use super::{Answer, CallAhead, Entry, NEGATIVE, NO_ANSWER, OF_A_CLIENT, POSITIVE, Question, REFRESH, TURN};
    use std::net::IpAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    fn question(mailbox: &str) -> Question {
        let client = IpAddr::from([192, 0, 2, 1]);
        Question { client, server: "server".to_owned(), mailbox: mailbox.to_owned() }
    }

    /// Asks with a server that says `answer`; what came of it, and whether the server was asked.
    async fn ask(memory: &CallAhead, answer: Answer) -> (Answer, bool) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let found = memory.exists(question("u@own.example"), move || async move {
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
                memory.exists(question("u@own.example"), slowly).await
            })
        });
        for question in questions.collect::<Vec<_>>() {
            assert_eq!(question.await.unwrap(), Answer::No);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(memory.asking.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn s63_a_client_or_a_server_that_hangs_keeps_nobody_else_waiting() {
        let memory = CallAhead::default();
        let hang = || async {
            sleep(Duration::from_secs(3600)).await;
            Answer::Yes
        };
        for number in 0..100 {
            let (memory, client) = (memory.clone(), IpAddr::from([192, 0, 2, 1 + number / 10]));
            let mailbox = format!("u{number}@own.example");
            tokio::spawn(async move { memory.exists(Question { client, ..question(&mailbox) }, hang).await });
        }
        sleep(Duration::from_millis(50)).await;
        // One more of a client who has many under way is not asked; another server is asked at once.
        let begun = Instant::now();
        assert_eq!(memory.exists(question("more@own.example"), hang).await, Answer::Unknown);
        let other = Question {
            client: IpAddr::from([198, 51, 100, 1]),
            server: "other".to_owned(),
            mailbox: "siti@dua.example".to_owned(),
        };
        assert_eq!(memory.exists(other, || async { Answer::Yes }).await, Answer::Yes);
        assert!(begun.elapsed() < TURN, "neither waited for a turn");
        assert_eq!(memory.clients.lock().unwrap().values().max(), Some(&OF_A_CLIENT));
        // Who waits for a turn gives up, and that is not remembered.
        let late = Question { client: IpAddr::from([198, 51, 100, 2]), ..question("late@own.example") };
        assert_eq!(memory.exists(late.clone(), || async { Answer::Yes }).await, Answer::Unknown);
        assert!(memory.recall(&late.key()).is_none());
    }
}
