//! Properties of any input.

use super::podman;
use crate::{
    Action, Arch, ArgCondition, Context, Document, Engine, Filter, Flag, Operator, Rule,
    filter::MAX_ERRNO, filter::syscalls, parse_filter,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};

/// Keys and strings of documents, and some that are none.
fn word() -> impl Strategy<Value = String> {
    let mut words = vec![
        "defaultAction",
        "DEFAULTACTION",
        "defaultErrnoRet",
        "defaultErrno",
        "architectures",
        "archMap",
        "architecture",
        "subArchitectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
        "names",
        "name",
        "action",
        "errnoRet",
        "errno",
        "args",
        "comment",
        "includes",
        "excludes",
        "caps",
        "arches",
        "minKernel",
        "index",
        "value",
        "valueTwo",
        "op",
        "read",
        "write",
        "EPERM",
        "38",
        "amd64",
        "CAP_KILL",
        "5.10",
        "",
    ];
    words.extend(Action::ALL.iter().map(|action| action.as_str()));
    words.extend(Arch::ALL.iter().map(|arch| arch.as_str()));
    words.extend(Operator::ALL.iter().map(|operator| operator.as_str()));
    words.extend(Flag::ALL.iter().map(|flag| flag.as_str()));
    prop_oneof![9 => select(words).prop_map(str::to_owned), 1 => any::<String>()]
}

/// JSON of any shape, made of what documents are made of.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..10_u64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((word(), inner), 0..8)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// A document in which most things are right.
fn nearly() -> impl Strategy<Value = Value> {
    let name = prop_oneof![9 => select(syscalls::names()).prop_map(Value::from), 1 => value()];
    let action = prop_oneof![
        9 => select(Action::ALL).prop_map(|action| json!(action.as_str())),
        1 => value()
    ];
    let entry = (vec(name, 0..4), action.clone(), word(), value());
    let entry = entry.prop_map(|(names, action, key, value)| {
        let mut entry = json!({"names": names, "action": action});
        entry[key] = value;
        entry
    });
    (action, vec(entry, 0..4), word(), value()).prop_map(|(action, entries, key, value)| {
        let mut document = json!({"defaultAction": action, "syscalls": entries});
        document[key] = value;
        document
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    let argument = (0..6_u8, any::<u64>(), any::<u64>(), select(Operator::ALL));
    let argument = argument.prop_map(|(index, value, value_two, op)| ArgCondition {
        index,
        value,
        value_two,
        op,
    });
    let name = select(syscalls::names()).prop_filter("runc", |name| *name != "write");
    let names = vec(name.prop_map(str::to_owned), 1..5);
    let errno = option::of(0..=MAX_ERRNO);
    (names, select(Action::ALL), errno, vec(argument, 0..=8)).prop_map(
        |(names, action, errno_ret, args)| Rule {
            names,
            action,
            errno_ret: errno_ret.filter(|_| action.takes_errno()),
            args,
        },
    )
}

/// Any filter that a document can say.
fn filter() -> impl Strategy<Value = Filter> {
    let default = select(Action::ALL).prop_filter("runc", |action| *action != Action::Notify);
    (
        default,
        option::of(0..=MAX_ERRNO),
        vec(select(Arch::ALL), 0..4),
        option::of(vec(select(Flag::ALL), 0..4)),
        "[^\0]{1,20}",
        option::of("[^\0]{1,20}"),
        vec(rule(), 0..6),
    )
        .prop_map(
            |(default_action, errno, architectures, flags, path, metadata, syscalls)| Filter {
                default_action,
                default_errno_ret: errno.filter(|_| default_action.takes_errno()),
                architectures,
                flags,
                listener_path: Some(path),
                listener_metadata: metadata,
                syscalls,
            },
        )
}

/// Reads a text in every way and checks what must hold of each outcome.
fn read(text: &[u8]) -> Result<(), TestCaseError> {
    let problems = Document::problems(text);
    for problem in &problems {
        let line = problem.to_string();
        prop_assert!(
            line.len() < 1000 && !line.contains(char::is_control),
            "{}",
            line
        );
    }
    match Document::parse(text) {
        Err(error) => prop_assert_eq!(Some(&error), problems.first()),
        Ok(document) => {
            prop_assert_eq!(&problems, &[]);
            for engine in Engine::ALL {
                // What is resolved is what a runtime is told, and reads as the same again.
                if let Ok(filter) = document.resolve(&Context { engine, ..podman() }) {
                    let written = serde_json::to_vec(&filter).expect("JSON");
                    prop_assert_eq!(parse_filter(&written), Ok(filter.clone()));
                    // A runtime does not read all that an engine does.
                    if engine == Engine::Containerd
                        && let Ok(there) = parse_filter(text)
                    {
                        prop_assert_eq!(there, filter);
                    }
                }
            }
        }
    }
    let _ = parse_filter(text);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes_are_read_or_refused(text in vec(any::<u8>(), 0..300)) {
        read(&text)?;
    }

    #[test]
    fn any_json_is_read_or_refused(value in value()) {
        read(value.to_string().as_bytes())?;
    }

    #[test]
    fn documents_with_mistakes_are_read_or_refused(value in nearly()) {
        read(value.to_string().as_bytes())?;
    }

    #[test]
    fn a_cut_document_is_refused(filter in filter(), share in 0.0..1.0_f64) {
        let text = serde_json::to_vec(&filter).expect("JSON");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let end = (text.len() as f64 * share) as usize;
        prop_assert!(Document::parse(&text[..end]).is_err());
    }

    #[test]
    fn a_filter_that_is_written_is_read_as_the_same(filter in filter()) {
        let text = serde_json::to_vec(&filter).expect("JSON");
        prop_assert_eq!(parse_filter(&text), Ok(filter.clone()));
        let document = Document::parse(&text).expect("a valid document");
        for engine in Engine::ALL {
            let context = Context { engine, ..podman() };
            let mut expected = filter.clone();
            if engine == Engine::Podman {
                expected.flags = expected.flags.filter(|flags| !flags.is_empty());
            }
            prop_assert_eq!(document.resolve(&context), Ok(expected));
        }
    }
}
