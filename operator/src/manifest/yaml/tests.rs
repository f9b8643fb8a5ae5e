//! What `sigs.k8s.io/yaml` 1.6.0, which kubectl and the API server use, makes of the same texts.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn reads(text: &str, value: &Value) {
    assert_eq!(documents(text), [Ok(value.clone())], "{text:?}");
}

fn rejects(text: &str, line: usize, with: &str) {
    let read = documents(text);
    let error = read.into_iter().find_map(Result::err);
    let error = error.unwrap_or_else(|| panic!("{text:?} was read"));
    assert!(error.problem.contains(with), "{text:?}: {error}");
    assert_eq!(error.line, line, "{text:?}: {error}");
}

#[test]
fn plain_scalars_mean_what_they_mean_in_yaml_1_1() {
    for (text, value) in [
        ("0777", json!(511)),
        ("0o17", json!(15)),
        ("08", json!(8)),
        ("0x1F", json!(31)),
        ("-0b11", json!(-3)),
        ("0b-1", json!(-1)),
        ("1_000", json!(1000)),
        ("+5", json!(5)),
        ("1e3", json!(1000)),
        ("1.0", json!(1)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("-0", json!(0)),
        (
            "1.2345678901234567e18",
            json!(1_234_567_890_123_456_800_i64),
        ),
        ("9223372036854775807", json!(i64::MAX)),
        ("18446744073709551615", json!(u64::MAX)),
        ("1e999", json!("1e999")),
        ("0xg", json!("0xg")),
        ("12:30:45", json!("12:30:45")),
        ("2001-01-01", json!("2001-01-01")),
        ("y", json!(true)),
        ("No", json!(false)),
        ("ON", json!(true)),
        ("off", json!(false)),
        ("tRUE", json!("tRUE")),
        ("nULL", json!("nULL")),
        ("'yes'", json!("yes")),
        ("\"0777\"", json!("0777")),
        ("!!str 0777", json!("0777")),
        ("!!int '5'", json!(5)),
        ("!!float 5", json!(5)),
        ("!!str", json!("")),
        ("|\n  a\n", json!("a\n")),
        ("|\n  a", json!("a")),
        ("a #b", json!("a")),
        ("a#b", json!("a#b")),
    ] {
        reads(&format!("k: {text}"), &json!({ "k": value }));
        reads(&format!("- {text}"), &json!([value]));
    }
    for null in ["", "~", "null", "Null", "NULL", "!!null ''"] {
        reads(&format!("k: {null}\n"), &json!({ "k": null }));
    }
}

#[test]
fn keys_become_texts() {
    reads(
        "1: a\n0x1F: b\nyes: c\n'no': d\n",
        &json!({"1": "a", "31": "b", "true": "c", "no": "d"}),
    );
    for key in ["~", "1.5", "[a]", "18446744073709551615"] {
        rejects(&format!("\n? {key}\n: a\n"), 2, "a key must be a text");
    }
}

#[test]
fn merge_keys_count_by_their_place() {
    let anchors = "a: &a {p: 1, q: 2}\nb: &b {q: 3}\n";
    let merged = |text: &str| {
        let text = format!("{anchors}{text}");
        documents(&text).remove(0).unwrap()["c"].clone()
    };
    for (text, value) in [
        ("c: {<<: *a, q: 9}", json!({"p": 1, "q": 9})),
        ("c: {q: 9, <<: *a}", json!({"p": 1, "q": 2})),
        ("c: {<<: [*a, *b]}", json!({"p": 1, "q": 2})),
        ("c: {<<: [*b, *a]}", json!({"p": 1, "q": 3})),
        ("c: {<<: {z: 1}, <<: *b}", json!({"z": 1, "q": 3})),
        ("c: {'<<': *b}", json!({"<<": {"q": 3}})),
        ("c: [<<]", json!(["<<"])),
    ] {
        assert_eq!(merged(text), value, "{text}");
    }
    for text in ["c: {<<: 1}", "c: {<<: [1]}", "l: &l [*a]\nc: {<<: *l}"] {
        let lines = 2 + text.lines().count();
        rejects(&format!("{anchors}{text}"), lines, "`<<` takes a mapping");
    }
}

#[test]
fn documents_are_separated_by_lines_and_each_fails_alone() {
    let read =
        documents("\u{feff}---\na: 1\n--- # two\n\u{feff}b: [\n---\n---\n# none\n---\nc: 3\n");
    assert_eq!(read.len(), 3, "{read:?}");
    assert_eq!(read[0], Ok(json!({"a": 1})));
    assert_eq!(read[1].as_ref().unwrap_err().line, 4);
    assert_eq!(read[2], Ok(json!({"c": 3})));
    rejects("a: 1\n--- b\nc: 2\n", 2, "only a comment");
    rejects("a: 1\n...\nb: 2\n", 3, "only a line `---`");
    rejects("%YAML 1.1\n", 1, "");
    assert!(documents("# nothing\n---\n").is_empty());
}

#[test]
fn json_is_read_as_json_and_a_flow_mapping_as_yaml() {
    let read = documents("{\"a\": 1.0}\n {\"b\": yes}");
    assert!(read[0].is_err(), "neither: {read:?}");
    assert_eq!(
        documents("{\"a\": 1.0} {\"a\": 1e3}"),
        [Ok(json!({"a": 1})), Ok(json!({"a": 1000}))]
    );
    reads("{a: yes}", &json!({"a": true}));
    reads(
        "{\"a\": \"\u{2028}\\u0085\"}",
        &json!({"a": "\u{2028}\u{85}"}),
    );
}

#[test]
fn what_would_be_dropped_silently_is_refused() {
    for (text, line) in [
        ("a: 1\nb: 2\na: 3\n", 3),
        ("{\"a\": 1,\n\"a\": 1}", 2),
        ("x:\n- 1: a\n  \"1\": b\n", 3),
    ] {
        rejects(text, line, "duplicate key");
    }
    for tag in ["!mine", "!!binary", "!!set", "!"] {
        rejects(&format!("a: {tag} 1"), 1, "tag");
    }
    for tag in ["!!int a", "!!bool 1", "!!float 18446744073709551615"] {
        rejects(&format!("a: {tag}"), 1, "does not match its tag");
    }
    for number in [".inf", "-.Inf", ".nan"] {
        rejects(&format!("a: {number}"), 1, "too large, or not a number");
    }
    for character in ['\u{85}', '\u{2028}', '\u{2029}'] {
        rejects(&format!("a: 1\n# b{character}c: 2"), 2, "line break");
    }
}

#[test]
fn what_takes_too_much_memory_is_refused() {
    let deep = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    assert!(documents(&deep("[", "]", 60))[0].is_ok());
    for text in [
        deep("[", "]", 5000),
        deep("{a: ", "}", 5000),
        deep("- ", "", 5000) + "a",
        (0..5000).fold(String::new(), |text, depth| {
            text + &" ".repeat(depth) + "a:\n"
        }),
        // Each anchor is one deeper than the one before it.
        (1..5000).fold("- &a0 [x]\n".to_owned(), |text, number| {
            text + &format!("- &a{number} [*a{}]\n", number - 1)
        }),
    ] {
        assert!(documents(&text)[0].is_err());
    }
    // Each has ten times what the one before it has: values, texts, and nothing at all.
    for first in ["[x]", &format!("['{}']", "x".repeat(100_000)), "{}"] {
        let by_ten = |text: String, number: usize| {
            let aliases = vec![format!("*a{}", number - 1); 10].join(", ");
            let item = if first == "{}" {
                format!("{{<<: [{aliases}]}}")
            } else {
                format!("[{aliases}]")
            };
            text + &format!("- &a{number} {item}\n")
        };
        let bomb = (1..12).fold(format!("- &a0 {first}\n"), by_ten);
        let error = documents(&bomb).remove(0).unwrap_err();
        assert!(error.problem.contains("too many values"), "{error}");
    }
    let error = documents(&"- a\n".repeat(MAX_VALUES))
        .remove(0)
        .unwrap_err();
    assert!(error.problem.contains("too many values"), "{error}");
    // Few values of much text.
    let texts = |count: usize| {
        let text = "x".repeat(MAX_ALIASED_BYTES / 50);
        format!("- &a '{text}'\n{}", "- *a\n".repeat(count))
    };
    assert!(documents(&texts(49))[0].is_ok());
    assert!(documents(&texts(51))[0].is_err());
    assert!(documents("- &a [*a]\n")[0].is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ \\n\\t{}\\[\\],:\\-&*!|>'\"#%a0<.?~\u{feff}]{0,60}") {
        let _ = documents(&text);
    }

    #[test]
    fn json_means_the_same_as_json_and_as_yaml(
        value in any::<i64>(), text in "[ -~]{0,12}", truth in any::<bool>()
    ) {
        let object = json!({"a": [value, text, truth, Value::Null], "b": {"c": {}}});
        reads(&object.to_string(), &object);
        reads(&format!("--- # one\n{object}\n"), &object);
    }
}
