//! A container as the runtime describes it to plugins, as the evaluator's input.

use super::policy;
use portcullis_nri::api::{Container, LinuxSeccomp, PodSandbox, ProfileType};
use portcullis_profile::{
    Engine,
    gate::PresentFilter,
    select::{
        annotations::{RECORD_CONTAINER_ANNOTATION_PREFIX, crio, records},
        identity::{Annotations, Identity},
    },
};

/// The first version of containerd that tells plugins a container's whole policy.
const CONTAINERD_TELLS_SINCE: (u32, u32) = (2, 3);

/// The engine of this name, as runtimes call themselves.
pub(super) fn engine(runtime: &str) -> Option<Engine> {
    match runtime {
        "containerd" => Some(Engine::Containerd),
        "cri-o" | "crio" => Some(Engine::CriO),
        _ => None,
    }
}

/// Whether a container that comes without a policy has none.
pub(super) fn tells_filters(engine: Engine, version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split('.');
    let mut next = || parts.next().and_then(|part| part.parse::<u32>().ok());
    let version = next().zip(next());
    engine == Engine::Containerd && version.is_some_and(|told| told >= CONTAINERD_TELLS_SINCE)
}

/// One container.
#[derive(Debug)]
pub(super) struct Subject {
    /// Its ID.
    pub(super) id: String,
    pub(super) engine: Engine,
    pub(super) identity: Identity,
    /// Those of the pod and of the container.
    pub(super) annotations: Annotations,
    present: Known,
    /// Whether the engine itself says that the filter, if there is one, is its default.
    pub(super) says_default: bool,
}

/// What the runtime tells of the filter that it has.
#[derive(Debug)]
enum Known {
    None,
    Policy(Box<LinuxSeccomp>),
    EngineDefault,
    Unknown,
}

impl Subject {
    /// Names come from the runtime's own fields, never from annotations. A container's annotation has
    /// precedence over the pod's of the same key, since engines write their own there.
    pub(super) fn new(
        engine: Engine,
        tells_filters: bool,
        pod: PodSandbox,
        container: Container,
    ) -> Subject {
        let present = present(engine, tells_filters, &container);
        let asked = asked_profile(&container);
        let says_default = !matches!(present, Known::None)
            && (asked == Some(ProfileType::RuntimeDefault)
                || engine.says_runtime_default(&container.annotations));
        let named = |name: String| Some(name).filter(|name| !name.is_empty());
        let mut annotations = pod.annotations;
        annotations.extend(container.annotations);
        Subject {
            id: container.id,
            engine,
            identity: Identity {
                namespace: named(pod.namespace),
                pod: named(pod.name),
                uid: named(pod.uid),
                container: named(container.name),
                sandbox: false,
            },
            annotations,
            present,
            says_default,
        }
    }

    /// The annotations that ask for a recording of it, whatever they say.
    pub(super) fn recording_annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.identity.container.as_ref();
        let own = own.map(|name| format!("{RECORD_CONTAINER_ANNOTATION_PREFIX}{name}"));
        let is_for_it = move |key: &str| {
            !key.starts_with(RECORD_CONTAINER_ANNOTATION_PREFIX) || own.as_deref() == Some(key)
        };
        self.annotations
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(move |(key, _)| records(key) && is_for_it(key))
    }

    /// Whether the node's recorder has to be asked. It decides, by the settings.
    pub(super) fn asks_for_recording(&self) -> bool {
        self.recording_annotations()
            .any(|(_, value)| value != "false")
    }

    /// Whether the runtime says that it has no filter.
    pub(super) fn has_none(&self) -> bool {
        matches!(self.present, Known::None)
    }

    /// The policy as the evaluator reads it; made only for containers that select something.
    pub(super) fn document(&self) -> Option<String> {
        match &self.present {
            Known::Policy(policy) => Some(policy::to_json(policy)),
            _ => None,
        }
    }

    /// What is known of its filter, with what [`Subject::document`] returned.
    pub(super) fn present<'a>(&self, document: Option<&'a str>) -> PresentFilter<'a> {
        match (&self.present, document) {
            (Known::None, _) => PresentFilter::None,
            (Known::Policy(_), Some(text)) => PresentFilter::Document(text),
            (Known::EngineDefault, _) => PresentFilter::EngineDefault,
            (Known::Policy(_), None) | (Known::Unknown, _) => PresentFilter::Unknown,
        }
    }
}

fn present(engine: Engine, tells_filters: bool, container: &Container) -> Known {
    let linux = container.linux.as_ref();
    if let Some(policy) = linux.and_then(|linux| linux.seccomp_policy.clone()) {
        return Known::Policy(Box::new(policy));
    }
    if tells_filters {
        return Known::None;
    }
    if let Some(asked) = asked_profile(container) {
        return match asked {
            ProfileType::Unconfined => Known::None,
            ProfileType::RuntimeDefault => Known::EngineDefault,
            ProfileType::Localhost => Known::Unknown,
        };
    }
    // CRI-O overwrites this key in each container's annotations.
    let word = container.annotations.get(crio::SECCOMP_PROFILE_PATH);
    match word.filter(|_| engine == Engine::CriO).map(String::as_str) {
        Some("Unconfined") => Known::None,
        Some("RuntimeDefault") => Known::EngineDefault,
        _ => Known::Unknown,
    }
}

/// The profile that the pod's fields ask for, as the kubelet has told the runtime.
fn asked_profile(container: &Container) -> Option<ProfileType> {
    let asked = container.linux.as_ref()?.seccomp_profile.as_ref()?;
    Some(asked.profile_type())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_nri::api::{LinuxContainer, SecurityProfile};

    fn present_of(engine: Engine, tells: bool, container: Container) -> PresentFilter<'static> {
        let subject = Subject::new(engine, tells, PodSandbox::default(), container);
        subject.present(None)
    }

    fn of_type(profile_type: ProfileType) -> Container {
        Container {
            linux: Some(LinuxContainer {
                seccomp_profile: Some(SecurityProfile {
                    profile_type: profile_type.into(),
                    localhost_ref: String::new(),
                }),
                ..LinuxContainer::default()
            }),
            ..Container::default()
        }
    }

    #[test]
    fn a_policy_is_the_engines_default_where_the_engine_says_so() {
        let says_default = |engine, profile_type, pod: PodSandbox| {
            let mut container = of_type(profile_type);
            if let Some(linux) = &mut container.linux {
                linux.seccomp_policy = Some(LinuxSeccomp::default());
            }
            let subject = Subject::new(engine, true, pod, container);
            assert!(subject.document().is_some());
            subject.says_default
        };
        let bare = PodSandbox::default;
        let default = ProfileType::RuntimeDefault;
        assert!(says_default(Engine::Containerd, default, bare()));
        assert!(!says_default(
            Engine::Containerd,
            ProfileType::Localhost,
            bare()
        ));
        // What the pod's author writes is no word of the engine's.
        let mut forged = bare();
        let key = crio::SECCOMP_PROFILE_PATH.to_owned();
        forged.annotations.insert(key, "RuntimeDefault".to_owned());
        assert!(!says_default(Engine::CriO, ProfileType::Localhost, forged));
        // A privileged container does not get what its field asks for.
        let privileged = Subject::new(Engine::Containerd, true, bare(), of_type(default));
        assert!(!privileged.says_default);
    }

    #[test]
    fn a_missing_policy_is_none_only_where_the_runtime_tells_policies() {
        let bare = Container::default;
        let of = |tells, container| present_of(Engine::Containerd, tells, container);
        assert_eq!(of(true, bare()), PresentFilter::None);
        assert_eq!(of(false, bare()), PresentFilter::Unknown);
        // A privileged container may ask for a default that it does not get.
        let default = || of_type(ProfileType::RuntimeDefault);
        assert_eq!(of(true, default()), PresentFilter::None);
        assert_eq!(of(false, default()), PresentFilter::EngineDefault);
        let unconfined = of_type(ProfileType::Unconfined);
        assert_eq!(of(false, unconfined), PresentFilter::None);
        let localhost = of_type(ProfileType::Localhost);
        assert_eq!(of(false, localhost), PresentFilter::Unknown);
        for (version, tells) in [
            ("v2.4.2", true),
            ("2.3.0-rc.1", true),
            ("v2.2.9", false),
            ("", false),
        ] {
            assert_eq!(tells_filters(Engine::Containerd, version), tells);
            assert!(!tells_filters(Engine::CriO, version));
        }
    }

    #[test]
    fn cri_os_word_is_taken_from_the_container_and_never_from_the_pod() {
        let says =
            |word: &str| Annotations::from([(crio::SECCOMP_PROFILE_PATH.into(), word.into())]);
        let of = |engine, word: &str| {
            let container = Container {
                annotations: says(word),
                ..Container::default()
            };
            present_of(engine, false, container)
        };
        assert_eq!(of(Engine::CriO, "Unconfined"), PresentFilter::None);
        assert_eq!(
            of(Engine::CriO, "RuntimeDefault"),
            PresentFilter::EngineDefault
        );
        assert_eq!(of(Engine::CriO, "localhost/x"), PresentFilter::Unknown);
        assert_eq!(of(Engine::Containerd, "Unconfined"), PresentFilter::Unknown);
        let pod = PodSandbox {
            annotations: says("Unconfined"),
            ..PodSandbox::default()
        };
        let forged = Subject::new(Engine::CriO, false, pod, Container::default());
        assert_eq!(forged.present(None), PresentFilter::Unknown);
    }

    #[test]
    fn a_recording_is_asked_for_by_annotations_of_the_pod_or_of_this_container() {
        let asked = |pairs: &[(&str, &str)]| {
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            let pod = PodSandbox {
                annotations: pairs.iter().map(owned).collect(),
                ..PodSandbox::default()
            };
            let container = Container {
                name: "c".into(),
                ..Container::default()
            };
            let subject = Subject::new(Engine::Containerd, true, pod, container);
            let keys: Vec<&str> = subject.recording_annotations().map(|pair| pair.0).collect();
            (subject.asks_for_recording(), keys.join(" "))
        };
        assert_eq!(
            asked(&[("portcullis.dev/recorded", "true")]),
            (false, String::new())
        );
        assert_eq!(
            asked(&[("portcullis.dev/record.d", "true")]),
            (false, String::new())
        );
        assert!(!asked(&[("portcullis.dev/record", "false")]).0);
        // The hook is told all, and decides which one counts.
        let (asks, keys) = asked(&[
            ("io.containers.trace-syscall", "of:/x"),
            ("portcullis.dev/record", "true"),
            ("portcullis.dev/record.c", "false"),
            ("portcullis.dev/record.d", "true"),
        ]);
        let expected = "io.containers.trace-syscall portcullis.dev/record portcullis.dev/record.c";
        assert_eq!((asks, keys.as_str()), (true, expected));
    }

    #[test]
    fn names_come_from_the_runtimes_fields() {
        let forged = [
            ("io.kubernetes.cri.sandbox-namespace", "kube-system"),
            ("io.kubernetes.cri.container-name", "other"),
            ("io.kubernetes.cri.container-type", "sandbox"),
        ];
        let pod = PodSandbox {
            namespace: "shop".into(),
            name: "web".into(),
            annotations: forged.map(|(key, value)| (key.into(), value.into())).into(),
            ..PodSandbox::default()
        };
        let container = Container {
            name: "c".into(),
            ..Container::default()
        };
        let subject = Subject::new(Engine::Containerd, true, pod, container);
        assert_eq!(subject.identity.to_string(), "pod shop/web, container c");
        assert!(!subject.identity.sandbox && subject.identity.uid.is_none());
    }
}
