//! Enhanced status codes (RFC 3463).
//!
//! Knows the form of a code, not what the codes mean; never invents one. Text that is not a code is `None`.

use std::fmt;

/// RFC 3463 section 2: `status-code = class "." subject "." detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnhancedCode {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// 0..=999
    pub subject: u16,
    /// 0..=999
    pub detail: u16,
}

impl EnhancedCode {
    /// Reads a code at the start of `text`: the code, and the text behind it without its separating spaces.
    /// `None` if the text does not start with a code that ends at a space or at the end.
    pub fn parse_prefix(text: &str) -> Option<(Self, &str)> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = word.split('.');
        let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let class = match class {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        Some((Self { class, subject: number(subject)?, detail: number(detail)? }, rest.trim_start_matches(' ')))
    }
}

/// `1*3DIGIT`
fn number(text: &str) -> Option<u16> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::EnhancedCode;

    #[test]
    fn prefixes() {
        #[track_caller]
        fn check(text: &str, expected: Option<(&str, &str)>) {
            let found = EnhancedCode::parse_prefix(text).map(|(code, rest)| (code.to_string(), rest.to_owned()));
            assert_eq!(found, expected.map(|(code, rest)| (code.to_owned(), rest.to_owned())), "{text}");
        }
        check("2.1.0 Sender ok", Some(("2.1.0", "Sender ok")));
        check("5.7.26", Some(("5.7.26", "")));
        check("3.1.0 no such class", None);
        check("2.1 Sender ok", None);
        check("2.1.0.4 an address", None);
        check("2.1.x", None);
        check("5.1111.0 x", None);
        check("", None);
    }
}
