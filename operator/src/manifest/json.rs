//! JSON in which keys must be unique, with numbers as the API server reads them.

use super::scalar;
use serde::{
    Deserialize,
    de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::fmt;

/// The beginning of the message about a repeated key.
const REPEATED: &str = "duplicate key ";

/// The error for a repeated key.
pub(super) fn repeated_key(key: &str) -> String {
    format!("{REPEATED}{key:?}")
}

/// Whether an error is about a repeated key.
pub(super) fn is_repeated_key(error: &serde_json::Error) -> bool {
    error.to_string().starts_with(REPEATED)
}

/// Parses all values in a text.
///
/// # Errors
/// If it is not JSON, or has a repeated key.
pub(super) fn documents(text: &str) -> serde_json::Result<Vec<Value>> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .map(|value| value.map(|Json(value)| value))
        .collect()
}

struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree).map(Json)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        scalar::number(value).ok_or_else(|| E::custom("this number is too large"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let Json(value) = members.next_value()?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(repeated_key(&key)));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
