//! The rows of the tables, in sentences.

use crate::policy;

/// The rows of DESIGN's tables in sentences.
pub(super) fn why(rule: &str) -> &'static str {
    match rule {
        "from-not-one-mailbox" => "From does not hold exactly one mailbox, so nobody can be signed for or held to it",
        "header-unreadable" => "the header section can't be read, so nobody knows who has written the mail",
        "foreign-from" => "From is not in an own domain: passed unchanged, never signed",
        "null-reverse-path" => "the reverse-path is null (a bounce or an automatic reply): passed unsigned",
        "unvouched-refused" => "the reverse-path is another's and no [[authorise]] lets it write as From",
        "unvouched-passed" => "the reverse-path is another's; the domain's `unvouched` passes such mail unsigned",
        "encrypt-required-refused" => {
            "encryption is required, and no certificate of the recipient can be used: nothing leaves in clear"
        }
        "recipient-unproven-deferred" => {
            "a certificate of the recipient is known and can't be used now: deferred, then held, never sent in clear"
        }
        "copies-refused" => "the encrypted copies for hidden recipients would be larger than `limits.copies`",
        "already-protected" => "the mail is signed or encrypted already: its bytes stay as they are",
        "report" => "a delivery or disposition report passes unsigned",
        "sign-never" => "`sign` is `never`, by the domain or by a rule",
        "passed-before" => "it has been through this gateway before, which signed it then",
        policy::BYPASS => "an emergency bypass is in force: nobody is signed for (`segel bypass status`)",
        "login-refused" => "who has authenticated may not write as From",
        "encrypted" => "a certificate of the recipient can be used",
        "encrypt-never" => "`encrypt` is `never`",
        "no-recipient-certificate" => "no certificate of the recipient is known: encrypting is not possible",
        "already-encrypted" => "the mail is encrypted already",
        "downgrade-allowed" => "encryption.allow_downgrade lets it leave in clear",
        "returns-opened-mail" => "it returns mail that was opened here: that leaves encrypted only",
        "recipient-unproven-held" => "a certificate of the recipient is known and can't be used now: it waits",
        "unsignable-structure" => "the structure can't be signed without changing what a reader sees",
        "rule-quarantined" => "a rule of the policy file holds it",
        "rule-rejected" => "a rule of the policy file refuses it",
        "signed" => "signed with the sender's own certificate",
        "substitute" => "the sender has no usable certificate: signed with the domain's substitute, named in Sender",
        "own-status-unknown" => "whether the sender's certificate is revoked can't be established now",
        "no-key-passed" => "the sender has no usable certificate and `sign` is `when-possible`: passed unsigned",
        "no-key-refused" => "the sender has no usable certificate and `sign` is `required`",
        "loop" => "it has been through too many servers, or too often through this one",
        "too-large" => "it is larger than `limits.message`, or from inside `limits.message_inside`",
        "no-relay" => "the outside side takes mail for own domains only",
        "incoming-rejected" => "a reason found in the mail has the treatment `reject`",
        "quarantined" => "a reason found in the mail has the treatment `quarantine`",
        "revocation-unknown-deferred" => "the signer's revocation status is unknown: deferred for `defer_for`",
        "revocation-unknown-held" => "the signer's revocation status stayed unknown for `defer_for`: held",
        "revocation-unknown-quarantined" => "the signer's revocation status stayed unknown for `hold_for`: quarantined",
        "verified" => "a valid signature of the mailbox in From",
        "plain" => "no S/MIME: delivered, marked `none`",
        "marked" => "delivered, with its verdict in the header section",
        _ => "",
    }
}
