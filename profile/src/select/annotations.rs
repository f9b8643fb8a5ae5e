//! Every annotation key that Portcullis reads or writes, and those that change what crun does.

use super::identity::Annotations;

/// Selects a profile for every container of a pod.
pub const POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// Followed by a container's name: selects a profile for that container only.
pub const CONTAINER_ANNOTATION_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Records every container of a pod.
pub const RECORD_ANNOTATION: &str = "portcullis.dev/record";
/// Followed by a container's name: records that container only.
pub const RECORD_CONTAINER_ANNOTATION_PREFIX: &str = "portcullis.dev/record.";
/// The older recorder hook's annotation: `[if:/abs;]of:/abs`, in any order.
pub const TRACE_ANNOTATION: &str = "io.containers.trace-syscall";
/// Written into `config.json` when the gate relaxes a filter for a recording. A container that
/// carries it never starts unrecorded.
pub const DENIALS_LOGGED_ANNOTATION: &str = "portcullis.dev/denials-logged";

/// Names the engine in `config.json`; see [`Engine::manager`](crate::Engine::manager).
pub const MANAGER: &str = "io.container.manager";

/// What CRI-O writes (`internal/annotations` of its sources).
pub mod crio {
    /// The pod's namespace.
    pub const NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's name.
    pub const POD: &str = "io.kubernetes.pod.name";
    /// The pod's UID.
    pub const UID: &str = "io.kubernetes.pod.uid";
    /// The container's name in the pod.
    pub const CONTAINER: &str = "io.kubernetes.container.name";
    /// `sandbox` or `container`.
    pub const CONTAINER_TYPE: &str = "io.kubernetes.cri-o.ContainerType";
    /// The ID of the pod's sandbox.
    pub const SANDBOX_ID: &str = "io.kubernetes.cri-o.SandboxID";
    /// In the sandbox's configuration: the pod's runtime handler; empty for the default one.
    pub const RUNTIME_HANDLER: &str = "io.kubernetes.cri-o.RuntimeHandler";
    /// The container's image.
    pub const IMAGE_NAME: &str = "io.kubernetes.cri-o.ImageName";
    /// The filter that CRI-O applied: `Unconfined`, `RuntimeDefault` or a path.
    pub const SECCOMP_PROFILE_PATH: &str = "io.kubernetes.cri-o.SeccompProfilePath";
}

/// What containerd writes (`internal/cri/annotations` of its sources).
pub mod containerd {
    /// The pod's namespace.
    pub const NAMESPACE: &str = "io.kubernetes.cri.sandbox-namespace";
    /// The pod's name.
    pub const POD: &str = "io.kubernetes.cri.sandbox-name";
    /// The pod's UID.
    pub const UID: &str = "io.kubernetes.cri.sandbox-uid";
    /// The container's name in the pod.
    pub const CONTAINER: &str = "io.kubernetes.cri.container-name";
    /// `sandbox` or `container`.
    pub const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";
    /// The container's image.
    pub const IMAGE_NAME: &str = "io.kubernetes.cri.image-name";
}

/// What Podman's users write by convention; Podman itself writes none.
pub mod podman {
    /// The container's name.
    pub const CONTAINER: &str = "io.kubernetes.container.name";
}

/// Selects the handler with which crun runs the container (`crun(1)`).
const HANDLER: &str = "run.oci.handler";
/// Make crun take its filter from elsewhere than `linux.seccomp`, or use it differently.
const SECCOMP_PREFIXES: [&str; 2] = ["run.oci.seccomp_bpf_data", "run.oci.seccomp."];
/// Make crun append the output of hooks, as root, to a file that the annotation names.
const HOOK_OUTPUT_PREFIX: &str = "run.oci.hooks.";

/// Whether an annotation selects a profile, for a pod or one of its containers.
pub fn selects(key: &str) -> bool {
    key == POD_ANNOTATION || key.starts_with(CONTAINER_ANNOTATION_PREFIX)
}

/// Whether an annotation asks for a recording, of a pod or one of its containers.
pub fn records(key: &str) -> bool {
    key == RECORD_ANNOTATION
        || key == TRACE_ANNOTATION
        || key.starts_with(RECORD_CONTAINER_ANNOTATION_PREFIX)
}

/// The key as a runtime written in C sees it: up to the first NUL.
fn as_c_string(key: &str) -> &str {
    key.split_once('\0').map_or(key, |(before, _)| before)
}

/// Whether crun would ignore or replace the filter in `config.json` because of this key.
pub(super) fn bypasses_the_filter(key: &str) -> bool {
    let key = as_c_string(key);
    key == HANDLER
        || SECCOMP_PREFIXES
            .iter()
            .any(|prefix| key.starts_with(prefix))
}

/// The first annotation that makes crun write the output of hooks to a file of the pod author's
/// choice. It is never allowed.
pub fn redirects_hook_output(annotations: &Annotations) -> Option<&str> {
    annotations
        .keys()
        .map(String::as_str)
        .find(|key| as_c_string(key).starts_with(HOOK_OUTPUT_PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_as_crun_reads_them() {
        for key in [
            "run.oci.handler",
            "run.oci.handler\0x",
            "run.oci.seccomp_bpf_data",
            "run.oci.seccomp.receiver",
            "run.oci.seccomp.plugins\0",
        ] {
            assert!(bypasses_the_filter(key), "{key:?}");
        }
        for key in ["run.oci.handlers", "run.oci.keep_original_groups", "", "\0"] {
            assert!(!bypasses_the_filter(key), "{key:?}");
        }
    }

    #[test]
    fn every_annotation_that_redirects_hooks_is_found() {
        let redirects = |key: &str| {
            let annotations = Annotations::from([(key.to_owned(), "/x".to_owned())]);
            redirects_hook_output(&annotations).map(str::to_owned)
        };
        for key in [
            "run.oci.hooks.stderr",
            "run.oci.hooks.stdout",
            "run.oci.hooks.stderr\0x",
            "run.oci.hooks.new",
        ] {
            assert_eq!(redirects(key).as_deref(), Some(key));
        }
        for key in ["run.oci.hook", "run.oci.hooks", "x.run.oci.hooks.stderr"] {
            assert_eq!(redirects(key), None);
        }
    }
}
