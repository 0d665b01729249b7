use super::*;
use crate::pki::revocation::Status;

#[cfg(feature = "demo")]
mod ca;
#[cfg(feature = "demo")]
mod matrix;
#[cfg(feature = "demo")]
mod names;
mod suites;
