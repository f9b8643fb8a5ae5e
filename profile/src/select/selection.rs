//! Which profile a container selects, from its annotations alone.
//!
//! The engine's own keys identify the container, a container annotation overrides the pod's, the
//! sandbox is left alone, and annotations that make the runtime ignore its filter are refused if a
//! filter is asked for.

use crate::{
    select::annotations::{
        CONTAINER_ANNOTATION_PREFIX, POD_ANNOTATION, bypasses_the_filter, redirects_hook_output,
    },
    select::identity::{Annotations, Identity},
    select::reference::{Reference, ReferenceError},
    settings::{Require, Settings},
};

/// What a container selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The pod's sandbox container: left alone.
    Sandbox,
    /// A container in an exempt namespace: accepted without any check.
    Exempt,
    /// No annotation names a profile for this container.
    Nothing,
    /// An annotation does.
    Selected {
        /// The annotation's key.
        annotation: String,
        /// What it names.
        reference: Reference,
    },
}

/// Why nothing can be selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// There are container annotations, but the engine does not name the container.
    #[error(
        "the engine does not name the container, so it is unknown whether this annotation is meant \
         for this container (Podman: --annotation io.kubernetes.container.name=NAME)"
    )]
    Ambiguous {
        /// The first such key.
        annotation: String,
    },
    /// The annotation's value is not a reference.
    #[error("{source}")]
    Reference {
        /// The annotation's key.
        annotation: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// An annotation would make the runtime ignore or replace the filter.
    #[error(
        "this annotation makes the runtime ignore or replace the filter in config.json; remove \
         it, or list it under allow_runtime_annotations"
    )]
    RuntimeAnnotation {
        /// The annotation's key.
        annotation: String,
    },
    /// An annotation would make crun write to a file as root.
    #[error(
        "this annotation makes crun append what hooks print to a file of the pod author's choice, \
         as root; it is never allowed, remove it"
    )]
    HookOutput {
        /// The annotation's key.
        annotation: String,
    },
}

impl SelectionError {
    /// The annotation at fault.
    pub fn annotation(&self) -> &str {
        match self {
            SelectionError::Ambiguous { annotation }
            | SelectionError::Reference { annotation, .. }
            | SelectionError::RuntimeAnnotation { annotation }
            | SelectionError::HookOutput { annotation } => annotation,
        }
    }

    /// The value, if that is at fault.
    pub fn value(&self) -> Option<&str> {
        match self {
            SelectionError::Reference { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// Determines what the container selects. Pure: the same arguments give the same result.
///
/// # Errors
/// The container must not start: see [`SelectionError`].
pub fn select(
    identity: &Identity,
    annotations: &Annotations,
    settings: &Settings,
) -> Result<Selection, SelectionError> {
    if let Some(annotation) = redirects_hook_output(annotations) {
        return Err(SelectionError::HookOutput {
            annotation: annotation.to_owned(),
        });
    }
    if identity.sandbox {
        return Ok(Selection::Sandbox);
    }
    let namespace = identity.namespace.as_ref();
    if namespace.is_some_and(|namespace| settings.exempt_namespaces.contains(namespace)) {
        return Ok(Selection::Exempt);
    }
    let selection = selected(identity, annotations)?;
    let asks = matches!(
        &selection,
        Selection::Selected {
            reference: Reference::Localhost(_) | Reference::RuntimeDefault,
            ..
        }
    );
    if (asks || settings.require == Require::AnyFilter)
        && let Some(annotation) = runtime_annotation(annotations, settings)
    {
        return Err(SelectionError::RuntimeAnnotation { annotation });
    }
    Ok(selection)
}

/// The container's annotation, else the pod's.
fn selected(identity: &Identity, annotations: &Annotations) -> Result<Selection, SelectionError> {
    let of_a_container = |key: &&String| key.starts_with(CONTAINER_ANNOTATION_PREFIX);
    let own = identity
        .container
        .as_ref()
        .map(|name| format!("{CONTAINER_ANNOTATION_PREFIX}{name}"));
    if own.is_none()
        && let Some(annotation) = annotations.keys().find(of_a_container)
    {
        return Err(SelectionError::Ambiguous {
            annotation: annotation.clone(),
        });
    }
    let annotation = own
        .filter(|key| annotations.contains_key(key))
        .unwrap_or_else(|| POD_ANNOTATION.to_owned());
    match annotations.get(&annotation) {
        None => Ok(Selection::Nothing),
        Some(value) => match value.parse() {
            Ok(reference) => Ok(Selection::Selected {
                annotation,
                reference,
            }),
            Err(source) => Err(SelectionError::Reference {
                annotation,
                value: value.clone(),
                source,
            }),
        },
    }
}

/// The first annotation that would make crun deviate from `linux.seccomp` and that the node's owner
/// has not allowed.
fn runtime_annotation(annotations: &Annotations, settings: &Settings) -> Option<String> {
    annotations
        .keys()
        .find(|key| bypasses_the_filter(key) && !settings.allow_runtime_annotations.contains(*key))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// The annotations by which an engine names container "app" of pod shop/web.
    fn of_engine(engine: Engine) -> &'static [(&'static str, &'static str)] {
        match engine {
            Engine::CriO => &[
                ("io.kubernetes.pod.namespace", "shop"),
                ("io.kubernetes.pod.name", "web"),
                ("io.kubernetes.container.name", "app"),
                ("io.kubernetes.cri-o.ContainerType", "container"),
            ],
            Engine::Containerd => &[
                ("io.kubernetes.cri.sandbox-namespace", "shop"),
                ("io.kubernetes.cri.sandbox-name", "web"),
                ("io.kubernetes.cri.container-name", "app"),
                ("io.kubernetes.cri.container-type", "container"),
            ],
            Engine::Podman => &[("io.kubernetes.container.name", "app")],
        }
    }

    fn run(
        engine: Engine,
        pairs: &[(&str, &str)],
        settings: &Settings,
    ) -> Result<Selection, SelectionError> {
        let annotations = annotations(&[of_engine(engine), pairs].concat());
        select(&Identity::of(engine, &annotations), &annotations, settings)
    }

    fn selects(engine: Engine, pairs: &[(&str, &str)], reference: &str) {
        match run(engine, pairs, &Settings::default()) {
            Ok(Selection::Selected {
                reference: found, ..
            }) => {
                assert_eq!(found.to_string(), reference, "{engine}: {pairs:?}");
            }
            other => panic!("{engine}: {pairs:?}: {other:?}"),
        }
    }

    const APP: &str = "container.seccomp.security.alpha.kubernetes.io/app";
    const SIBLING: &str = "container.seccomp.security.alpha.kubernetes.io/sibling";

    #[test]
    fn a_container_annotation_beats_the_pods_under_every_engine() {
        for engine in Engine::ALL {
            selects(engine, &[(POD_ANNOTATION, "localhost/p")], "localhost/p");
            selects(engine, &[(APP, "localhost/c")], "localhost/c");
            selects(
                engine,
                &[(POD_ANNOTATION, "localhost/p"), (APP, "localhost/c")],
                "localhost/c",
            );
            selects(
                engine,
                &[(POD_ANNOTATION, "localhost/p"), (APP, "unconfined")],
                "unconfined",
            );
            selects(
                engine,
                &[(POD_ANNOTATION, "localhost/p"), (SIBLING, "localhost/s")],
                "localhost/p",
            );
            let alone = run(engine, &[(SIBLING, "localhost/s")], &Settings::default());
            assert_eq!(alone, Ok(Selection::Nothing), "{engine}");
        }
    }

    #[test]
    fn keys_of_other_engines_are_not_believed() {
        for engine in Engine::ALL {
            for other in Engine::ALL.iter().filter(|other| **other != engine) {
                let forged: &[(&str, &str)] = match other {
                    Engine::CriO => &[("io.kubernetes.cri-o.ContainerType", "sandbox")],
                    Engine::Containerd => &[
                        ("io.kubernetes.cri.container-type", "sandbox"),
                        ("io.kubernetes.cri.sandbox-namespace", "kube-system"),
                        ("io.kubernetes.cri.container-name", "sibling"),
                    ],
                    Engine::Podman => &[],
                };
                let pairs = [forged, &[(APP, "localhost/c"), (SIBLING, "localhost/s")]].concat();
                selects(engine, &pairs, "localhost/c");
            }
        }
        // Podman has no namespaces, so none is exempt there.
        selects(
            Engine::Podman,
            &[
                ("io.kubernetes.pod.namespace", "kube-system"),
                (APP, "localhost/c"),
            ],
            "localhost/c",
        );
    }

    #[test]
    fn without_a_container_name_container_annotations_are_refused() {
        let annotations = annotations(&[(SIBLING, "localhost/s"), (POD_ANNOTATION, "localhost/p")]);
        for engine in Engine::ALL {
            let identity = Identity::of(engine, &annotations);
            let result = select(&identity, &annotations, &Settings::default());
            assert!(
                matches!(result, Err(SelectionError::Ambiguous { .. })),
                "{engine}"
            );
        }
    }

    #[test]
    fn the_sandbox_and_exempt_namespaces_are_left_alone() {
        let sandbox = [
            (Engine::CriO, "io.kubernetes.cri-o.ContainerType"),
            (Engine::Containerd, "io.kubernetes.cri.container-type"),
        ];
        for (engine, key) in sandbox {
            let pairs = [(key, "sandbox"), (POD_ANNOTATION, "localhost/p")];
            assert_eq!(
                run(engine, &pairs, &Settings::default()),
                Ok(Selection::Sandbox)
            );
        }
        let exempt = [
            (Engine::CriO, "io.kubernetes.pod.namespace"),
            (Engine::Containerd, "io.kubernetes.cri.sandbox-namespace"),
        ];
        for (engine, key) in exempt {
            let pairs = [(key, "kube-system"), (POD_ANNOTATION, "localhost/p")];
            assert_eq!(
                run(engine, &pairs, &Settings::default()),
                Ok(Selection::Exempt)
            );
        }
    }

    #[test]
    fn what_makes_the_runtime_ignore_its_filter_is_refused_where_one_is_asked_for() {
        let required = Settings {
            require: Require::AnyFilter,
            ..Settings::default()
        };
        for key in [
            "run.oci.seccomp_bpf_data",
            "run.oci.seccomp.receiver",
            "run.oci.handler",
        ] {
            let refused = |pairs: &[(&str, &str)], settings: &Settings| {
                matches!(
                    run(Engine::CriO, pairs, settings),
                    Err(SelectionError::RuntimeAnnotation { .. })
                )
            };
            assert!(refused(
                &[(key, "x"), (APP, "localhost/c")],
                &Settings::default()
            ));
            assert!(refused(
                &[(key, "x"), (APP, "runtime/default")],
                &Settings::default()
            ));
            assert!(!refused(&[(key, "x")], &Settings::default()));
            assert!(!refused(
                &[(key, "x"), (APP, "unconfined")],
                &Settings::default()
            ));
            assert!(refused(&[(key, "x")], &required));
            let allowed = Settings {
                allow_runtime_annotations: vec![key.to_owned()],
                ..Settings::default()
            };
            assert!(!refused(&[(key, "x"), (APP, "localhost/c")], &allowed));
        }
    }

    #[test]
    fn what_redirects_hooks_is_refused_whatever_is_selected_and_whoever_it_is() {
        let allowed = Settings {
            allow_runtime_annotations: vec!["run.oci.hooks.stderr".to_owned()],
            ..Settings::default()
        };
        let others: [&[(&str, &str)]; 5] = [
            &[],
            &[(APP, "localhost/c")],
            &[(APP, "unconfined")],
            &[("io.kubernetes.cri-o.ContainerType", "sandbox")],
            &[("io.kubernetes.pod.namespace", "kube-system")],
        ];
        for pairs in others {
            for key in ["run.oci.hooks.stderr", "run.oci.hooks.stdout"] {
                let result = run(Engine::CriO, &[pairs, &[(key, "/f")]].concat(), &allowed);
                let annotation = key.to_owned();
                assert_eq!(result, Err(SelectionError::HookOutput { annotation }));
            }
        }
    }
}
