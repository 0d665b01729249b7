//! STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4954, 4616).

use super::fate::{Capabilities, said};
use super::{Client, Fate, Pending, ReplyParser};
use crate::smtp::Reply;
use bytes::BytesMut;
use zeroize::{Zeroize as _, Zeroizing};

impl Client {
    /// Asks for TLS; only after [`super::Step::Ready`]. Then comes [`super::Step::Handshake`], or ready again with a
    /// [`Client::tls_refusal`].
    pub fn start_tls(&mut self) {
        self.output.extend_from_slice(b"STARTTLS\r\n");
        self.pending.push_back(Pending::StartTls);
    }

    /// The reply that refused STARTTLS.
    pub fn tls_refusal(&self) -> Option<&str> {
        self.tls_refusal.as_deref()
    }

    pub(super) fn start_tls_reply(&mut self, reply: &Reply) {
        if reply.code() == 220 {
            self.handshake = true;
        } else {
            self.tls_refusal = Some(reply.to_line());
        }
    }

    /// Whether the handshake may begin: what was said in plain text behind the 220 was not said by who is proven then.
    pub(super) fn may_shake_hands(&mut self, input: &BytesMut) -> bool {
        if input.is_empty() {
            return true;
        }
        self.handshake = false;
        self.break_off(Fate::deferred("4.7.5", "the next hop went on in plain text after its answer to STARTTLS"));
        false
    }

    /// TLS stands: everything known from before is forgotten, and EHLO is said again.
    pub fn secured(&mut self) {
        self.handshake = false;
        self.capabilities = Capabilities::default();
        self.parser = ReplyParser::new(self.limits.0, self.limits.1);
        self.hello(Pending::Ehlo, "EHLO");
    }

    /// AUTH PLAIN with its initial response; only after [`super::Step::Ready`], and only to a server that TLS has proven.
    /// A refusal breaks the connection off: it is the operator's affair, and no mail is lost over it.
    pub fn authenticate(&mut self, name: &str, password: &str) {
        if !self.capabilities.auth_plain {
            self.break_off(Fate::deferred("4.7.0", "the next hop does not offer AUTH PLAIN"));
            return;
        }
        // message = [authzid] NUL authcid NUL passwd
        let message = Zeroizing::new(format!("\0{name}\0{password}"));
        let mut line = format!("AUTH PLAIN {}\r\n", data_encoding::BASE64.encode(message.as_bytes()));
        self.output.reserve(line.len());
        self.output.extend_from_slice(line.as_bytes());
        line.zeroize();
        self.pending.push_back(Pending::Auth);
    }

    pub(super) fn auth_reply(&mut self, reply: &Reply) {
        if reply.code() != 235 {
            self.break_off(Fate::deferred("4.7.8", format!("{} (to AUTH)", said(reply))));
        }
    }
}
