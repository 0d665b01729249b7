//! Text for a log that does not name people.

use std::borrow::Cow;

/// `text` without what may be a mail address: every run of characters around an `@`, up to a blank, a bracket or a quote, is
/// `[address]`.
pub fn without_addresses(text: &str) -> Cow<'_, str> {
    if !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for word in text.split_inclusive(ends_a_word) {
        let end = word.chars().next_back().filter(|end| ends_a_word(*end));
        if word.contains('@') {
            out.push_str("[address]");
            out.extend(end);
        } else {
            out.push_str(word);
        }
    }
    Cow::Owned(out)
}

fn ends_a_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | ',' | ';' | '"' | '\'' | '`')
}

#[cfg(test)]
mod tests {
    use super::without_addresses;

    #[test]
    fn addresses_leave_and_the_rest_stays() {
        for (text, expected) in [
            ("250 2.0.0 queued as 4a7", "250 2.0.0 queued as 4a7"),
            ("550 5.1.1 <rina@mitra.example>: unknown", "550 5.1.1 <[address]>: unknown"),
            ("a@b, c@d;e (f@g)\n`h@i`", "[address], [address];e ([address])\n`[address]`"),
            ("mailto:x@y", "[address]"),
            ("@", "[address]"),
            ("pesan untuk \u{e9}@kota.example ditolak", "pesan untuk [address] ditolak"),
            ("\"odd name\"@x.example", "\"odd name\"[address]"),
        ] {
            assert_eq!(without_addresses(text), expected);
        }
    }
}
