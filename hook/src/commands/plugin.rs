//! What the agent's NRI plugin tells the hooks that it puts into a container: engines may hide a pod's
//! annotations from hooks.

use portcullis_profile::select::identity::Identity;

/// Which container it is.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct PluginArguments {
    /// The NRI plugin put this hook into the container; the other options say what it knows, and
    /// annotations in config.json neither select nor ask for anything.
    #[arg(long, requires = "pod")]
    nri: bool,
    /// The pod's namespace.
    #[arg(long, requires = "nri")]
    namespace: Option<String>,
    /// The pod's name.
    #[arg(long, requires = "nri")]
    pod: Option<String>,
    /// The pod's UID.
    #[arg(long, requires = "nri")]
    pod_uid: Option<String>,
    /// The container's name in the pod.
    #[arg(long, requires = "nri")]
    container: Option<String>,
}

impl PluginArguments {
    /// The container; `None` if the hook is not the plugin's.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.nri.then(|| Identity {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            uid: self.pod_uid.clone(),
            container: self.container.clone(),
            sandbox: false,
        })
    }
}
