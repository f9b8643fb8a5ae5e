use super::*;
use crate::{
    controller::profiles::{
        nodes::testing::{failed, installed, nodes},
        resolutions::Expected,
        uses::Uses,
    },
    crd::condition::{Reason, find},
};
use serde_json::json;

const EXPECTED: Resolution = Ok(Expected {
    digest: Some(0xff),
    sum: None,
    warning: String::new(),
});

fn refused(reason: ValidReason) -> Resolution {
    Err(Refusal {
        reason,
        artifact: None,
        message: "spec: no such call".to_owned(),
    })
}

/// These pods, each of which selects the profile `a`.
fn used_by(pods: &[&str]) -> Users {
    let profile = std::sync::Arc::new(Profile::of("a", &json!({})));
    let uses = Uses::of(&[("a".to_owned(), profile)].into(), |_| false);
    let mut tally = uses.tally();
    for pod in pods {
        tally.add(pod, ["a.json"]);
    }
    tally.of("a")
}

/// The profile `a` of generation 1, which one node has.
struct Given {
    profile: Profile,
    nodes: Nodes,
    users: Users,
    effect: Option<Effect>,
    is_released: bool,
}

impl Given {
    fn new() -> Given {
        Given {
            profile: Profile::of("a", &json!({"allow": ["mkdir"]})),
            nodes: nodes(&[("n1", Some(installed(1)))]),
            users: Users::default(),
            effect: None,
            is_released: false,
        }
    }

    fn status(&self, resolution: &Resolution) -> SeccompProfileStatus {
        status(Facts {
            profile: &self.profile,
            resolution,
            effect: self.effect.as_ref(),
            nodes: &self.nodes,
            users: &self.users,
            is_released: self.is_released,
        })
    }
}

fn message<R: Reason>(status: &SeccompProfileStatus, reason: R) -> String {
    let condition = find(&status.conditions, R::TYPE);
    let condition = condition.unwrap_or_else(|| panic!("no {}: {status:?}", R::TYPE));
    assert_eq!(condition.reason, reason.word(), "{status:?}");
    assert_eq!(condition.observed_generation, Some(1));
    condition.message.clone()
}

fn has<R: Reason>(status: &SeccompProfileStatus) -> bool {
    find(&status.conditions, R::TYPE).is_some()
}

#[test]
fn a_ready_profile_says_so_and_nothing_more() {
    let status = Given::new().status(&EXPECTED);
    assert_eq!(status.nodes, "1/1");
    assert_eq!(status.observed_generation, Some(1));
    assert_eq!(status.localhost_profile, "operator/a.json");
    assert_eq!(
        message(&status, ReadyReason::Ready),
        "every node has its file"
    );
    assert_eq!(message(&status, InUseReason::NotInUse), "no pod uses it");
    assert_eq!(
        message(&status, ValidReason::Valid),
        "the specification gives a valid file"
    );
    assert!(!has::<ReconcilingReason>(&status) && !has::<StalledReason>(&status));
}

#[test]
fn what_waits_is_reconciling_and_what_has_to_be_mended_is_stalled() {
    let mut given = Given::new();
    given.nodes = nodes(&[("n1", None)]);
    let status = given.status(&EXPECTED);
    let said = message(&status, ReconcilingReason::NodesMissing);
    assert_eq!(said, message(&status, ReadyReason::NodesMissing));
    assert!(!has::<StalledReason>(&status));
    given.nodes = nodes(&[("n1", Some(failed("a foreign file")))]);
    let status = given.status(&EXPECTED);
    let said = message(&status, StalledReason::NodeFailed);
    assert_eq!(said, "node n1: a foreign file");
    assert!(!has::<ReconcilingReason>(&status));
}

#[test]
fn a_profile_that_is_not_valid_is_stalled_and_on_no_node_and_says_what_stays() {
    let status = Given::new().status(&refused(ValidReason::Invalid));
    assert_eq!(status.nodes, "0/1");
    assert_eq!(
        message(&status, ReadyReason::Invalid),
        "it is not valid; generation 1 stays on 1 of 1 nodes"
    );
    message(&status, StalledReason::Invalid);
    assert_eq!(message(&status, ValidReason::Invalid), "spec: no such call");
    let status = Given::new().status(&refused(ValidReason::FileNameTaken));
    message(&status, StalledReason::FileNameTaken);
}

#[test]
fn a_disabled_profile_waits_for_its_pods_and_then_for_its_nodes() {
    let disabled = Ok(Expected::default());
    let mut given = Given::new();
    given.users = used_by(&["shop/till"]);
    let status = given.status(&disabled);
    assert_eq!(status.released_generation, None);
    let said = message(&status, ReadyReason::Disabled);
    assert!(said.ends_with("it waits for the pod shop/till"), "{said}");
    message(&status, ReconcilingReason::InUse);
    given.is_released = true;
    let status = given.status(&disabled);
    assert_eq!(status.released_generation, Some(1));
    let said = message(&status, ReadyReason::Disabled);
    assert_eq!(said, "disabled; still to be removed from n1");
    message(&status, ReconcilingReason::Removing);
    given.nodes = nodes(&[("n1", Some(json!({})))]);
    let status = given.status(&disabled);
    let said = message(&status, ReadyReason::Disabled);
    assert_eq!(said, "disabled; no node has its file");
    assert!(!has::<ReconcilingReason>(&status));
}

#[test]
fn a_profile_that_is_being_deleted_is_not_ready_whoever_holds_it() {
    let say = |finalizers: &[&str], users: &Users| {
        let mut given = Given::new();
        given.profile.deleted = true;
        given.profile.finalizers = finalizers.iter().map(|it| (*it).to_owned()).collect();
        given.users = users.clone();
        let status = given.status(&EXPECTED);
        assert_eq!(status.nodes, "1/1");
        message(&status, ReadyReason::Deleting)
    };
    let users = used_by(&["shop/till", "shop/web"]);
    assert_eq!(
        say(&[FINALIZER], &users),
        "its deletion waits for 2 pods, for example shop/till"
    );
    assert_eq!(say(&[FINALIZER], &Users::default()), "it is being deleted");
    assert_eq!(
        say(&["x/y"], &Users::default()),
        "it is being deleted; others hold it by their finalizers: x/y"
    );
}

#[test]
fn use_is_counted_and_a_pod_named() {
    let mut given = Given::new();
    given.users = used_by(&["shop/till"]);
    let status = given.status(&EXPECTED);
    assert_eq!(status.pods, 1);
    assert_eq!(
        message(&status, InUseReason::InUse),
        "used by the pod shop/till"
    );
}

#[test]
fn a_warning_is_said_in_the_condition_valid_which_stays_true() {
    let resolution = Ok(Expected {
        digest: Some(1),
        warning: "spec: unknown system call".to_owned(),
        ..Expected::default()
    });
    let say = |effect: Option<Effect>| {
        let mut given = Given::new();
        given.effect = effect;
        message(&given.status(&resolution), ValidReason::Valid)
    };
    assert_eq!(say(None), "spec: unknown system call");
    let usable = Effect::Usable(vec!["spec.allow: a remark".to_owned()]);
    assert_eq!(
        say(Some(usable)),
        "spec: unknown system call; spec.allow: a remark"
    );
    let unusable = Effect::Unusable("the filter would not do what it says".to_owned());
    assert_eq!(
        say(Some(unusable)),
        "spec: unknown system call; with the controller's libseccomp, the filter would not do what \
         it says; each node decides with its own"
    );
}

#[test]
fn a_profile_that_the_operators_rules_exclude_says_which_generation_the_nodes_have() {
    let given = Given::new();
    let status = given.status(&refused(ValidReason::NotAllowed));
    let said = |kind: &str| find(&status.conditions, kind).unwrap();
    assert_eq!(said("Valid").reason, "NotAllowed");
    assert_eq!(said("Stalled").reason, "NotAllowed");
    let ready = said("Ready");
    assert_eq!(
        (ready.reason.as_str(), ready.status.as_str()),
        ("Invalid", "False")
    );
    assert!(
        ready.message.starts_with("it is not allowed; "),
        "{}",
        ready.message
    );
    assert_eq!(status.nodes, "0/1");
}
