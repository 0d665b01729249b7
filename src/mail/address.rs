/// A mailbox, `local-part@domain`, kept exactly as it was written.
#[derive(Clone, Debug)]
pub struct Address {
    text: String,
    at: usize,
    domain: Domain,
}
/// A mail domain or address literal: as written, and as A-labels in lower case.
#[derive(Clone, Debug)]
pub struct Domain {
    text: String,
    ascii: String,
}
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("not a mailbox: `{0}`")]
    Syntax(String),
}
impl Address {
    /// RFC 5321 Mailbox (also quoted local-part, address literal). No angle brackets, no source route.
    pub fn parse(_text: &str) -> Result<Self, AddressError> {
        todo!()
    }
    pub fn as_str(&self) -> &str {
        &self.text
    }
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
    /// The one place where addresses are compared (DESIGN section 5).
    pub fn same_mailbox(&self, _other: &Self) -> bool {
        todo!()
    }
    /// Normal form: two addresses are the same mailbox exactly if their keys are equal. For look-ups.
    pub fn mailbox_key(&self) -> String {
        todo!()
    }
}
impl Domain {
    pub fn parse(_text: &str) -> Result<Self, AddressError> {
        todo!()
    }
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// A-labels, lower case, no trailing dot; literals as written in lower case.
    pub fn ascii(&self) -> &str {
        &self.ascii
    }
    pub fn same(&self, other: &Self) -> bool {
        self.ascii == other.ascii
    }
}
