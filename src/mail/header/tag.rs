//! Finding a tag in a text as a reader would: case, kinds of blanks and characters that nobody sees make no difference.

use super::lenient::{compatible, is_invisible};
use std::ops::Range;

/// A text as it is compared, and where each character of that stands in the text.
#[derive(Clone, Debug)]
pub struct Comparable {
    characters: Vec<char>,
    places: Vec<Range<usize>>,
}

impl Comparable {
    /// Lower case, one blank for any white space in a row, full-width and other compatible characters as their plain
    /// form, nothing for invisible ones.
    pub fn of(text: &str) -> Self {
        let mut comparable =
            Self { characters: Vec::with_capacity(text.len()), places: Vec::with_capacity(text.len()) };
        for (start, character) in text.char_indices() {
            let place = start..start + character.len_utf8();
            if character.is_whitespace() {
                match (comparable.characters.last(), comparable.places.last_mut()) {
                    (Some(' '), Some(last)) => last.end = place.end,
                    _ => comparable.push(' ', place),
                }
            } else if !is_invisible(character) && !character.is_control() {
                for lower in compatible(character).to_lowercase() {
                    // The two small sigmas are one letter; so are `ß` and what its capital becomes.
                    match lower {
                        'ς' => comparable.push('σ', place.clone()),
                        'ß' => {
                            comparable.push('s', place.clone());
                            comparable.push('s', place.clone());
                        }
                        other => comparable.push(other, place.clone()),
                    }
                }
            }
        }
        comparable
    }

    fn push(&mut self, character: char, place: Range<usize>) {
        self.characters.push(character);
        self.places.push(place);
    }

    /// Whether nothing that anybody sees is left.
    pub fn is_empty(&self) -> bool {
        self.characters.is_empty()
    }

    /// What is compared, without blanks around it.
    pub fn trimmed(&self) -> String {
        self.characters.iter().collect::<String>().trim().to_owned()
    }

    /// Where `tag` stands in the text that this was made of.
    pub fn find(&self, tag: &Self) -> Option<Range<usize>> {
        if tag.is_empty() {
            return None;
        }
        let at = self.characters.windows(tag.characters.len()).position(|window| window == tag.characters)?;
        let first = self.places.get(at)?;
        let last = self.places.get(at + tag.characters.len() - 1)?;
        Some(first.start..last.end)
    }

    /// Whether `tag` stands in it.
    pub fn contains(&self, tag: &Self) -> bool {
        self.find(tag).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::Comparable;

    #[test]
    fn o31_a_tag_is_found_as_a_reader_sees_it() {
        let check = |text: &str, tag: &str, expected: Option<&str>| {
            let found = Comparable::of(text).find(&Comparable::of(tag));
            assert_eq!(found.and_then(|place| text.get(place)), expected, "{text:?}");
        };
        check("Re: [Top Secret] x", "[top secret]", Some("[Top Secret]"));
        check("[top\tsecret]", "[top secret]", Some("[top\tsecret]"));
        check("[top  \u{a0} secret]", "[top secret]", Some("[top  \u{a0} secret]"));
        check("[top\u{200b} secret]", "[top secret]", Some("[top\u{200b} secret]"));
        check("[STRASSE]", "[straße]", Some("[STRASSE]"));
        check("[ΟΔΟΣ]", "[οδος]", Some("[ΟΔΟΣ]"));
        check("［ｔｏｐ］", "[top]", Some("［ｔｏｐ］"));
        check("top secret", "[top secret]", None);
        check("", "[a]", None);
    }
}
