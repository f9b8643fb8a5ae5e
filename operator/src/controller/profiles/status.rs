//! Computes a profile's status from the profile, its resolution, the nodes and its users.

use super::{
    nodes::{Missing, Nodes, some_of},
    resolutions::{Refusal, Resolution},
    uses::Users,
};
use crate::{
    crd::{
        SeccompProfileStatus,
        condition::condition,
        profile::{InUseReason, ReadyReason, ReconcilingReason, StalledReason, ValidReason},
    },
    effect::Effect,
    file_name::localhost_profile,
    kube::stores::profile::{FINALIZER, Profile},
};

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
        // It makes the profile not valid.
        Some(Effect::NotAllowed(_)) | None => {}
    }
    if said.is_empty() {
        return "the specification gives a valid file".to_owned();
    }
    said.join("; ")
}

/// What a status is computed from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) profile: &'a Profile,
    pub(super) resolution: &'a Resolution,
    /// The result of checking its file with the controller's libseccomp, once known. The nodes'
    /// libseccomp may differ, so that does not make the profile invalid.
    pub(super) effect: Option<&'a Effect>,
    pub(super) nodes: &'a Nodes,
    pub(super) users: &'a Users,
    /// Whether it is disabled and no pod uses its file.
    pub(super) is_released: bool,
}

/// The state of a profile in a cluster, as its conditions show it.
struct State {
    ready: ReadyReason,
    message: String,
    reconciling: Option<ReconcilingReason>,
    stalled: Option<StalledReason>,
    /// How many nodes have the file of the current generation.
    installed: usize,
}

impl State {
    fn new(ready: ReadyReason, message: String, installed: usize) -> State {
        State {
            ready,
            message,
            reconciling: None,
            stalled: None,
            installed,
        }
    }
}

/// The status of a profile.
pub(super) fn status(facts: Facts<'_>) -> SeccompProfileStatus {
    let Facts { profile, users, .. } = facts;
    let (valid, why) = match facts.resolution {
        Ok(expected) => (
            ValidReason::Valid,
            warnings(&expected.warning, facts.effect),
        ),
        Err(refusal) => (refusal.reason, refusal.message.clone()),
    };
    let state = state(facts);
    let (in_use, by) = match users.count {
        0 => (InUseReason::NotInUse, "no pod uses it".to_owned()),
        _ => (InUseReason::InUse, format!("used by {users}")),
    };
    let generation = profile.generation;
    let before = profile.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.conditions);
    let message = &state.message;
    let mut conditions = vec![
        condition(in_use, by, generation, before),
        condition(state.ready, message.clone(), generation, before),
    ];
    // As is usual for conditions that are true when something is wrong, these are absent otherwise.
    conditions.extend(
        state
            .reconciling
            .map(|reason| condition(reason, message.clone(), generation, before)),
    );
    conditions.extend(
        state
            .stalled
            .map(|reason| condition(reason, message.clone(), generation, before)),
    );
    conditions.push(condition(valid, why, generation, before));
    SeccompProfileStatus {
        observed_generation: generation,
        released_generation: generation.filter(|_| facts.is_released),
        conditions,
        nodes: format!("{}/{}", state.installed, facts.nodes.len()),
        pods: users.count,
        localhost_profile: localhost_profile(&profile.name),
    }
}

fn state(facts: Facts<'_>) -> State {
    let profile = facts.profile;
    let digest = match facts.resolution {
        _ if profile.deleted => return deleting(facts),
        Err(refusal) => return invalid(facts, refusal),
        Ok(expected) => expected.digest,
    };
    let Some(digest) = digest else {
        return disabled(facts);
    };
    let count = facts.nodes.count(&profile.name, digest, profile.generation);
    let new = |reason, message| State::new(reason, message, count.installed);
    match count.missing {
        Some(Missing::Failed(message)) => State {
            stalled: Some(StalledReason::NodeFailed),
            ..new(ReadyReason::NodeFailed, message)
        },
        Some(Missing::NotYet(message)) => State {
            reconciling: Some(ReconcilingReason::NodesMissing),
            ..new(ReadyReason::NodesMissing, message)
        },
        Some(Missing::Omitted(message)) => State {
            stalled: Some(StalledReason::NodeReportFull),
            ..new(ReadyReason::NodeReportFull, message)
        },
        None => new(ReadyReason::Ready, "every node has its file".to_owned()),
    }
}

/// A profile that is being deleted is not ready, whoever holds it.
fn deleting(facts: Facts<'_>) -> State {
    let profile = facts.profile;
    let installed = match facts.resolution.as_ref().map(|expected| expected.digest) {
        Ok(Some(digest)) => {
            let generation = profile.generation;
            facts
                .nodes
                .count(&profile.name, digest, generation)
                .installed
        }
        _ => 0,
    };
    let others: Vec<&str> = profile
        .finalizers
        .iter()
        .map(String::as_str)
        .filter(|finalizer| *finalizer != FINALIZER)
        .collect();
    let message = if profile.has_finalizer() && facts.users.count > 0 {
        format!("its deletion waits for {}", facts.users)
    } else if others.is_empty() {
        "it is being deleted".to_owned()
    } else {
        format!(
            "it is being deleted; others hold it by their finalizers: {}",
            some_of(&others)
        )
    };
    State::new(ReadyReason::Deleting, message, installed)
}

/// A profile that is not valid keeps the files of an earlier generation.
fn invalid(facts: Facts<'_>, refusal: &Refusal) -> State {
    if refusal.reason == ValidReason::BaseNotPulled {
        let kept = facts.nodes.kept(&facts.profile.name);
        let message = format!("its base has not been pulled; {kept}");
        return State {
            reconciling: Some(ReconcilingReason::BaseNotPulled),
            ..State::new(ReadyReason::Invalid, message, 0)
        };
    }
    let kept = || facts.nodes.kept(&facts.profile.name);
    let (stalled, message) = match refusal.reason {
        ValidReason::FileNameTaken => (StalledReason::FileNameTaken, "it has no file".to_owned()),
        ValidReason::NotAllowed => (
            StalledReason::NotAllowed,
            format!("it is not allowed; {}", kept()),
        ),
        _ => (
            StalledReason::Invalid,
            format!("it is not valid; {}", kept()),
        ),
    };
    State {
        stalled: Some(stalled),
        ..State::new(ReadyReason::Invalid, message, 0)
    }
}

/// A disabled profile has its file until no pod uses it.
fn disabled(facts: Facts<'_>) -> State {
    let having = facts.nodes.having(&facts.profile.name);
    let new = |message| State::new(ReadyReason::Disabled, message, 0);
    if !facts.is_released && facts.users.direct > 0 {
        let message = format!(
            "disabled; its file stays, because it waits for {}",
            facts.users
        );
        State {
            reconciling: Some(ReconcilingReason::InUse),
            ..new(message)
        }
    } else if having.is_empty() {
        new("disabled; no node has its file".to_owned())
    } else {
        let message = format!("disabled; still to be removed from {}", some_of(&having));
        State {
            reconciling: Some(ReconcilingReason::Removing),
            ..new(message)
        }
    }
}

#[cfg(test)]
mod tests;
