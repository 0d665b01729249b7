//! What lies in memory stays there: no core dump, no debugger of the same user, no swap.
//!
//! Failure policy: nothing here is an error. What the system does not permit is said, and the gateway runs all the same.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

/// Takes private keys and mail in memory away from core dumps and swap; what stands against it, for the log.
///
/// Call it before anything secret is read, and before threads are started.
pub fn harden() -> Vec<String> {
    let mut against = Vec::new();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        against.push(format!("core dumps could not be limited to nothing: {error}"));
    }
    // Where core dumps go to a program, as on systemd, the limit does not count; this does.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        against.push(format!("core dumps could not be turned off: {error}"));
    }
    if let Err(problem) = lock() {
        against.push(problem);
    }
    against
}

/// Locks what is mapped now and later, page by page as it is first touched: nothing is brought in that was not in use.
///
/// `RLIMIT_MEMLOCK` counts address space, not memory in use: stacks of threads and arenas of the allocator, many times
/// what is touched. When it is spent, every further allocation fails. So memory is locked only where there is no limit.
fn lock() -> Result<(), String> {
    let limit = getrlimit(Resource::Memlock);
    if !may_lock_all() {
        match limit {
            Rlimit { current: None, .. } => {}
            Rlimit { maximum: None, .. } => {
                let unlimited = Rlimit { current: None, maximum: None };
                setrlimit(Resource::Memlock, unlimited).map_err(|error| not_locked(&error.to_string()))?;
            }
            Rlimit { current: Some(octets), .. } => {
                let problem = format!("RLIMIT_MEMLOCK is {} KiB", octets >> 10);
                return Err(not_locked(&problem));
            }
        }
    }
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(flags).map_err(|error| not_locked(&error.to_string()))
}

/// The limit does not hold for those who have CAP_IPC_LOCK. Root has it, except in most containers.
fn may_lock_all() -> bool {
    capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::IPC_LOCK))
}

fn not_locked(problem: &str) -> String {
    format!(
        "memory is not locked, keys may be written to swap: {problem}; set `LimitMEMLOCK=infinity` in the service (or \
         `ulimit -l unlimited`), or use encrypted swap or none"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::dumpable_behavior;

    #[test]
    fn p22_memory_of_this_process_goes_nowhere() {
        let against = harden();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let core = getrlimit(Resource::Core);
        assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
        // What is missing is said, with the limit that stands against it.
        assert!(against.iter().all(|problem| problem.contains("LimitMEMLOCK")), "{against:?}");
        // It can be allocated and touched as before, whatever the limit says.
        let much = vec![1u8; 64 << 20];
        assert_eq!(much.iter().map(|octet| usize::from(*octet)).sum::<usize>(), 64 << 20);
    }
}
