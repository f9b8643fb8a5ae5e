//! What the controller knows, and the status that follows from it.

use super::{
    profile::{Profile, Verdict},
    report::{Report, Said, Texts, number},
};
use crate::{
    crd::{SeccompProfileStatus, localhost_profile},
    resolve::resolve,
    stored::{StoredNode, StoredProfile},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};
use kube::{
    ResourceExt,
    runtime::watcher::{self, Event},
};
use std::collections::BTreeMap;

/// The objects of one kind, and whether all were listed.
#[derive(Debug)]
pub(super) struct Objects<T> {
    items: BTreeMap<String, T>,
    listing: BTreeMap<String, T>,
    complete: bool,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Objects {
            items: BTreeMap::new(),
            listing: BTreeMap::new(),
            complete: false,
        }
    }
}

impl<T> Objects<T> {
    /// Takes one change in; `keep` says under which name and what of the object is kept.
    pub(super) fn take<K: ResourceExt>(
        &mut self,
        event: Result<Event<K>, watcher::Error>,
        mut keep: impl FnMut(K) -> Option<(String, T)>,
    ) {
        match event {
            Ok(Event::Init) => self.listing.clear(),
            Ok(Event::InitApply(object)) => self.listing.extend(keep(object)),
            Ok(Event::InitDone) => {
                self.items = std::mem::take(&mut self.listing);
                self.complete = true;
            }
            Ok(Event::Apply(object)) => {
                let key = key(&object);
                match keep(object) {
                    Some((key, item)) => self.items.insert(key, item),
                    None => self.items.remove(&key),
                };
            }
            Ok(Event::Delete(object)) => {
                self.items.remove(&key(&object));
            }
            Err(error) => tracing::warn!("the API server: {error}"),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.items.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }
}

fn key<K: ResourceExt>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// Everything that is watched.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) profiles: Objects<Profile>,
    reports: Objects<Report>,
    texts: Texts,
    pub(super) nodes: Objects<()>,
    pub(super) pods: Objects<Box<[String]>>,
}

/// Each node, and what it said.
pub(super) type Nodes<'a> = Vec<(&'a str, Option<&'a Report>)>;

impl State {
    pub(super) fn is_complete(&self) -> bool {
        self.profiles.complete && self.reports.complete && self.nodes.complete && self.pods.complete
    }

    /// Takes a change of a profile in. What it means for it is found anew only where its
    /// specification has changed, or that of any profile where it stands on one.
    pub(super) fn take_profile(&mut self, event: Result<Event<StoredProfile>, watcher::Error>) {
        let keep = |stored| {
            let profile = Profile::new(stored);
            Some((profile.name.clone(), profile))
        };
        let changed = match event {
            Ok(Event::Apply(stored)) => {
                let mut profile = Profile::new(stored);
                let before = self.profiles.items.remove(&profile.name);
                let same = before.filter(|before| before.spec == profile.spec);
                let changed = same.is_none();
                profile.verdict = same.and_then(|before| before.verdict);
                self.profiles.items.insert(profile.name.clone(), profile);
                changed
            }
            Ok(Event::Delete(_)) => {
                self.profiles.take(event, keep);
                true
            }
            event => {
                self.profiles.take(event, keep);
                false
            }
        };
        if changed {
            for profile in self.profiles.items.values_mut() {
                if profile.based {
                    profile.verdict = None;
                }
            }
        }
    }

    /// Takes a change of a node's report in.
    pub(super) fn take_report(&mut self, event: Result<Event<StoredNode>, watcher::Error>) {
        let texts = &mut self.texts;
        self.reports.take(event, |stored| {
            Some((stored.name_any(), Report::new(&stored, texts)))
        });
        self.texts.tidy();
    }

    /// For each profile, how many pods use it and one of them.
    pub(super) fn users(&self) -> BTreeMap<&str, (u64, Option<&str>)> {
        let mut users: BTreeMap<&str, (u64, Option<&str>)> = BTreeMap::new();
        for (pod, names) in self.pods.iter() {
            for name in names {
                let entry = users.entry(name).or_insert((0, Some(pod)));
                entry.0 += 1;
            }
        }
        users
    }

    /// Each node, and what it said. Reports of nodes that are gone don't count.
    pub(super) fn nodes(&self) -> Nodes<'_> {
        let nodes = self.nodes.items.keys();
        nodes
            .map(|node| (node.as_str(), self.reports.items.get(node)))
            .collect()
    }

    /// Finds what profiles have to be, where that is not known.
    pub(super) fn judge(&mut self) {
        let find = |name: &str| self.profiles.items.get(name).map(|base| &*base.spec);
        let unknown = self.profiles.items.values();
        let unknown = unknown.filter(|profile| profile.verdict.is_none());
        let verdicts: Vec<(String, Verdict)> = unknown
            .map(|profile| {
                let verdict = match resolve(&profile.name, &profile.spec, &find) {
                    Ok(resolved) => Ok(resolved.and_then(|resolved| number(&resolved.digest))),
                    Err(error) => Err(error.to_string()),
                };
                (profile.name.clone(), verdict)
            })
            .collect();
        for (name, verdict) in verdicts {
            if let Some(profile) = self.profiles.items.get_mut(&name) {
                profile.verdict = Some(verdict);
            }
        }
    }
}

/// What is the case with a profile: a condition's status, reason and message.
type Case = (&'static str, &'static str, String);

/// The status of one profile.
pub(super) fn status(
    profile: &Profile,
    nodes: &Nodes<'_>,
    used: (u64, Option<&str>),
) -> SeccompProfileStatus {
    let unknown = Ok(None);
    let verdict = profile.verdict.as_ref().unwrap_or(&unknown);
    let valid = match verdict {
        Ok(_) => ("True", "Valid", String::new()),
        Err(error) => ("False", "Invalid", error.clone()),
    };
    let (ready_nodes, ready) = match verdict {
        Ok(Some(digest)) => ready(&profile.name, *digest, nodes),
        Ok(None) => (
            0,
            ("False", "Disabled", "spec.state is Disabled".to_owned()),
        ),
        Err(_) => (0, ("False", "Invalid", "it has no file".to_owned())),
    };
    let in_use = match used {
        (0, _) => ("False", "NotInUse", String::new()),
        (count, pod) => (
            "True",
            "InUse",
            format!("{count} pods, among them {}", pod.unwrap_or("?")),
        ),
    };
    SeccompProfileStatus {
        conditions: vec![
            condition(profile, "InUse", in_use),
            condition(profile, "Ready", ready),
            condition(profile, "Valid", valid),
        ],
        nodes: format!("{ready_nodes}/{}", nodes.len()),
        pods: used.0,
        localhost_profile: localhost_profile(&profile.name),
    }
}

/// On how many nodes a profile is, and what that means.
fn ready(name: &str, digest: u64, nodes: &Nodes<'_>) -> (usize, Case) {
    let mut count = 0;
    let (mut failed, mut missing, mut full) = (None, None, None);
    for (node, report) in nodes {
        match report.map_or(Said::Nothing, |report| report.says(name, digest)) {
            Said::Right => count += 1,
            Said::Failed(reason) => {
                failed.get_or_insert_with(|| format!("node {node}: {reason}"));
            }
            Said::Full(omitted) => {
                full.get_or_insert_with(|| {
                    format!(
                        "node {node}: its SeccompNode is full and leaves out {omitted} profiles"
                    )
                });
            }
            Said::Nothing => {
                missing.get_or_insert_with(|| format!("node {node}: not there yet"));
            }
        }
    }
    let case = match (failed, missing, full) {
        (Some(failed), ..) => ("False", "NodeFailed", failed),
        (_, Some(missing), _) => ("False", "NodesMissing", missing),
        (_, _, Some(full)) => ("Unknown", "NodeReportFull", full),
        _ => ("True", "Ready", String::new()),
    };
    (count, case)
}

fn condition(profile: &Profile, kind: &str, (status, reason, message): Case) -> Condition {
    let before = profile.status.iter().flat_map(|status| &status.conditions);
    let before = before
        .into_iter()
        .find(|condition| condition.type_ == kind && condition.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: profile.generation,
        last_transition_time: before.map_or_else(
            || Time(Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default()),
            |condition| condition.last_transition_time.clone(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(state: &mut State, name: &str, spec: &Value) {
        let object = json!({"metadata": {"name": name, "generation": 1}, "spec": spec});
        let stored = serde_json::from_str(&object.to_string()).unwrap();
        state.take_profile(Ok(Event::Apply(stored)));
        state.judge();
    }

    fn verdict(state: &State, name: &str) -> Verdict {
        state.profiles.items[name].verdict.clone().unwrap()
    }

    fn says(state: &State, name: &str, kind: &str) -> (String, String, String) {
        let profile = &state.profiles.items[name];
        let status = status(profile, &state.nodes(), (0, None));
        let mut conditions = status.conditions.into_iter();
        let condition = conditions
            .find(|condition| condition.type_ == kind)
            .unwrap();
        (condition.status, condition.reason, condition.message)
    }

    #[test]
    fn what_is_not_understood_is_invalid_and_so_is_what_stands_on_it() {
        let mut state = State::default();
        set(&mut state, "good", &json!({"allow": ["mkdir"]}));
        set(&mut state, "bad", &json!({"allow": "text"}));
        set(&mut state, "top", &json!({"baseProfileName": "bad"}));
        assert!(verdict(&state, "good").unwrap().is_some());
        let (status, reason, message) = says(&state, "bad", "Valid");
        assert_eq!((&*status, &*reason), ("False", "Invalid"));
        assert!(message.contains("invalid type: string"), "{message}");
        assert!(says(&state, "top", "Valid").2.starts_with("base bad: "));
    }

    #[test]
    fn a_changed_base_changes_what_stands_on_it_and_an_unchanged_one_nothing() {
        let mut state = State::default();
        set(&mut state, "base", &json!({"allow": ["rmdir"]}));
        set(
            &mut state,
            "top",
            &json!({"baseProfileName": "base", "allow": ["mkdir"]}),
        );
        let before = verdict(&state, "top");
        state.profiles.items.get_mut("top").unwrap().verdict = Some(Ok(Some(7)));
        set(&mut state, "base", &json!({"allow": ["rmdir"]}));
        assert_eq!(verdict(&state, "top"), Ok(Some(7)), "it is not found again");
        set(&mut state, "base", &json!({"allow": ["unlink"]}));
        assert!(![Ok(Some(7)), before].contains(&verdict(&state, "top")));
    }

    #[test]
    fn a_node_whose_report_is_full_makes_readiness_unknown_and_is_named() {
        let mut state = State::default();
        set(&mut state, "a", &json!({"allow": ["mkdir"]}));
        for (node, spec) in [
            (
                "n1",
                json!({"profiles": {"z": "00000000000000ff"}, "omitted": 3}),
            ),
            ("gone", json!({"failures": {"a": "it does not count"}})),
        ] {
            let object = json!({"metadata": {"name": node}, "spec": spec});
            let stored = serde_json::from_str(&object.to_string()).unwrap();
            state.take_report(Ok(Event::Apply(stored)));
        }
        state.nodes.items.insert("n1".to_owned(), ());
        let (status, reason, message) = says(&state, "a", "Ready");
        assert_eq!((&*status, &*reason), ("Unknown", "NodeReportFull"));
        assert_eq!(
            message,
            "node n1: its SeccompNode is full and leaves out 3 profiles"
        );
        state.nodes.items.insert("n2".to_owned(), ());
        assert_eq!(says(&state, "a", "Ready").1, "NodesMissing");
    }
}
