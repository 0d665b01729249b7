//! How next hops are proven: the system's CAs, named ones, or one certificate by its fingerprint.
