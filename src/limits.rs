//! Every bound on outside data, in one value.
//!
//! Pure functions take a `&Limits` where a loop, a depth or a size depends on what somebody sent.
//! Each bound says where its number comes from. Operators set the few that `[limits]` names;
//! the others are fixed.

/// The bounds that hold while one message or connection is handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message before transformation (`limits.message`, announced as `SIZE`, RFC 1870).
    pub message: usize,
    /// Octets of a message from inside (`limits.message_inside`): signing and encrypting enlarge it (base64 makes four octets of
    /// three), and the result has to fit what others take.
    pub message_inside: usize,
    /// Octets that must stay free where the store lies (`limits.free_space`).
    pub free_space: u64,
    /// Recipients of one transaction (`limits.recipients`; RFC 5321 section 4.5.3.1.8 asks for 100).
    pub recipients: usize,
    /// Octets that the encrypted copies of one message may have together (`limits.copies`): each recipient who is not
    /// named in it has his own.
    pub copies: usize,
    /// Octets of memory that all sessions may hold together (`limits.memory`), and as many for making copies.
    pub memory: usize,
    /// Connections at a time (`limits.connections`).
    pub connections: usize,
    /// Octets of a command line, CRLF included: 512 (RFC 5321 section 4.5.3.1.4) and the sum of what
    /// SIZE (26), BODY (17), DSN (640) and AUTH (12288, RFC 4954 section 4) add.
    pub command_line: usize,
    /// Octets of a text line without CRLF that mail to be signed as it is may hold (RFC 5322 section 2.1.1).
    pub text_line: usize,
    /// `Received` fields before mail counts as looping (RFC 5321 section 6.3 asks for at least 100).
    pub received_fields: usize,
    /// How often one gateway may stand in `Received` of a mail: in, out, and once more for a redirect each way.
    pub own_received_fields: usize,
    /// Octets of a message's header section. Postfix's `header_size_limit` is 102400; ten of them.
    pub header_section: usize,
    /// Fields of a header section.
    pub header_fields: usize,
    /// Nested MIME entities. Postfix's `mime_nesting_limit` is 100; real mail stays below 20.
    pub mime_depth: usize,
    /// MIME entities of a message. Mail with more than 1,000 parts is not written by people.
    pub mime_entities: usize,
    /// Cryptographic layers in each other. Triple wrapping (RFC 2634 section 1.1) needs 3.
    pub layers: usize,
    /// How many octets of content one compressed octet may become, once there are more than a MiB of them. DEFLATE reaches
    /// 1,032 with zeros only; text stays below 20, logs and scanned pages that are mostly white reach 100 or so.
    pub compression_ratio: usize,
    /// Nested ASN.1 values. A CMS message with certificates stays below 30.
    pub asn1_depth: usize,
    /// ASN.1 values of one structure. A CRL in a mail may hold some thousand entries of four values each.
    pub asn1_elements: usize,
    /// Octets of one ASN.1 INTEGER: an RSA modulus of 16,384 bits and its sign.
    pub asn1_integer: usize,
    /// Octets of one OBJECT IDENTIFIER. The longest in use are below 40.
    pub asn1_oid: usize,
    /// Certificates in one SignedData.
    pub certificates: usize,
    /// SignerInfos in one SignedData.
    pub signer_infos: usize,
    /// Attributes of one SignerInfo.
    pub attributes: usize,
    /// Certificates of one path, anchor and end entity included (webpki allows 6 between them).
    pub path_depth: usize,
    /// Paths that are tried for one certificate.
    pub path_candidates: usize,
    /// Signatures that are verified for one certificate's paths (webpki's budget is 100).
    pub path_signatures: usize,
    /// Nodes of a policy graph (RFC 9618 makes it grow linearly; this is a guard, not a tuning knob).
    pub policy_nodes: usize,
    /// Bits of the largest RSA modulus that is used: more only costs time (NSS stops at 16,384, Go at 8,192).
    pub rsa_bits_max: usize,
    /// Rounds of `smime::inspect` in which facts are gathered.
    pub gather_rounds: usize,
    /// Keys of one mailbox that are asked for one layer, and different content keys that are tried there (I62): a person and
    /// the offices that he holds.
    pub content_keys: usize,
    /// Octets of a CRL file.
    pub crl: usize,
    /// Entries of a CRL.
    pub crl_entries: usize,
    /// Octets of a reply line from a next hop (RFC 5321 section 4.5.3.1.5 says 512; servers write more).
    pub reply_line: usize,
    /// Lines of a reply from a next hop.
    pub reply_lines: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message: 25 << 20,
            message_inside: (25 << 20) / 10 * 7,
            free_space: 64 << 20,
            recipients: 1000,
            copies: 128 << 20,
            memory: 256 << 20,
            connections: 1000,
            command_line: 512 + 26 + 17 + 640 + 12_288,
            text_line: 998,
            received_fields: 100,
            own_received_fields: 4,
            header_section: 1 << 20,
            header_fields: 2000,
            mime_depth: 50,
            mime_entities: 1000,
            layers: 8,
            compression_ratio: 200,
            asn1_depth: 64,
            asn1_elements: 200_000,
            asn1_integer: 2049,
            asn1_oid: 128,
            certificates: 100,
            signer_infos: 16,
            attributes: 64,
            path_depth: 10,
            path_candidates: 32,
            path_signatures: 100,
            policy_nodes: 4096,
            rsa_bits_max: 8192,
            gather_rounds: 8,
            content_keys: 8,
            crl: 64 << 20,
            crl_entries: 2_000_000,
            reply_line: 4096,
            reply_lines: 100,
        }
    }
}
