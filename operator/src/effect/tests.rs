//! The effects of files, each compiled for real.

use super::*;
use crate::resolve::resolve;
use serde_json::{Value, json};

fn file(spec: &Value) -> Resolved {
    resolve("p", &spec.to_string(), &|_| None::<&str>)
        .unwrap()
        .unwrap()
}

fn effect(spec: &Value) -> Effect {
    let resolved = file(spec);
    let mut effects = Effects::new(Limits::default());
    assert_eq!(effects.of("p", &resolved.sum), None);
    effects.start(|_| Some(file(spec)));
    assert_eq!(effects.next_blocking().as_deref(), Some("p"));
    let found = effects.of("p", &resolved.sum).cloned().unwrap();
    assert!(!effects.is_waiting(), "it is looked at again");
    found
}

fn unusable(spec: &Value, expected: &[&str]) {
    let Effect::Unusable(why) = effect(spec) else {
        panic!("{spec}");
    };
    for expected in expected {
        assert!(why.contains(expected), "{why}");
    }
}

fn denying(names: &[&str], args: &Value) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ERRNO", "args": args})
}

/// libseccomp 2.5.4 compiles it to a program that applies no native rule.
fn lost() -> Value {
    let new_user = json!([{"index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000,
        "op": "SCMP_CMP_MASKED_EQ"}]);
    json!({"defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"],
        "syscalls": [denying(&["clone", "unshare"], &new_user), denying(&["umount"], &json!([]))]})
}

#[test]
fn a_faulty_profile_is_unusable_and_the_message_names_its_authors_fields() {
    assert_eq!(
        effect(&json!({"allow": ["mkdir"]})),
        Effect::Usable(Vec::new())
    );
    if cfg!(target_arch = "x86_64") {
        unusable(
            &lost(),
            &["would not do what the profile says: spec.syscalls[0]: clone on SCMP_ARCH_X86_64"],
        );
    }
}

/// Both rules are named, each with its action.
#[test]
fn rules_that_contradict_each_other_are_both_named() {
    let kill = json!({"names": ["mkdir"], "action": "SCMP_ACT_KILL_PROCESS"});
    let denied = denying(&["mkdir"], &json!([]));
    unusable(
        &json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied, kill]}),
        &[
            "spec.syscalls[1]: mkdir",
            "should get SCMP_ACT_KILL_PROCESS",
            "gives SCMP_ACT_ERRNO (1), which spec.syscalls[0] says",
        ],
    );
    let other = json!({"names": ["mkdir"], "action": "SCMP_ACT_TRAP"});
    unusable(
        &json!({"syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"}, other], "allow": ["mkdir"]}),
        &["spec.syscalls[1]: mkdir", "which spec.syscalls[0] says"],
    );
}

/// Bases count, and so does what container runtimes need.
#[test]
fn a_profile_that_breaks_the_operators_rules_is_not_allowed_and_the_message_says_which() {
    let limits = Limits {
        forbidden_calls: ["ptrace", "prctl"].map(str::to_owned).into(),
        ..Limits::default()
    };
    let mut effects = Effects::new(limits);
    let mut effect = |name: &str, spec: &Value| {
        let base = json!({"allow": ["ptrace"]}).to_string();
        let find = |name: &str| (name == "base").then_some(base.as_str());
        let file = resolve(name, &spec.to_string(), &find).unwrap().unwrap();
        assert_eq!(effects.of(name, &file.sum), None);
        effects.start(|_| Some(file.clone()));
        assert_eq!(effects.next_blocking().as_deref(), Some(name));
        effects.of(name, &file.sum).cloned().unwrap()
    };
    let said = |what: &str| {
        Effect::NotAllowed(format!(
            "the operator's configuration does not allow it: it lets through {what}, \
             forbidden by --forbidden-syscalls"
        ))
    };
    let omit = "Omit";
    for (name, spec, expected) in [
        (
            "own",
            json!({"allow": ["ptrace"], "runtimeBase": omit}),
            said("ptrace (spec.allow)"),
        ),
        (
            "runtime",
            json!({"allow": ["read"]}),
            said("prctl (syscalls[1] of the file (from a base))"),
        ),
        (
            "stacked",
            json!({"allow": ["read"], "baseProfileName": "base", "runtimeBase": omit}),
            said("ptrace (syscalls[1] of the file (from a base))"),
        ),
        (
            "default",
            json!({"defaultAction": "SCMP_ACT_LOG", "syscalls": [
                {"names": ["prctl"], "action": "SCMP_ACT_ERRNO"}]}),
            said("ptrace (spec.defaultAction)"),
        ),
        (
            "denied",
            json!({"baseProfileName": "base", "syscalls": [
                {"names": ["ptrace", "prctl"], "action": "SCMP_ACT_ERRNO"}]}),
            Effect::Usable(Vec::new()),
        ),
    ] {
        assert_eq!(effect(name, &spec), expected, "{name}");
    }
}

#[test]
fn a_message_names_the_fields_that_the_places_of_the_file_come_from() {
    let place = Place {
        own: 2,
        has_allow: true,
    };
    assert_eq!(
        place.in_spec("syscalls[0] and syscalls[2], not syscalls[x] or syscalls[3]: [1]"),
        "spec.syscalls[0] and spec.allow, not syscalls[x] or syscalls[3] of the file (from a base): [1]"
    );
}

#[test]
fn a_file_that_changes_meanwhile_is_checked_again() {
    let (before, after) = (json!({"allow": ["mkdir"]}), json!({"allow": ["rmdir"]}));
    let mut effects = Effects::new(Limits::default());
    assert_eq!(effects.of("p", &file(&before).sum), None);
    effects.start(|_| Some(file(&before)));
    assert_eq!(effects.of("p", &file(&after).sum), None);
    assert_eq!(effects.next_blocking(), None, "it is of the old file");
    assert!(effects.is_waiting());
    effects.start(|_| Some(file(&after)));
    assert_eq!(effects.next_blocking().as_deref(), Some("p"));
    assert!(effects.of("p", &file(&after).sum).is_some());
    effects.forget("p");
    assert_eq!(effects.of("p", &file(&after).sum), None);
}

#[test]
fn what_can_not_be_compiled_is_looked_at_again_only_after_a_while() {
    let lt = |index: u8, op: &str, value: u8| json!({"index": index, "value": value, "op": op});
    let (a, b) = (lt(0, "SCMP_CMP_LT", 9), lt(2, "SCMP_CMP_GE", 3));
    let c = lt(1, "SCMP_CMP_EQ", 1);
    let endless = json!({"syscalls": [
        denying(&["mkdir"], &json!([a, b, c])), denying(&["mkdir"], &json!([a, b]))],
        "defaultAction": "SCMP_ACT_ALLOW"});
    let sum = file(&endless).sum;
    let mut effects = Effects::new(Limits::default());
    assert_eq!(effects.of("p", &sum), None);
    effects.start(|_| Some(file(&endless)));
    effects.next_blocking();
    let first = effects.of("p", &sum).cloned();
    let Some(Effect::Unusable(why)) = &first else {
        panic!("{first:?}");
    };
    assert!(
        why.contains("did not finish within 2 s on the rules for mkdir"),
        "{why}"
    );
    assert!(!effects.is_waiting());
    effects.known.get_mut("p").unwrap().retry = Some((Instant::now(), RETRY));
    assert_eq!(effects.of("p", &sum).cloned(), first);
    assert!(effects.is_waiting());
    // If asked again, it is queued only once.
    effects.of("p", &sum);
    assert_eq!(effects.waiting.len(), 1);
}
