//! Every annotation key that Portcullis reads or writes, and those of the engines and runtimes
//! that matter to it.

/// Selects a profile for every container of a pod (Kubernetes' legacy annotation).
pub const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// Precedes a container's name in the annotation that selects a profile for it alone; overrides
/// the pod's.
pub const CONTAINER_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// Written into `config.json` where the denials of the filter are logged for a recording: such a
/// container never starts unrecorded.
pub const DENIALS_LOGGED: &str = "portcullis.dev/denials-logged";

/// Makes crun use another handler, which loads no filter of ours.
pub const RUNTIME_HANDLER: &str = "run.oci.handler";
/// What begins so makes crun take its filter from somewhere else than `linux.seccomp`, or changes
/// what it does with it.
pub const RUNTIME_FILTER_PREFIXES: [&str; 2] = ["run.oci.seccomp_bpf_data", "run.oci.seccomp."];
