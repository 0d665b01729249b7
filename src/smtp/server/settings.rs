//! What a dialogue is told, and what it learns of its client.

/// What a dialogue is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Name in the greeting and in the answer to EHLO.
    pub hostname: String,
    /// Octets of a message, announced as `SIZE`.
    pub message: usize,
    /// Recipients of one transaction.
    pub recipients: usize,
    /// Octets of a command line with its CRLF.
    pub command_line: usize,
    /// STARTTLS is offered while TLS is not on.
    pub starttls: bool,
    /// No mail without TLS.
    pub require_tls: bool,
    /// AUTH PLAIN is offered inside TLS.
    pub plain: bool,
    /// AUTH EXTERNAL is offered inside TLS to a client whose certificate was verified.
    pub external: bool,
    /// No mail from a client that has not proven who it is, by AUTH or by its certificate.
    pub must_log_in: bool,
    /// Input that came before its time ends the dialogue.
    pub strict: bool,
    /// Errors are answered with growing delay.
    pub tarpit: bool,
}

/// What the client called itself, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Domain or address literal.
    pub name: String,
    /// EHLO: extensions are open to the client.
    pub extended: bool,
}

/// What a handshake has established.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secured {
    /// Protocol and cipher suite: `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    pub tls: String,
    /// The name in the client's verified certificate.
    pub certificate: Option<String>,
}

/// What is known of the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// EHLO or HELO.
    pub hello: Hello,
    /// Protocol and cipher suite of TLS.
    pub tls: Option<String>,
    /// The name in its verified certificate.
    pub certificate: Option<String>,
    /// Who it has become by AUTH.
    pub login: Option<String>,
}

impl Client {
    /// Who it is: by AUTH, else by its certificate.
    pub fn identity(&self) -> Option<&str> {
        self.login.as_deref().or(self.certificate.as_deref())
    }

    /// The word of the `Received` field (RFC 3848).
    pub fn protocol(&self) -> &'static str {
        match (self.hello.extended, self.tls.is_some(), self.login.is_some()) {
            (false, _, _) => "SMTP",
            (true, false, false) => "ESMTP",
            (true, false, true) => "ESMTPA",
            (true, true, false) => "ESMTPS",
            (true, true, true) => "ESMTPSA",
        }
    }
}
