//! The values of a verdict as they are said outside: JSON, Authentication-Results, Segel-Verdict.
use super::Inspected;
/// The JSON of DESIGN section 3, key for key. `action` is null without a policy.
pub fn json(_inspected: &Inspected, _action: Option<&str>) -> serde_json::Value {
    todo!()
}
/// One RFC 7281 resinfo per signature (`smime=pass body.smime-identifier=… …`), or `smime=none`. No authserv-id.
pub fn authentication_results(_inspected: &Inspected) -> Vec<String> {
    todo!()
}
/// `valid; reasons=a,b; signer="addr"; encrypted=yes` without id and by. `none` for mail without S/MIME.
pub fn segel_verdict(_inspected: &Inspected) -> String {
    todo!()
}
