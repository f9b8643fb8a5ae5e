//! The schema of the committed definitions. What the API server does with the same was looked at
//! with `dryRun=All&fieldValidation=Strict`.

use super::*;
use crate::crd;
use serde_json::json;

/// What the reader does with a keyword of a schema.
const KNOWN: [&str; 23] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "nullable",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-validations",
    // Of the status, which nobody reads from a manifest, and of other kinds.
    "pattern",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "openAPIV3Schema",
];

fn keywords(schema: &Value, found: &mut Vec<String>, rules: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else {
        return;
    };
    for (keyword, value) in schema {
        found.push(keyword.clone());
        match keyword.as_str() {
            "properties" => {
                for property in value.as_object().unwrap().values() {
                    keywords(property, found, rules);
                }
            }
            "items" | "additionalProperties" => keywords(value, found, rules),
            "x-kubernetes-validations" => {
                let texts = value.as_array().unwrap().iter();
                rules.extend(texts.map(|rule| rule["rule"].as_str().unwrap().to_owned()));
            }
            _ => {}
        }
    }
}

#[test]
fn every_keyword_and_rule_of_our_definitions_is_one_that_is_held_to() {
    let (mut found, mut rules) = (Vec::new(), Vec::new());
    for definition in crd::definitions() {
        let schema = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        keywords(&schema["openAPIV3Schema"], &mut found, &mut rules);
    }
    assert!(found.len() > 100 && !rules.is_empty());
    found.retain(|keyword| !KNOWN.contains(&keyword.as_str()));
    assert!(found.is_empty(), "{found:?}");
    rules.retain(|rule| !RULES.iter().any(|(known, _)| known == rule));
    assert!(rules.is_empty(), "{rules:?}");
}

/// A schema from JSON.
fn schema(schema: &Value) -> JSONSchemaProps {
    serde_json::from_value(schema.clone()).unwrap()
}

fn problems(of: &Value, value: &Value) -> Vec<String> {
    let mut object = json!({"f": value});
    let of = json!({"type": "object", "properties": {"f": of}});
    hold(&schema(&of), &mut object)
}

#[test]
fn types_and_limits_are_held_to_and_the_field_is_named() {
    let text = json!({"type": "string", "minLength": 2, "maxLength": 3});
    let number = json!({"type": "integer", "minimum": 0, "maximum": 9});
    let either =
        json!({"x-kubernetes-int-or-string": true, "minimum": 0, "maximum": 9, "maxLength": 3});
    let list = json!({"type": "array", "maxItems": 2, "items": number});
    let word = json!({"type": "string", "enum": ["A", "B"]});
    let object = json!({"type": "object", "required": ["r"], "properties": {"r": text}});
    for (schema, good, bad, said) in [
        (&text, json!("äöü"), json!("äöüß"), "f: has 4 characters"),
        (&text, json!("ab"), json!("a"), "f: is too short"),
        (
            &text,
            json!("ab"),
            json!(true),
            "f: must be of type string, not a boolean",
        ),
        (
            &text,
            json!("ab"),
            json!(511),
            "f: must be of type string, not an integer",
        ),
        (&number, json!(0), json!(-1), "f: -1 is less than 0"),
        (&number, json!(9), json!(10), "f: 10 is more than 9"),
        (
            &number,
            json!(9),
            json!(1.5),
            "f: must be of type integer, not a number",
        ),
        (
            &number,
            json!(9),
            json!(u64::MAX),
            "f: must be of type integer",
        ),
        (
            &number,
            json!(9),
            json!("9"),
            "f: must be of type integer, not a string",
        ),
        (&either, json!("abc"), json!("abcd"), "f: has 4 characters"),
        (&either, json!(9), json!(10), "f: 10 is more than 9"),
        (
            &either,
            json!(9),
            json!(true),
            "f: must be of type integer or string",
        ),
        (&list, json!([1, 2]), json!([1, 2, 3]), "f: has 3 items"),
        (&list, json!([]), json!([1, 10]), "f[1]: 10 is more than 9"),
        (
            &list,
            json!([]),
            json!([null]),
            "f[0]: must be of type integer, not null",
        ),
        (
            &list,
            json!([]),
            json!({}),
            "f: must be of type array, not an object",
        ),
        (
            &word,
            json!("A"),
            json!("a"),
            "f: \"a\" is not one of \"A\", \"B\"",
        ),
        (&object, json!({"r": "ab"}), json!({}), "f.r: is required"),
        (
            &object,
            json!({"r": "ab"}),
            json!({"r": null}),
            "f.r: is required",
        ),
        (
            &object,
            json!({"r": "ab"}),
            json!({"r": "ab", "s": 1}),
            "f.s: unknown field",
        ),
        (
            &object,
            json!({"r": "ab"}),
            json!([]),
            "f: must be of type object",
        ),
    ] {
        assert_eq!(problems(schema, &good), [""; 0], "{good}");
        let found = problems(schema, &bad);
        assert!(
            found.len() == 1 && found[0].starts_with(said),
            "{bad}: {found:?}"
        );
    }
}

#[test]
fn null_is_absent_where_a_field_can_not_be_null() {
    let of = schema(&json!({"type": "object", "properties": {
        "absent": {"type": "array"}, "kept": {"type": "string", "nullable": true}}}));
    let mut object = json!({"absent": null, "kept": null});
    assert_eq!(hold(&of, &mut object), [""; 0]);
    assert_eq!(object, json!({"kept": null}));
}

#[test]
fn everything_that_is_wrong_is_told() {
    let of = json!({"type": "array", "items": {"type": "integer", "maximum": 1}});
    assert_eq!(problems(&of, &json!([2, "a", 1, 3])).len(), 3);
}
