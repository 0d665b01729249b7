//! AUTH PLAIN: whether a name and a password belong together.
//!
//! A name that nobody has costs as much time as one that somebody has. What is checked at a time is bounded apart from other work
//! for the CPUs, so that guessing keeps no mail waiting.

use crate::config::Login;
use crate::crypto::password::{Memory, PasswordHash};
use crate::pipeline::{Gateway, Snapshot};
use crate::smtp::server::{Attempt, Credentials};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Checks at a time, each of which takes some MiB (19 by default).
const AT_A_TIME: usize = 2;

/// Places for checking. Cloning gives another handle on the same.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    places: Arc<Semaphore>,
    /// What checks work in, one for each place.
    memory: Arc<Mutex<Vec<Memory>>>,
}

impl Default for Checks {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_A_TIME)), memory: Arc::default() }
    }
}

impl Checks {
    /// Who this is.
    pub(super) async fn log_in(
        &self,
        gateway: &Gateway,
        snapshot: &Arc<Snapshot>,
        credentials: Credentials,
    ) -> Attempt {
        let Ok(_place) = self.places.acquire().await else { return Attempt::Later };
        let shelf = Arc::clone(&self.memory);
        let snapshot = Arc::clone(snapshot);
        let name = credentials.name.clone();
        let check = move || {
            let mut memory = shelf.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            let right = is_right(&snapshot.config.logins, &credentials, &mut memory);
            shelf.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
            right
        };
        match gateway.cpu(check).await {
            Ok(true) => Attempt::Passed(name),
            Ok(false) => Attempt::Failed,
            Err(_) => Attempt::Later,
        }
    }
}

fn is_right(logins: &[Login], credentials: &Credentials, memory: &mut Memory) -> bool {
    let known = logins.iter().find(|login| login.name == credentials.name);
    // For a stranger somebody's hash is worked through as well, and its answer thrown away.
    let hash = known.or(logins.first()).and_then(|login| PasswordHash::parse(&login.hash));
    let right = hash.is_some_and(|hash| hash.verify(credentials.password.0.as_bytes(), memory));
    right && known.is_some()
}

#[cfg(test)]
mod tests {
    use super::is_right;
    use crate::config::Login;
    use crate::crypto::password;
    use crate::smtp::command::Secret;
    use crate::smtp::server::Credentials;
    use rustix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    #[test]
    fn s43_a_stranger_takes_as_long_as_a_wrong_password() {
        let login = Login { name: "siti".to_owned(), hash: password::hash(b"rahasia").unwrap() };
        let logins = [login];
        let mut memory = password::Memory::default();
        // The work that it is: how long it takes by the clock depends on what else the machine does.
        let worked = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
        let mut try_it = |name: &str, password: &str| {
            let credentials = Credentials { name: name.to_owned(), password: Secret::new(password) };
            let before = worked();
            (is_right(&logins, &credentials, &mut memory), worked() - before)
        };
        assert!(try_it("siti", "rahasia").0);
        assert!(!try_it("nobody", "rahasia").0);
        assert!(!try_it("Siti", "rahasia").0);
        let (mut known, mut unknown) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            known = known.min(try_it("siti", "wrong").1);
            unknown = unknown.min(try_it("nobody", "wrong").1);
        }
        assert!(known < unknown * 2 && unknown < known * 2, "{known:?} {unknown:?}");
        assert!(!is_right(
            &[],
            &Credentials { name: "siti".to_owned(), password: Secret::new("rahasia") },
            &mut password::Memory::default()
        ));
    }
}
