//! The evaluator and its gathering with made-up containers; and that the evaluator is pure.

#![allow(clippy::unwrap_used)]

mod containers;
mod own_default;
mod pure;

use containers::{DEFAULT, DENYING, Memory, OTHER, RELAXED, STRICTER, container};
use portcullis_profile::{
    Action, Engine,
    compose::relax::relax,
    filter::reader::Runtime,
    gate::{Code, PresentFilter, Recording, Stage, Standing, Verdict},
    settings::{Mode, ReplaceDefault, Require},
};

const PROFILE: Option<&str> = Some("localhost/p.json");
const DEFAULT_REFERENCE: Option<&str> = Some("runtime/default");

/// Whether the verdict sets a filter that denies nothing and has this default action.
fn logs(verdict: &Verdict, default: Action) -> bool {
    matches!(verdict, Verdict::Set { filter, denials_logged: true }
        if filter.default_action == default && relax(filter).is_none())
}

#[test]
fn every_row_decides_alike_under_every_engine() {
    use PresentFilter::{Document, EngineDefault, None as Bare, Unknown};
    use Stage::{Apply, Verify};
    let none = Document("{}");
    let empty = Document(r#"{"defaultAction":""}"#);
    let rows = [
        (Apply, Bare, PROFILE, Ok("set")),
        (Apply, none, PROFILE, Ok("set")),
        (Apply, empty, PROFILE, Ok("set")),
        (Apply, Document(DENYING), PROFILE, Ok("Selected")),
        (Apply, Document(OTHER), PROFILE, Err(Code::Conflict)),
        (Apply, Document(DEFAULT), PROFILE, Ok("set")),
        (Apply, Document("[]"), PROFILE, Err(Code::Input)),
        (Apply, EngineDefault, PROFILE, Ok("set")),
        (Apply, Unknown, PROFILE, Err(Code::Conflict)),
        (Apply, Bare, DEFAULT_REFERENCE, Ok("set")),
        (Apply, none, DEFAULT_REFERENCE, Ok("set")),
        (Apply, Document(OTHER), DEFAULT_REFERENCE, Ok("Kept")),
        (Apply, Unknown, DEFAULT_REFERENCE, Err(Code::Conflict)),
        (Apply, Document(OTHER), Some("unconfined"), Ok("Kept")),
        (Apply, Bare, Some("unconfined"), Ok("Nothing")),
        (Apply, Bare, None, Ok("Nothing")),
        (Apply, Document("[]"), None, Ok("Nothing")),
        (Apply, Unknown, None, Ok("Nothing")),
        (Apply, Bare, Some("localhost/../p"), Err(Code::Annotation)),
        (Verify, Bare, PROFILE, Err(Code::FilterMissing)),
        (Verify, none, PROFILE, Err(Code::FilterMissing)),
        (Verify, empty, PROFILE, Err(Code::FilterMissing)),
        (Verify, Document(DENYING), PROFILE, Ok("Selected")),
        (Verify, Document(OTHER), PROFILE, Err(Code::Conflict)),
        (Verify, Document(DEFAULT), PROFILE, Err(Code::Conflict)),
        (Verify, Document("[]"), PROFILE, Err(Code::Input)),
        (Verify, Bare, DEFAULT_REFERENCE, Err(Code::FilterMissing)),
        (Verify, none, DEFAULT_REFERENCE, Err(Code::FilterMissing)),
        (Verify, Document("[]"), DEFAULT_REFERENCE, Err(Code::Input)),
        (Verify, Document(OTHER), DEFAULT_REFERENCE, Ok("Kept")),
        (
            Verify,
            Document(DEFAULT),
            DEFAULT_REFERENCE,
            Ok("EngineDefault"),
        ),
        (Verify, Document(OTHER), Some("unconfined"), Ok("Kept")),
        (Verify, Document(OTHER), None, Ok("Nothing")),
        (Verify, Bare, None, Ok("Nothing")),
    ];
    for engine in Engine::ALL {
        for (stage, present, reference, expected) in rows {
            let mut made = container(engine, reference);
            made.present = present;
            made.stage = stage;
            let evaluation = made.decide();
            let found = match &evaluation.verdict {
                Verdict::Refuse(reason) => Err(reason.code()),
                Verdict::Set { .. } => Ok("set".to_owned()),
                Verdict::Leave(standing) => Ok(format!("{standing:?}")),
            };
            assert_eq!(
                found,
                expected.map(str::to_owned),
                "{engine} {stage:?} {present:?} {reference:?}: {}",
                evaluation.sentence()
            );
        }
    }
}

#[test]
fn a_required_filter_is_one_that_a_runtime_loads() {
    for (present, starts) in [
        (PresentFilter::None, false),
        (PresentFilter::Document("{}"), false),
        (PresentFilter::Document(r#"{"defaultAction":null}"#), false),
        // Go's parser reads this key.
        (
            PresentFilter::Document(r#"{"DefaultAction":"SCMP_ACT_ERRNO"}"#),
            false,
        ),
        (PresentFilter::Document("[]"), false),
        (PresentFilter::Document(OTHER), true),
    ] {
        for stage in [Stage::Apply, Stage::Verify] {
            let mut made = container(Engine::CriO, None);
            made.settings.require = Require::AnyFilter;
            made.present = present;
            made.stage = stage;
            let evaluation = made.decide();
            let code = evaluation.code();
            assert_eq!(
                code.is_none(),
                starts,
                "{present:?}: {}",
                evaluation.sentence()
            );
        }
    }
}

#[test]
fn the_engines_default_is_replaced_as_settings_say() {
    let by_word = PresentFilter::EngineDefault;
    for (replace, present, profile, default, code) in [
        (
            ReplaceDefault::Stricter,
            by_word,
            STRICTER,
            Some(DEFAULT),
            None,
        ),
        (
            ReplaceDefault::Stricter,
            by_word,
            OTHER,
            Some(DEFAULT),
            Some(Code::Conflict),
        ),
        (
            ReplaceDefault::Stricter,
            by_word,
            STRICTER,
            None,
            Some(Code::Conflict),
        ),
        (ReplaceDefault::Any, by_word, OTHER, None, None),
        (
            ReplaceDefault::Never,
            by_word,
            STRICTER,
            Some(DEFAULT),
            Some(Code::Conflict),
        ),
        (
            ReplaceDefault::Stricter,
            PresentFilter::Document(DEFAULT),
            OTHER,
            Some(DEFAULT),
            Some(Code::Conflict),
        ),
        (
            ReplaceDefault::Any,
            PresentFilter::Document(DEFAULT),
            OTHER,
            Some(DEFAULT),
            None,
        ),
    ] {
        let mut made = container(Engine::Containerd, PROFILE);
        made.source = Memory {
            profile: Some(profile),
            default,
            runtime: Runtime::Either,
            cached: None,
        };
        made.settings.replace_default = replace;
        made.present = present;
        let evaluation = made.decide();
        assert_eq!(
            evaluation.code(),
            code,
            "{replace:?} {present:?}: {}",
            evaluation.sentence()
        );
    }
}

/// A7: on x86 a rule for `socket` opens `socketcall`, which the default denies.
#[test]
fn a_profile_that_opens_a_multiplexer_does_not_replace_a_default_that_denies_it() {
    let default = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["socketcall"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let opens = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["read","socket"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let does_not = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
    for (profile, code) in [(opens, Some(Code::Conflict)), (does_not, None)] {
        let mut made = container(Engine::CriO, PROFILE);
        made.source = Memory {
            profile: Some(profile),
            default: Some(default),
            ..made.source
        };
        made.present = PresentFilter::Document(default);
        let evaluation = made.decide();
        let sentence = evaluation.sentence();
        assert_eq!(evaluation.code(), code, "{sentence}");
        let names = "allows socketcall on SCMP_ARCH_X86 where the default does not";
        assert_eq!(sentence.contains(names), code.is_some(), "{sentence}");
    }
}

/// A8: the second rule would silently not be there.
#[test]
fn of_rules_of_which_one_would_not_be_there_both_are_named() {
    let killed = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir"],"action":"SCMP_ACT_ERRNO"},
        {"names":["mkdir"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#;
    for (stage, present) in [
        (Stage::Apply, PresentFilter::None),
        (Stage::Apply, PresentFilter::Document(killed)),
        (Stage::Verify, PresentFilter::Document(killed)),
    ] {
        let mut made = container(Engine::Podman, PROFILE);
        made.source.profile = Some(killed);
        (made.stage, made.present) = (stage, present);
        let evaluation = made.decide();
        assert_eq!(evaluation.code(), Some(Code::ProfileUnusable));
        let sentence = evaluation.sentence();
        for part in [
            "syscalls[1]: mkdir",
            "should get SCMP_ACT_KILL_PROCESS",
            "gives SCMP_ACT_ERRNO (1), which syscalls[0] says",
        ] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

#[test]
fn a_default_that_is_not_known_is_never_guessed() {
    let mut made = container(Engine::Containerd, DEFAULT_REFERENCE);
    made.source.default = None;
    let evaluation = made.decide();
    assert_eq!(evaluation.code(), Some(Code::NoDefault));
    assert!(
        evaluation.sentence().contains("runtime_default"),
        "{}",
        evaluation.sentence()
    );
}

#[test]
fn what_crun_would_cut_is_not_selected_under_crun() {
    let long = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["clone"],"action":"SCMP_ACT_ERRNO","args":[
        {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"},
        {"index":0,"value":3,"op":"SCMP_CMP_EQ"},{"index":0,"value":4,"op":"SCMP_CMP_EQ"},
        {"index":0,"value":5,"op":"SCMP_CMP_EQ"},{"index":0,"value":6,"op":"SCMP_CMP_EQ"},
        {"index":0,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#;
    for (runtime, code) in [
        (Runtime::Crun, Some(Code::ProfileUnusable)),
        (Runtime::Either, Some(Code::ProfileUnusable)),
        (Runtime::Runc, None),
    ] {
        let mut made = container(Engine::CriO, PROFILE);
        made.source = Memory {
            profile: Some(long),
            default: None,
            runtime,
            cached: None,
        };
        let evaluation = made.decide();
        assert_eq!(
            evaluation.code(),
            code,
            "{runtime:?}: {}",
            evaluation.sentence()
        );
    }
}

#[test]
fn each_warning_about_the_selected_profile_is_told_once() {
    let mut made = container(Engine::Podman, PROFILE);
    made.source = Memory {
        profile: Some(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","sycalls":[],"archMap":[],"syscalls":[
            {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","includes":{"caps":["SYS_ADMIN"]}}]}"#,
        ),
        default: None,
        runtime: Runtime::Either,
        cached: None,
    };
    let evaluation = made.decide();
    assert_eq!(evaluation.code(), None, "{}", evaluation.sentence());
    let sentence = evaluation.sentence();
    for warning in ["\"sycalls\" is ignored", "\"SYS_ADMIN\" never matches"] {
        assert_eq!(sentence.matches(warning).count(), 1, "{sentence}");
    }
}

#[test]
fn broken_settings_refuse_only_what_selects_something() {
    for (reference, code) in [
        (PROFILE, Some(Code::Settings)),
        (DEFAULT_REFERENCE, Some(Code::Settings)),
        (Some("unconfined"), None),
        (None, None),
    ] {
        let mut made = container(Engine::CriO, reference);
        made.settings_are_broken = true;
        assert_eq!(made.decide().code(), code, "{reference:?}");
    }
}

#[test]
fn a_warning_node_starts_what_it_would_refuse_but_for_a_recording_that_is_not_there() {
    let mut made = container(Engine::CriO, PROFILE);
    made.stage = Stage::Verify;
    made.settings.mode = Mode::Warn;
    let evaluation = made.decide();
    assert!(evaluation.code().is_none() && evaluation.word() == "filter-missing");
    made.recording = Recording::Unrecorded("gone".to_owned());
    assert_eq!(made.decide().code(), Some(Code::Recording));
}

#[test]
fn what_is_remarkable_in_a_profile_is_said_once() {
    let mut made = container(Engine::CriO, PROFILE);
    made.source.profile = Some(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","comment":"x",
            "syscalls":[{"names":["mkdir","not_a_call"],"action":"SCMP_ACT_ALLOW"}]}"#,
    );
    let sentence = made.decide().sentence();
    assert_eq!(sentence.matches("not_a_call").count(), 1, "{sentence}");
}

#[test]
fn the_filter_that_a_container_would_have_is_relaxed_and_no_other() {
    let apply = |present, reference| {
        let mut made = container(Engine::Podman, reference);
        made.source.default = None;
        made.recording = Recording::Logged;
        made.present = present;
        made.decide()
    };
    let there = PresentFilter::Document;
    assert!(logs(
        &apply(PresentFilter::None, PROFILE).verdict,
        Action::Allow
    ));
    assert!(logs(&apply(there(DENYING), PROFILE).verdict, Action::Allow));
    assert!(logs(&apply(there(OTHER), None).verdict, Action::Log));
    assert!(logs(
        &apply(PresentFilter::None, None).verdict,
        Action::Allow
    ));
    // What denies nothing stays.
    let stays = apply(there(RELAXED), None);
    assert!(matches!(stays.verdict, Verdict::Leave(Standing::Nothing)));
    // A conflict is one as before.
    assert_eq!(apply(there(OTHER), PROFILE).code(), Some(Code::Conflict));
    assert_eq!(apply(there(RELAXED), PROFILE).code(), Some(Code::Conflict));
    // What can't be read keeps its denials, and says so.
    let unread = apply(there("[]"), None);
    assert!(matches!(unread.verdict, Verdict::Leave(Standing::Nothing)));
    assert!(
        unread.sentence().contains("denials"),
        "{}",
        unread.sentence()
    );
}

#[test]
fn a_relaxed_filter_passes_only_where_denials_are_logged() {
    let passes = |stage, recording, marked| {
        let mut made = container(Engine::Podman, PROFILE);
        made.source.default = None;
        made.present = PresentFilter::Document(RELAXED);
        made.stage = stage;
        made.recording = recording;
        made.is_marked = marked;
        made.decide().code().is_none()
    };
    for stage in [Stage::Apply, Stage::Verify] {
        assert!(passes(stage, Recording::Logged, true));
        assert!(!passes(stage, Recording::Enforced, true));
        assert!(!passes(stage, Recording::Kept(String::new()), true));
        assert!(!passes(stage, Recording::Logged, false));
    }
}

/// libseccomp 2.5.4 applies no native rule of it.
const LOSING: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"],
    "syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":0,"op":"SCMP_CMP_NE"}]},
    {"names":["umount"],"action":"SCMP_ACT_ERRNO"}]}"#;

#[test]
fn what_crun_takes_out_of_its_cache_is_held_against_the_filter_whoever_set_it() {
    let there = PresentFilter::Document;
    for (stage, present, reference, cached, code) in [
        (Stage::Verify, there(DENYING), PROFILE, Some(DENYING), None),
        (
            Stage::Verify,
            there(DENYING),
            PROFILE,
            Some(DEFAULT),
            Some(Code::CrunCache),
        ),
        (Stage::Verify, there(OTHER), None, Some(OTHER), None),
        (
            Stage::Verify,
            there(OTHER),
            None,
            Some(DENYING),
            Some(Code::CrunCache),
        ),
        (
            Stage::Verify,
            there(DEFAULT),
            DEFAULT_REFERENCE,
            Some(DENYING),
            Some(Code::CrunCache),
        ),
        (
            Stage::Verify,
            there("{}"),
            None,
            Some(DENYING),
            Some(Code::CrunCache),
        ),
        // It is that filter's own, which libseccomp makes nothing of: so it is where crun compiles it.
        (Stage::Verify, there(LOSING), None, Some(LOSING), None),
        (
            Stage::Verify,
            there(LOSING),
            None,
            Some(DENYING),
            Some(Code::CrunCache),
        ),
        // The first reason counts.
        (
            Stage::Verify,
            there(OTHER),
            PROFILE,
            Some(DENYING),
            Some(Code::Conflict),
        ),
        (Stage::Verify, PresentFilter::None, None, Some(OTHER), None),
        // Whoever applies a filter comes before crun.
        (Stage::Apply, there(OTHER), None, Some(DENYING), None),
    ] {
        let mut made = container(Engine::CriO, reference);
        made.stage = stage;
        made.present = present;
        made.source.cached = cached;
        made.source.runtime = Runtime::Crun;
        let evaluation = made.decide();
        let sentence = evaluation.sentence();
        assert_eq!(
            evaluation.code(),
            code,
            "{present:?} {cached:?}: {sentence}"
        );
        if code == Some(Code::CrunCache) {
            assert!(
                sentence.contains("delete /run/crun/.cache/seccomp"),
                "{sentence}"
            );
        }
    }
}

/// An empty list asks for no flag; without one the runtime chooses, and may choose a weaker one.
#[test]
fn an_empty_list_of_flags_is_there_only_where_the_engine_keeps_it() {
    const WRITTEN: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","flags":[]}"#;
    const LOST: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#;
    for (engine, present, code) in [
        // The wrapper writes what its runtime reads.
        (Engine::CriO, WRITTEN, None),
        (Engine::Containerd, WRITTEN, None),
        // The engine applied it by a field.
        (Engine::CriO, LOST, Some(Code::Conflict)),
        (Engine::Containerd, LOST, Some(Code::Conflict)),
        // Podman writes what inject gave it.
        (Engine::Podman, LOST, None),
        (Engine::Podman, WRITTEN, Some(Code::Conflict)),
    ] {
        for stage in [Stage::Apply, Stage::Verify] {
            let mut made = container(engine, PROFILE);
            made.source.profile = Some(WRITTEN);
            made.stage = stage;
            made.present = PresentFilter::Document(present);
            let evaluation = made.decide();
            let sentence = evaluation.sentence();
            assert_eq!(evaluation.code(), code, "{engine} {present}: {sentence}");
            let about_flags =
                sentence.contains("flags: an empty list is lost") || sentence.contains("has flags");
            assert!(about_flags, "{engine} {present}: {sentence}");
        }
    }
}
