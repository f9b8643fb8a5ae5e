//! The node's own default in place of an engine's that is compiled in.

use crate::containers::{Container, DEFAULT, DENYING, OTHER, STRICTER, container};
use portcullis_profile::{
    Engine,
    gate::{Code, PresentFilter, Stage, Standing, Verdict},
    settings::{ReplaceDefault, Require},
};

/// A container whose field asks for the engine's default, which is [`DEFAULT`], on a node whose own
/// default is this one.
fn asking(own: &'static str) -> Container {
    let mut made = container(Engine::Containerd, None);
    made.says_default = true;
    made.present = PresentFilter::Document(DEFAULT);
    made.settings.runtime_default = Some("/own.json".into());
    made.source.default = Some(own);
    made
}

fn is_set(made: &Container) -> bool {
    matches!(made.decide().verdict, Verdict::Set { .. })
}

#[test]
fn a_stricter_one_replaces_the_engines_and_another_one_only_where_any_may() {
    assert!(is_set(&asking(STRICTER)));
    let sentence = asking(STRICTER).decide().sentence();
    assert!(sentence.contains("the node's own default"), "{sentence}");
    let mut looser = asking(OTHER);
    let kept = looser.decide();
    assert!(matches!(
        kept.verdict,
        Verdict::Leave(Standing::DefaultKept)
    ));
    let sentence = kept.sentence();
    assert!(sentence.contains("runtime_default allows"), "{sentence}");
    looser.settings.replace_default = ReplaceDefault::Any;
    assert!(is_set(&looser));
    let mut never = asking(STRICTER);
    never.settings.replace_default = ReplaceDefault::Never;
    assert!(!is_set(&never));
}

#[test]
fn an_annotation_that_asks_for_no_profile_changes_nothing() {
    for reference in ["runtime/default", "docker/default", "unconfined"] {
        let mut made = asking(STRICTER);
        made.reference = Some(reference);
        assert!(is_set(&made), "{reference}");
    }
}

#[test]
fn nothing_is_replaced_where_the_engine_has_a_default_of_its_own_or_does_not_say_so() {
    let leaves = |change: fn(&mut Container)| {
        let mut made = asking(STRICTER);
        change(&mut made);
        let verdict = made.decide().verdict;
        assert!(
            matches!(verdict, Verdict::Leave(Standing::Nothing)),
            "{verdict:?}"
        );
    };
    leaves(|made| made.engine = Engine::CriO);
    leaves(|made| made.engine = Engine::Podman);
    leaves(|made| made.says_default = false);
    leaves(|made| made.settings.runtime_default = None);
    leaves(|made| made.present = PresentFilter::None);
}

#[test]
fn one_that_can_not_be_used_refuses_what_would_get_it() {
    let mut broken = asking("{}");
    assert_eq!(broken.decide().code(), Some(Code::NoDefault));
    broken.says_default = false;
    assert_eq!(broken.decide().code(), None);
}

#[test]
fn an_engine_that_shows_no_filter_keeps_its_own_unless_any_may_replace_it() {
    let mut made = asking(STRICTER);
    made.present = PresentFilter::EngineDefault;
    assert!(matches!(
        made.decide().verdict,
        Verdict::Leave(Standing::DefaultKept)
    ));
    made.settings.replace_default = ReplaceDefault::Any;
    assert!(is_set(&made));
}

#[test]
fn a_selected_profile_has_to_be_stricter_than_both_defaults() {
    let mut made = asking(STRICTER);
    made.reference = Some("localhost/p.json");
    made.source.profile = Some(DENYING);
    assert_eq!(made.decide().code(), Some(Code::Conflict));
    made.settings.runtime_default = None;
    assert!(is_set(&made));
    made.settings.runtime_default = Some("/own.json".into());
    made.settings.replace_default = ReplaceDefault::Any;
    assert!(is_set(&made));
}

#[test]
fn verifying_requires_what_applying_would_have_set() {
    let code = |own, present| {
        let mut made = asking(own);
        made.stage = Stage::Verify;
        made.present = present;
        made.decide().code()
    };
    let there = PresentFilter::Document;
    assert_eq!(code(STRICTER, there(STRICTER)), None);
    assert_eq!(code(STRICTER, there(DEFAULT)), Some(Code::Conflict));
    assert_eq!(
        code(STRICTER, PresentFilter::None),
        Some(Code::FilterMissing)
    );
    // The engine's was kept.
    assert_eq!(code(OTHER, there(DEFAULT)), None);
    let mut required = asking(STRICTER);
    required.settings.require = Require::AnyFilter;
    assert!(is_set(&required));
}
