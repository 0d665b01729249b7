//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sockets to next hops, files of contents, the database, look-ups: what is open beside the clients' connections.
const BESIDE: usize = 600;

/// Raises the soft limit to the hard one: the soft one is often 1024, for the sake of programs that use `select`. Says so where
/// `limits.connections` does not fit all the same.
pub(super) fn raise(connections: usize) {
    let found = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: found.maximum, maximum: found.maximum };
    if found.current != found.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files could not be raised.");
    }
    let needed = u64::try_from(connections.saturating_add(BESIDE)).unwrap_or(u64::MAX);
    if let Some(most) = getrlimit(Resource::Nofile).current.filter(|most| *most < needed) {
        tracing::warn!(
            most,
            needed,
            "limits.connections needs more open files than the system allows: raise LimitNOFILE in the service (`ulimit -Hn`), or \
             lower limits.connections."
        );
    }
}
