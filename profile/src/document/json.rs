//! JSON as a tree that keeps what `serde_json::Value` loses: repeated keys, the order of keys, and
//! strings borrowed from the text.

use super::error::{DocumentError, Problem};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, fmt};

/// One JSON value.
#[derive(Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Bool,
    /// A whole number in the range of `u64`.
    Whole(u64),
    /// Any other number.
    Number,
    String(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
}

impl Node<'_> {
    /// The type's name with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool => "a truth value",
            Node::Whole(_) | Node::Number => "a number",
            Node::String(_) => "a string",
            Node::List(_) => "a list",
            Node::Object(_) => "an object",
        }
    }
}

/// Parses exactly one JSON value. The parser limits nesting to 128 levels; memory use is
/// proportional to the text.
pub(super) fn parse(text: &[u8]) -> Result<Node<'_>, DocumentError> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = error.to_string();
        let place = format!(" at line {line} column {column}");
        DocumentError {
            place: String::new(),
            problem: Problem::Syntax {
                line,
                column,
                reason: reason.strip_suffix(&place).unwrap_or(&reason).to_owned(),
            },
        }
    })
}

impl<'de: 'a, 'a> Deserialize<'de> for Node<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tree;

        impl<'de> Visitor<'de> for Tree {
            type Value = Node<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Node<'de>, E> {
                Ok(Node::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Node<'de>, E> {
                Ok(Node::Bool)
            }

            fn visit_u64<E>(self, number: u64) -> Result<Node<'de>, E> {
                Ok(Node::Whole(number))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Node<'de>, E> {
                Ok(Node::Number)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node<'de>, E> {
                Ok(Node::Number)
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Node<'de>, E> {
                Ok(Node::String(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node<'de>, E> {
                Ok(Node::String(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node<'de>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node<'de>, A::Error> {
                let mut object = Vec::new();
                while let Some(Key(key)) = members.next_key()? {
                    object.push((key, members.next_value()?));
                }
                Ok(Node::Object(object))
            }
        }

        deserializer.deserialize_any(Tree)
    }
}

/// A key, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}
