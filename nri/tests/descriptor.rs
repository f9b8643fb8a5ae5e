//! The messages and enumerations in `src/api` are those of the Go module, as `descriptor.txt` has them, which
//! `tests/nri/harness/descriptor` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// `LogRequest` belongs to WebAssembly plugins, which this crate is not for.
const LEFT_OUT: &str = "LogRequest ";
/// Its level, and a mark for the end of a list.
const VALUES_LEFT_OUT: [&str; 2] = ["enum Level ", "enum Event LAST "];

/// Names are compared without case and underscores, which is all that Rust's conventions change.
fn plain(name: &str) -> String {
    name.trim_start_matches("r#")
        .replace('_', "")
        .to_lowercase()
}

/// The shape of a field in Rust: wrapping types are gone, and so is what distinguishes enums from numbers.
fn shape(attribute: &str, declared: &str) -> String {
    let base = |name: &str| match name.trim() {
        "String" => "string".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "u32" => "uint32".to_owned(),
        "u64" => "uint64".to_owned(),
        other => plain(other),
    };
    let enumeration = attribute
        .split("enumeration = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let inner = |name: &str| enumeration.map_or_else(|| base(name), plain);
    let between = |prefix: &str| {
        declared
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix('>'))
    };
    if let Some((key, value)) = between("BTreeMap<").and_then(|pair| pair.split_once(',')) {
        format!("map<{},{}>", base(key), base(value))
    } else if let Some(item) = between("Vec<") {
        format!("repeated<{}>", inner(item))
    } else {
        inner(between("Option<").unwrap_or(declared))
    }
}

fn sources() -> impl Iterator<Item = String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    fs::read_dir(folder)
        .expect("src/api")
        .map(|file| fs::read_to_string(file.expect("entry").path()).expect("source"))
}

/// The values of each enumeration: its name, a number, and what the number is called.
fn values() -> BTreeMap<(String, String), String> {
    let mut values = BTreeMap::new();
    for text in sources() {
        let mut enumeration = None;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub enum ") {
                enumeration = Some(plain(rest.trim_end_matches([' ', '{'])));
            } else if line == "}" {
                enumeration = None;
            } else if let Some(enumeration) = &enumeration {
                let (name, number) = line.trim_end_matches(',').split_once(" = ").expect(line);
                values.insert((enumeration.clone(), number.into()), plain(name));
            }
        }
    }
    values
}

fn written() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for text in sources() {
        let (mut message, mut attribute) = (String::new(), String::new());
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                message = plain(rest.trim_end_matches(['{', '}', ' ']));
            } else if line.starts_with("#[prost(") {
                line.clone_into(&mut attribute);
            } else if let Some((name, declared)) = line
                .strip_prefix("pub ")
                .and_then(|rest| rest.split_once(": "))
            {
                let number = attribute
                    .split("tag = \"")
                    .nth(1)
                    .and_then(|rest| rest.split('"').next());
                let number = number.expect("a field has a tag");
                let shape = shape(&attribute, declared.trim_end_matches(','));
                fields.insert(format!("{message} {} {number} {shape}", plain(name)));
            }
        }
    }
    fields
}

#[test]
fn messages_are_those_of_the_go_module() {
    let expected: BTreeSet<String> = include_str!("descriptor.txt")
        .lines()
        .filter(|line| !line.starts_with(LEFT_OUT) && !line.starts_with("enum "))
        .map(|line| {
            let mut parts = line.split(' ');
            let mut part = || parts.next().expect("four parts");
            format!(
                "{} {} {} {}",
                plain(part()),
                plain(part()),
                part(),
                plain(part())
            )
        })
        .collect();
    assert!(
        expected.len() > 200,
        "descriptor.txt has {} fields",
        expected.len()
    );
    let written = written();
    let missing: Vec<_> = expected.difference(&written).collect();
    let extra: Vec<_> = written.difference(&expected).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "missing: {missing:#?}\nextra: {extra:#?}"
    );
}

#[test]
fn enumerations_are_those_of_the_go_module() {
    let mut written = values();
    let mut count = 0;
    let expected = include_str!("descriptor.txt").lines().filter(|line| {
        line.starts_with("enum ")
            && !VALUES_LEFT_OUT
                .iter()
                .any(|prefix| line.starts_with(prefix))
    });
    for line in expected {
        let mut parts = line.split(' ').skip(1);
        let mut part = || parts.next().expect("three parts");
        let (enumeration, name, number) = (plain(part()), plain(part()), part().to_owned());
        let found = written.remove(&(enumeration, number));
        // Rust's names lack the prefix that all of an enumeration have in common.
        assert!(
            found.as_ref().is_some_and(|found| name.ends_with(found)),
            "{line}: {found:?}"
        );
        count += 1;
    }
    assert!(count > 80, "descriptor.txt has {count} values");
    assert!(written.is_empty(), "extra: {written:#?}");
}
