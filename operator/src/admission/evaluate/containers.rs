//! What the containers of a pod say about their profiles.

use super::{Annotations, CONTAINER_ANNOTATION};
use crate::admission::review::{Container, Pod, SecurityContext};
use std::collections::BTreeSet;

/// What is before the reason in the field of a container that the mutating policy has refused.
const REFUSED: &str = "portcullis.dev/refused/";

/// What a container says.
#[derive(Debug)]
pub(super) struct Said<'a> {
    /// Where it is in the pod.
    pub(super) at: String,
    pub(super) container: &'a Container,
    pub(super) annotation: &'a str,
    pub(super) field: String,
}

impl Said<'_> {
    pub(super) fn is_privileged(&self) -> bool {
        let context = self.container.security_context.as_ref();
        context.and_then(|context| context.privileged) == Some(true)
    }
}

/// The reason in the field of a container that was refused.
pub(super) fn mark(container: &Container) -> Option<&str> {
    let profile = container
        .security_context
        .as_ref()?
        .seccomp_profile
        .as_ref()?;
    profile.localhost_profile.as_deref()?.strip_prefix(REFUSED)
}

/// What there is to decide on: all containers of a new pod, later only new ephemeral ones.
pub(super) fn containers<'a>(
    pod: &'a Pod,
    before: Option<&Pod>,
    annotations: &'a Annotations,
) -> Vec<Said<'a>> {
    let said = |part: &str, number: usize, container: &'a Container| Said {
        at: format!("/spec/{part}/{number}"),
        container,
        annotation: selected(
            annotations,
            &format!("{CONTAINER_ANNOTATION}{}", container.name),
        ),
        field: field(container.security_context.as_ref()),
    };
    let all = |part: &'static str, containers: &'a Option<Vec<Container>>| {
        let containers = containers.iter().flatten().enumerate();
        containers.map(move |(number, container)| said(part, number, container))
    };
    let Some(before) = before else {
        let containers = all("containers", &pod.spec.containers);
        return containers
            .chain(all("initContainers", &pod.spec.init_containers))
            .collect();
    };
    let old = before.spec.ephemeral_containers.iter().flatten();
    let old: BTreeSet<&str> = old.map(|container| container.name.as_str()).collect();
    all("ephemeralContainers", &pod.spec.ephemeral_containers)
        .filter(|said| !old.contains(said.container.name.as_str()))
        .collect()
}

/// The profile that an annotation selects; empty if there is none.
pub(super) fn selected<'a>(annotations: &'a Annotations, key: &str) -> &'a str {
    match annotations.get(key).map(String::as_str) {
        Some("docker/default") => "runtime/default",
        Some(profile) => profile,
        None => "",
    }
}

/// The profile of a field, written as in an annotation; empty if there is none.
pub(super) fn field(context: Option<&SecurityContext>) -> String {
    let Some(profile) = context.and_then(|context| context.seccomp_profile.as_ref()) else {
        return String::new();
    };
    match profile.r#type.as_str() {
        "Localhost" => format!(
            "localhost/{}",
            profile.localhost_profile.as_deref().unwrap_or_default()
        ),
        "RuntimeDefault" => "runtime/default".to_owned(),
        _ => "unconfined".to_owned(),
    }
}
