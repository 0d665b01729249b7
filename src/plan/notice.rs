//! Delivery status notifications (RFC 3464), built with `mail-builder`.
use super::Transformed;
use jiff::Timestamp;
/// One recipient's failure.
#[derive(Clone, Debug)]
pub struct Failure {
    pub recipient: String,
    /** `5.1.1` */
    pub status: String,
    /** `smtp; 550 …`, sanitised */
    pub diagnostic: String,
    pub remote_mta: Option<String>,
}
pub struct NoticeRequest<'a> {
    pub hostname: &'a str,
    pub postmaster: &'a str,
    /** reverse-path of the failed mail, or the postmaster for a double bounce */
    pub to: &'a str,
    pub original_id: &'a str,
    pub arrived: Timestamp,
    pub now: Timestamp,
    /** the original message; only its header section is returned */
    pub original: &'a [u8],
    pub failures: &'a [Failure],
    pub boundary: &'a str,
    pub message_id: &'a str,
}
/// multipart/report; from `MAILER-DAEMON`, `Auto-Submitted: auto-generated`, reverse-path null (the caller's envelope).
pub fn failure(_request: &NoticeRequest<'_>) -> Transformed {
    todo!()
}
