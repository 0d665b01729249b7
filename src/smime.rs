//! S/MIME: what a message is, who signed it and whether that holds; and making such messages. RFC 8551, 8550.
pub mod inspect;
pub mod report;
pub mod sign;
pub mod verdict;
pub mod verify;
pub use inspect::{Fact, Inspected, Need, Options, Paused, Step, inspect};
pub use verdict::Verdict;
