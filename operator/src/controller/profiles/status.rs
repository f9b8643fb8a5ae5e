//! Computes a profile's status from the profile, its resolution, the nodes and its users.

use super::resolutions::Resolution;
use crate::{
    crd::{
        SeccompProfileStatus,
        condition::condition,
        profile::{InUseReason, ReadyReason, ValidReason},
    },
    effect::Effect,
    file_name::localhost_profile,
    kube::stores::{
        Stores,
        node_report::{NodeReport, Reported},
        pod_usage::Users,
        profile::Profile,
    },
};
use std::sync::Arc;

/// The nodes of the cluster, each with its report if there is one.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<(String, Option<Arc<NodeReport>>)>);

impl Nodes {
    /// The current nodes. Reports of nodes that are gone are ignored.
    pub(super) fn of(stores: &Stores) -> Nodes {
        let reports = stores.node_reports.snapshot();
        let nodes = stores.nodes.snapshot();
        let report = |node: &String| reports.get(node).map(Arc::clone);
        Nodes(
            nodes
                .keys()
                .map(|node| (node.clone(), report(node)))
                .collect(),
        )
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The message about a valid profile: one that has a file, or none because it is disabled.
fn warnings(warning: &str, effect: Option<&Effect>) -> String {
    let mut said: Vec<&str> = Some(warning)
        .filter(|it| !it.is_empty())
        .into_iter()
        .collect();
    let unusable;
    match effect {
        Some(Effect::Usable(warnings)) => said.extend(warnings.iter().map(String::as_str)),
        Some(Effect::Unusable(why)) => {
            unusable =
                format!("with the controller's libseccomp, {why}; each node decides with its own");
            said.push(&unusable);
        }
        None => {}
    }
    said.join("; ")
}

/// The status of a profile. `effect` is the result of checking its file with the controller's
/// libseccomp, once known. The nodes' libseccomp may differ, so that does not make the profile
/// invalid.
pub(super) fn status(
    profile: &Profile,
    resolution: &Resolution,
    effect: Option<&Effect>,
    nodes: &Nodes,
    users: &Users,
) -> SeccompProfileStatus {
    let (valid, why) = match resolution {
        Ok(expected) => (ValidReason::Valid, warnings(&expected.warning, effect)),
        Err(refusal) => (refusal.reason, refusal.message.clone()),
    };
    let digest = resolution.as_ref().map(|expected| expected.digest);
    let (installed, ready, missing) = match digest {
        Ok(Some(digest)) => ready(&profile.name, digest, nodes),
        Ok(None) => {
            let message = "spec.state is Disabled".to_owned();
            (0, ReadyReason::Disabled, message)
        }
        Err(_) => {
            let message = match valid {
                ValidReason::FileNameTaken => "it has no file",
                _ => "it has no file; nodes that had a valid one before keep it",
            };
            (0, ReadyReason::Invalid, message.to_owned())
        }
    };
    let (in_use, by) = match users.count {
        0 => (InUseReason::NotInUse, String::new()),
        count => {
            let pod = users.pod.as_deref().unwrap_or("?");
            (
                InUseReason::InUse,
                format!("{count} pods, among them {pod}"),
            )
        }
    };
    let before = profile.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.conditions);
    SeccompProfileStatus {
        conditions: vec![
            condition(in_use, by, profile.generation, before),
            condition(ready, missing, profile.generation, before),
            condition(valid, why, profile.generation, before),
        ],
        nodes: format!("{installed}/{}", nodes.len()),
        pods: users.count,
        localhost_profile: localhost_profile(&profile.name),
    }
}

/// How many nodes have a profile, and the resulting condition.
fn ready(name: &str, digest: u64, nodes: &Nodes) -> (usize, ReadyReason, String) {
    let mut count = 0;
    let (mut failed, mut missing, mut full) = (None, None, None);
    for (node, report) in &nodes.0 {
        let reported = report
            .as_ref()
            .map(|report| report.of_profile(name, digest));
        match reported.unwrap_or(Reported::Nothing) {
            Reported::Installed => count += 1,
            Reported::Failed(reason) => {
                failed.get_or_insert_with(|| format!("node {node}: {reason}"));
            }
            Reported::Omitted(omitted) => {
                full.get_or_insert_with(|| {
                    format!("node {node}: its SeccompNode is full and omits {omitted} profiles")
                });
            }
            Reported::Nothing => {
                missing.get_or_insert_with(|| format!("node {node}: not installed yet"));
            }
        }
    }
    let (reason, message) = match (failed, missing, full) {
        (Some(failed), ..) => (ReadyReason::NodeFailed, failed),
        (_, Some(missing), _) => (ReadyReason::NodesMissing, missing),
        (_, _, Some(full)) => (ReadyReason::NodeReportFull, full),
        _ => (ReadyReason::Ready, String::new()),
    };
    (count, reason, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::profiles::resolutions::{Expected, Refusal};
    use crate::crd::condition::{Reason, find};
    use serde_json::{Value, json};

    fn expected() -> Expected {
        Expected {
            digest: Some(0xff),
            ..Expected::default()
        }
    }

    fn nodes(reports: &[(&str, Option<Value>)]) -> Nodes {
        let stores = Stores::default();
        let names = reports.iter().map(|(node, _)| ((*node).to_owned(), ()));
        stores.nodes.fill(names);
        let reports = reports.iter().filter_map(|(node, spec)| {
            let report = NodeReport::reading(spec.as_ref()?);
            Some(((*node).to_owned(), Arc::new(report)))
        });
        let gone = json!({"failures": {"a": "it does not count"}});
        let gone = ("gone".to_owned(), Arc::new(NodeReport::reading(&gone)));
        stores.node_reports.fill(reports.chain([gone]));
        Nodes::of(&stores)
    }

    fn says(resolution: &Resolution, nodes: &Nodes) -> (Option<ReadyReason>, String, String) {
        let profile = Profile::of("a", &json!({"allow": ["mkdir"]}));
        let status = status(&profile, resolution, None, nodes, &Users::default());
        let message = find(&status.conditions, ReadyReason::TYPE)
            .unwrap()
            .message
            .clone();
        (ReadyReason::of(&status.conditions), message, status.nodes)
    }

    #[test]
    fn a_node_that_fails_comes_before_one_that_is_missing_and_that_before_a_full_report() {
        let installed = || Some(json!({"profiles": {"a": "00000000000000ff"}}));
        let failed = || Some(json!({"failures": {"a": "a foreign file"}}));
        let full = || Some(json!({"profiles": {"z": "00000000000000ff"}, "omitted": 3}));
        let of = |reports: &[(&str, Option<Value>)]| says(&Ok(expected()), &nodes(reports));
        let (reason, message, count) = of(&[("n1", installed()), ("n2", installed())]);
        assert_eq!(reason, Some(ReadyReason::Ready));
        assert_eq!((message.as_str(), count.as_str()), ("", "2/2"));
        let (reason, message, count) = of(&[("n1", installed()), ("n2", full())]);
        assert_eq!(reason, Some(ReadyReason::NodeReportFull));
        assert_eq!(
            message,
            "node n2: its SeccompNode is full and omits 3 profiles"
        );
        assert_eq!(count, "1/2");
        let (reason, message, _) = of(&[("n2", full()), ("n3", None)]);
        assert_eq!(reason, Some(ReadyReason::NodesMissing));
        assert_eq!(message, "node n3: not installed yet");
        let (reason, message, _) = of(&[("n2", full()), ("n3", None), ("n4", failed())]);
        assert_eq!(reason, Some(ReadyReason::NodeFailed));
        assert_eq!(message, "node n4: a foreign file");
    }

    #[test]
    fn a_profile_that_is_disabled_or_not_valid_is_on_no_node() {
        let nodes = nodes(&[("n1", Some(json!({"profiles": {"a": "00000000000000ff"}})))]);
        assert_eq!(
            says(&Ok(Expected::default()), &nodes).0,
            Some(ReadyReason::Disabled)
        );
        let invalid = Err(Refusal {
            reason: ValidReason::Invalid,
            message: "spec: no such call".to_owned(),
        });
        let (reason, _, count) = says(&invalid, &nodes);
        assert_eq!(
            (reason, count.as_str()),
            (Some(ReadyReason::Invalid), "0/1")
        );
    }

    #[test]
    fn use_is_counted_and_a_pod_named() {
        let profile = Profile::of("a", &json!({"allow": ["mkdir"]}));
        let users = Users {
            count: 2,
            pod: Some("shop/till".to_owned()),
        };
        let status = status(&profile, &Ok(expected()), None, &Nodes::default(), &users);
        assert_eq!(status.pods, 2);
        assert_eq!(status.localhost_profile, "operator/a.json");
        assert_eq!(
            InUseReason::of(&status.conditions),
            Some(InUseReason::InUse)
        );
        let condition = find(&status.conditions, InUseReason::TYPE).unwrap();
        assert!(condition.message.contains("shop/till"));
        assert_eq!(condition.observed_generation, Some(1));
    }

    #[test]
    fn a_warning_is_said_in_the_condition_valid_which_stays_true() {
        let profile = Profile::of("a", &json!({"allow": ["mkdri"]}));
        let resolution = Ok(Expected {
            digest: Some(1),
            warning: "spec: unknown system call".to_owned(),
            ..Expected::default()
        });
        let message = |effect: Option<&Effect>| {
            let (nodes, users) = (Nodes::default(), Users::default());
            let status = status(&profile, &resolution, effect, &nodes, &users);
            let valid = find(&status.conditions, ValidReason::TYPE).unwrap();
            assert_eq!(valid.status, "True");
            valid.message.clone()
        };
        assert_eq!(message(None), "spec: unknown system call");
        let usable = Effect::Usable(vec!["spec.allow: a remark".to_owned()]);
        assert_eq!(
            message(Some(&usable)),
            "spec: unknown system call; spec.allow: a remark"
        );
        let unusable = Effect::Unusable("the filter would not do what it says".to_owned());
        assert_eq!(
            message(Some(&unusable)),
            "spec: unknown system call; with the controller's libseccomp, the filter would not do what \
             it says; each node decides with its own"
        );
    }
}
