//! Reads the relevant members of an object in `config.json` and makes sure that every runtime would
//! read the same: each name is given once and in the right case.

use portcullis_profile::document::equal_folded;
use serde::{
    Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};

/// The texts of the members with these names; `None` for absent ones, `null` as it is.
///
/// # Errors
/// It is not a JSON object, or has one of the names twice (crun uses the first, Go's parser the
/// last) or in another case (which only runc accepts as the same member).
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let found = deserializer.deserialize_map(Names(names))?;
    deserializer.end()?;
    Ok(found)
}

struct Names<const N: usize>([&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Names<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Key(key)) = map.next_key()? {
            let value = map.next_value::<&'de RawValue>()?;
            let Some(place) = self.0.iter().position(|name| equal_folded(name, &key)) else {
                continue;
            };
            let name = self.0[place];
            if name != key {
                return Err(A::Error::custom(format_args!(
                    "the key {key:?} differs from {name:?} only in case: runc would read it as \
                     that, crun would not"
                )));
            }
            if found[place].replace(value).is_some() {
                return Err(A::Error::custom(format_args!("{name:?} is given twice")));
            }
        }
        Ok(found)
    }
}

/// A key, copied only if it contains escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::members;
    use proptest::prelude::*;

    const NAMES: [&str; 2] = ["seccomp", "linux"];

    fn accepts(text: &str, expected: [Option<&str>; 2]) {
        let found = members(text, NAMES).unwrap();
        assert_eq!(
            found.map(|raw| raw.map(serde_json::value::RawValue::get)),
            expected
        );
    }

    fn rejects(text: &str, reason: &str) {
        let message = members(text, NAMES).unwrap_err().to_string();
        assert!(message.contains(reason), "{text}: {message}");
    }

    #[test]
    fn known_members_are_found_among_others() {
        accepts("{}", [None, None]);
        accepts(
            r#"{"x": {"linux": 1}, "linux": [ 1 ]}"#,
            [None, Some("[ 1 ]")],
        );
        accepts(
            r#" {"seccomp":null,"linux":""} "#,
            [Some("null"), Some("\"\"")],
        );
        accepts(r#"{"\u006cinux": 1}"#, [None, Some("1")]);
        accepts(r#"{"linux ": 1, "linu": 2, "linuxx": 3}"#, [None, None]);
    }

    #[test]
    fn other_values_and_what_follows_are_refused() {
        for text in [
            "",
            "[]",
            "null",
            "3",
            "{",
            r#"{"a":}"#,
            "{} x",
            r#"{"linux":1}{}"#,
        ] {
            assert!(members(text, NAMES).is_err(), "{text}");
        }
        rejects("[]", "expected an object");
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        rejects(r#"{"linux":1,"linux":1}"#, r#""linux" is given twice"#);
        rejects(r#"{"linux":1,"linu\u0078":1}"#, r#""linux" is given twice"#);
    }

    #[test]
    fn a_letter_that_go_folds_is_another_case() {
        rejects(r#"{"ſeccomp":{}}"#, "differs from \"seccomp\" only in case");
        rejects(r#"{"\u017feccomp":{}}"#, "only in case");
    }

    proptest! {
        /// Together with the right key, before or after it, or alone.
        #[test]
        fn a_name_in_another_case_is_refused(
            upper in prop::collection::vec(any::<bool>(), 7),
            which in 0..2_usize,
            beside in any::<bool>(),
            first in any::<bool>(),
        ) {
            let name = NAMES[which];
            let written: String = name
                .chars()
                .zip(upper)
                .map(|(letter, upper)| if upper { letter.to_ascii_uppercase() } else { letter })
                .collect();
            prop_assume!(written != name);
            let odd = format!("{written:?}: 1");
            let right = format!("{name:?}: 2");
            let inside = match (beside, first) {
                (false, _) => odd,
                (true, true) => format!("{odd}, {right}"),
                (true, false) => format!("{right}, {odd}"),
            };
            let text = format!("{{{inside}}}");
            prop_assert!(members(&text, NAMES).is_err(), "{}", text);
        }
    }
}
