//! The only clock. Everything else is told what time it is.

use jiff::Timestamp;

/// The time now, by the system's clock.
#[expect(clippy::disallowed_methods, reason = "this module is the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
