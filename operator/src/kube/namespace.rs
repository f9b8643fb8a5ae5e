//! The namespace that this process runs in.

use std::{fs, path::Path};

/// The file in which the kubelet provides a pod's namespace.
const FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// The namespace in the manifests, for a process outside any pod.
const OUTSIDE: &str = "portcullis";

/// The given namespace (from the flag or `POD_NAMESPACE`); otherwise that of the pod's service
/// account; otherwise, outside a pod, `portcullis`.
pub fn own(given: Option<String>) -> String {
    given
        .filter(|namespace| !namespace.is_empty())
        .or_else(|| read(Path::new(FILE)))
        .unwrap_or_else(|| OUTSIDE.to_owned())
}

fn read(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let namespace = text.trim();
    (!namespace.is_empty()).then(|| namespace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_comes_before_the_service_accounts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("namespace");
        assert_eq!(read(&file), None);
        fs::write(&file, "security\n").unwrap();
        assert_eq!(read(&file).as_deref(), Some("security"));
        assert_eq!(own(Some("other".to_owned())), "other");
    }
}
