//! Our header fields: written once, forged ones removed (I40 to I43, S17, S18).
use crate::limits::Limits;
/// Removes every `Segel-Verdict` (any case, folding, space before the colon) and every Authentication-Results under our
/// authserv-id (any case, comments, A-label/U-label), and puts `prepend` (whole fields with CRLF) on top. All other bytes stay.
pub fn rewrite(_message: &[u8], _authserv_id: &str, _prepend: &str, _limits: &Limits) -> Vec<u8> {
    todo!()
}
/// `Received` (S17). `for` only with exactly one recipient.
pub struct Received<'a> {
    pub helo: &'a str,
    pub peer: std::net::IpAddr,
    pub by: &'a str,
    pub with: &'a str,
    pub id: &'a str,
    pub for_one: Option<&'a str>,
    pub at: jiff::Timestamp,
}
pub fn received(_received: &Received<'_>) -> String {
    todo!()
}
/// `Authentication-Results` with one resinfo per signature, folded.
pub fn authentication_results(_authserv_id: &str, _results: &[String]) -> String {
    todo!()
}
/// `Segel-Verdict: …; id=QID; by=HOST`, folded.
pub fn segel_verdict(_value: &str, _id: &str, _by: &str) -> String {
    todo!()
}
/// How many `Received` fields there are, and how many name `hostname` in their `by` (S19).
pub fn hops(_message: &[u8], _hostname: &str, _limits: &Limits) -> (usize, usize) {
    todo!()
}
