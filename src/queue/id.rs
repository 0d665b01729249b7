//! Queue ids.

use std::fmt;

/// 60 random bits in base32, lower case: twelve characters. Made before the plan; stands in `Received`, the 250, header
/// fields and logs. Never a row number: it tells nothing about how much mail there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(String);

impl QueueId {
    /// A new id.
    pub fn random() -> Self {
        let octets: [u8; 8] = crate::seal::random();
        let text: String = data_encoding::BASE32_NOPAD.encode(&octets).chars().take(LENGTH).collect();
        Self(text.to_ascii_lowercase())
    }

    /// Reads an id as an operator types it.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let good = text.len() == LENGTH && text.bytes().all(|octet| matches!(octet, b'a'..=b'z' | b'2'..=b'7'));
        good.then_some(Self(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for QueueId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Characters of 5 bits each.
const LENGTH: usize = 12;

#[cfg(test)]
mod tests {
    use super::QueueId;

    #[test]
    fn ids_are_twelve_characters_and_parse_back() {
        let ids: std::collections::HashSet<QueueId> = (0..1000).map(|_| QueueId::random()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            assert_eq!(QueueId::parse(&id.to_string().to_uppercase()), Some(id));
        }
        for bad in ["", "abc", "abcdefghijk1", "abcdefghijklm", "abcdefghijk'"] {
            assert_eq!(QueueId::parse(bad), None);
        }
    }
}
