//! The one HTTP client: asks for CRLs where certificates say they are, and for nothing else.
//!
//! Guarded (P07): scheme, port, the address after resolving, size, time and redirects are bounded; no cookies, no credentials.
