use super::Address;
/// MAIL FROM.
#[derive(Clone, Debug)]
pub enum ReversePath {
    Null,
    Mailbox(Address),
}
/// BODY= of RFC 6152.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    SevenBit,
    EightBitMime,
}
#[derive(Clone, Debug)]
pub struct Envelope {
    pub reverse_path: ReversePath,
    pub recipients: Vec<Address>,
    pub body: BodyType,
}
