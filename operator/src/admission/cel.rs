//! Writing values as CEL expressions. Everything that gets into a policy passes through here.

use std::fmt::Write;

/// A text as a CEL string literal. It can't end the literal, whatever it contains.
pub(super) fn string(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\'' | '\\' => {
                literal.push('\\');
                literal.push(character);
            }
            '\n' => literal.push_str("\\n"),
            ' '..='~' => literal.push(character),
            // Writing to a string can't fail.
            _ => drop(write!(literal, "\\U{:08x}", u32::from(character))),
        }
    }
    literal.push('\'');
    literal
}

/// A constant map from texts to texts.
pub(super) fn map<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let entries: Vec<String> = entries.into_iter().map(entry).collect();
    format!("{{{}}}", entries.join(", "))
}

/// An entry of [`map`].
pub(super) fn entry((key, value): (&str, &str)) -> String {
    format!("{}: {}", string(key), string(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a literal as CEL does; `None` if it is none, or if something follows it.
    fn read(literal: &str) -> Option<String> {
        let mut rest = literal.strip_prefix('\'')?.strip_suffix('\'')?.chars();
        let mut text = String::new();
        while let Some(character) = rest.next() {
            match character {
                '\'' => return None,
                '\\' => match rest.next()? {
                    'n' => text.push('\n'),
                    'U' => {
                        let digits: String = rest.by_ref().take(8).collect();
                        text.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                    }
                    escaped @ ('\'' | '\\') => text.push(escaped),
                    _ => return None,
                },
                ' '..='~' => text.push(character),
                _ => return None,
            }
        }
        Some(text)
    }

    #[test]
    fn a_literal_is_what_one_would_write() {
        assert_eq!(string("a'b\\c\nd"), r"'a\'b\\c\nd'");
        assert_eq!(string("é"), r"'\U000000e9'");
        assert_eq!(map([("a", "1"), ("b", "2")]), "{'a': '1', 'b': '2'}");
        assert_eq!(map([]), "{}");
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(text in any::<String>()) {
            prop_assert_eq!(read(&string(&text)), Some(text));
        }
    }
}
