//! `remove-profiles`: what has to happen before the operator is removed. Admission is taken out. While
//! the controller still runs, profiles can be deleted, so that the agents remove their files; then the
//! controller ends, and its finalizers are taken away, which nobody else would do.

mod admission;

use crate::{
    file_name::file_name,
    kube::{
        config_maps,
        request::{RequestError, request},
        stored::{StoredNode, StoredProfile},
        stores::{
            pod_usage::{PodUsage, list_using},
            profile::{FINALIZER, Profile},
        },
    },
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// The controller's Deployment.
const CONTROLLER: &str = "portcullis-controller";
/// What selects its pods.
const CONTROLLER_PODS: &str =
    "app.kubernetes.io/name=portcullis,app.kubernetes.io/component=controller";
/// How many objects are listed at a time.
const PAGE: u32 = 50;
/// How many pods of a profile are named.
const NAMED: usize = 10;
/// The time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// What becomes of the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They and their files stay.
    Keep,
    /// They and their files are removed, unless pods use them.
    Remove,
}

/// Why the operator has to stay.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// Pods use profiles.
    #[error(
        "these profiles are in use: nothing was removed. Delete the pods, or keep the profiles (uninstall.profiles=keep)\n{0}"
    )]
    InUse(InUse),
    /// The deletion of profiles does not end.
    #[error(
        "these profiles are still there after {after:?}; the operator stays, so try again later: {names}"
    )]
    StillThere {
        /// How long it was waited for.
        after: Duration,
        /// Which ones.
        names: String,
    },
    /// Its pods don't end.
    #[error(
        "pods of the controller still run after {0:?}; it has no replicas now, so try again later"
    )]
    ControllerRuns(Duration),
    /// The API server did not answer, or refused something.
    #[error("{what}: {source}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// The cause.
        source: RequestError,
    },
}

impl RemovalError {
    /// Whether the operator stays on account of the profiles.
    pub fn is_about_profiles(&self) -> bool {
        matches!(
            self,
            RemovalError::InUse(_) | RemovalError::StillThere { .. }
        )
    }
}

/// The profiles in use, each with the pods that use it, or what its status says of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InUse(BTreeMap<String, String>);

impl InUse {
    /// Of these profiles: by the files that pods select now, and by what the controller says, which
    /// knows the bases of the selected ones too.
    fn of(profiles: &[Profile], pods_of: &BTreeMap<String, Vec<String>>) -> InUse {
        let users = |profile: &Profile| {
            if let Some(pods) = pods_of.get(&file_name(&profile.name)) {
                return Some(name_some(pods));
            }
            let status = profile.status.as_ref().filter(|it| it.pods > 0)?;
            let condition = status.conditions.iter().find(|it| it.type_ == "InUse");
            let counted = || format!("{} pods", status.pods);
            Some(condition.map_or_else(counted, |it| it.message.clone()))
        };
        let used = profiles
            .iter()
            .filter_map(|profile| Some((profile.name.clone(), users(profile)?)));
        InUse(used.collect())
    }
}

/// A line for each profile.
impl fmt::Display for InUse {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|(name, users)| format!("  {name}: {users}"))
            .collect();
        to.write_str(&lines.join("\n"))
    }
}

fn name_some(pods: &[String]) -> String {
    let mut text = pods[..pods.len().min(NAMED)].join(", ");
    if pods.len() > NAMED {
        // Writing to a string does not fail.
        let _ = write!(text, " and {} more", pods.len() - NAMED);
    }
    text
}

/// What was done, and what is left.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// How many profiles were deleted.
    pub removed: usize,
    /// How many profiles stay.
    pub kept: usize,
    /// What of admission was taken out.
    pub admission: Vec<&'static str>,
    /// The nodes that did not report the removal of their files.
    pub nodes_with_files: Vec<String>,
}

impl fmt::Display for Done {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} profiles removed, {} kept", self.removed, self.kept)?;
        if !self.admission.is_empty() {
            let kinds = self.admission.join(", ");
            write!(to, "; admission is taken out, so no rule applies ({kinds})")?;
        }
        if !self.nodes_with_files.is_empty() {
            let nodes = self.nodes_with_files.join(", ");
            write!(
                to,
                "; files are left on these nodes, whose agents did not answer: {nodes}"
            )?;
        }
        Ok(())
    }
}

/// Prepares the removal of the operator in `namespace`, whose controller may make profiles of `ConfigMap`
/// objects: that is paused. No step takes longer than `patience`.
///
/// # Errors
/// [`RemovalError`]; then the operator has to stay.
pub async fn run(
    client: Client,
    namespace: &str,
    fate: Fate,
    reads_config_maps: bool,
    patience: Duration,
) -> Result<Done, RemovalError> {
    let removal = Removal {
        profiles: Api::all(client.clone()),
        nodes: Api::all(client.clone()),
        all_pods: Api::all(client.clone()),
        client: client.clone(),
        controller: Api::namespaced(client.clone(), namespace),
        pods: Api::namespaced(client.clone(), namespace),
        patience,
    };
    if !reads_config_maps {
        return removal.run(fate).await;
    }
    config_maps::pause(client.clone(), namespace)
        .await
        .map_err(failed("pausing the reading of ConfigMaps"))?;
    let done = removal.run(fate).await;
    // Either nothing reads them any more, or the operator stays.
    config_maps::go_on(client, namespace)
        .await
        .map_err(failed("ending the pause of reading ConfigMaps"))?;
    done
}

impl Removal {
    async fn run(&self, fate: Fate) -> Result<Done, RemovalError> {
        let mut done = Done {
            removed: 0,
            kept: 0,
            admission: Vec::new(),
            nodes_with_files: Vec::new(),
        };
        let profiles = match fate {
            Fate::Keep => None,
            Fate::Remove => Some(self.unused().await?),
        };
        // Not before it is clear that the operator can go, but before the files go: a rule would give
        // new pods a profile that is not there.
        done.admission = admission::take_out(&self.client)
            .await
            .map_err(failed("taking admission out"))?;
        if let Some(profiles) = profiles {
            done.removed = self.remove(&profiles).await?;
            done.nodes_with_files = self.files_gone().await?;
        }
        self.end_controller().await?;
        done.kept = self.release().await?;
        Ok(done)
    }
}

struct Removal {
    client: Client,
    profiles: Api<StoredProfile>,
    nodes: Api<StoredNode>,
    all_pods: Api<PodUsage>,
    controller: Api<Deployment>,
    pods: Api<Pod>,
    patience: Duration,
}

fn failed(what: &'static str) -> impl FnOnce(RequestError) -> RemovalError {
    move |source| RemovalError::Request { what, source }
}

impl Removal {
    /// All profiles, once no pod uses any.
    async fn unused(&self) -> Result<Vec<Profile>, RemovalError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let profiles = self.list().await?;
            let used = self.in_use(&profiles).await?;
            if used.0.is_empty() {
                return Ok(profiles);
            }
            // Pods that are just ending are over soon.
            if Instant::now() >= deadline {
                return Err(RemovalError::InUse(used));
            }
            sleep(INTERVAL).await;
        }
    }

    /// Deletes these profiles, and waits until the controller has let go of all. Returns how many
    /// there were.
    async fn remove(&self, profiles: &[Profile]) -> Result<usize, RemovalError> {
        let parameters = DeleteParams::default();
        for profile in profiles {
            let delete = self.profiles.delete(&profile.name, &parameters);
            match request(delete).await {
                Err(error) if !error.is_outdated() => {
                    return Err(failed("deleting a profile")(error));
                }
                _ => {}
            }
        }
        let deadline = Instant::now() + self.patience;
        loop {
            let left = self.list().await?;
            if left.is_empty() {
                return Ok(profiles.len());
            }
            if Instant::now() >= deadline {
                let names: Vec<&str> = left.iter().map(|it| it.name.as_str()).collect();
                return Err(RemovalError::StillThere {
                    after: self.patience,
                    names: names.join(", "),
                });
            }
            sleep(INTERVAL).await;
        }
    }

    async fn list(&self) -> Result<Vec<Profile>, RemovalError> {
        let mut parameters = ListParams::default().limit(PAGE);
        let mut profiles = Vec::new();
        loop {
            let page = request(self.profiles.list(&parameters))
                .await
                .map_err(failed("listing profiles"))?;
            profiles.extend(page.items.into_iter().map(Profile::new));
            match page.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(profiles),
            }
        }
    }

    async fn in_use(&self, profiles: &[Profile]) -> Result<InUse, RemovalError> {
        let mut pods_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
        list_using(
            &self.all_pods,
            || {},
            |pod, files| {
                for file in files {
                    pods_of
                        .entry(file.clone())
                        .or_default()
                        .push(pod.to_owned());
                }
            },
        )
        .await
        .map_err(failed("listing pods"))?;
        Ok(InUse::of(profiles, &pods_of))
    }

    /// Waits until the nodes report no files. Returns those that do not.
    async fn files_gone(&self) -> Result<Vec<String>, RemovalError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let nodes = request(self.nodes.list(&ListParams::default()))
                .await
                .map_err(failed("listing the nodes' reports"))?;
            let has_files = |node: &&StoredNode| node.report().is_ok_and(|it| it.count > 0);
            let left: Vec<String> = nodes
                .items
                .iter()
                .filter(has_files)
                .map(ResourceExt::name_any)
                .collect();
            if left.is_empty() || Instant::now() >= deadline {
                return Ok(left);
            }
            sleep(INTERVAL).await;
        }
    }

    /// Ends the controller, which would add its finalizer again.
    async fn end_controller(&self) -> Result<(), RemovalError> {
        let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
        let parameters = PatchParams::default();
        match request(self.controller.patch_scale(CONTROLLER, &parameters, &none)).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(failed("ending the controller")(error)),
        }
        let deadline = Instant::now() + self.patience;
        let selected = ListParams::default().labels(CONTROLLER_PODS);
        loop {
            let pods = request(self.pods.list(&selected))
                .await
                .map_err(failed("listing the controller's pods"))?;
            if pods.items.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(RemovalError::ControllerRuns(self.patience));
            }
            sleep(INTERVAL).await;
        }
    }

    /// Takes our finalizer from every profile. Returns how many profiles there are.
    async fn release(&self) -> Result<usize, RemovalError> {
        let profiles = self.list().await?;
        for profile in profiles.iter().filter(|it| it.has_finalizer()) {
            let others: Vec<&String> = profile
                .finalizers
                .iter()
                .filter(|it| *it != FINALIZER)
                .collect();
            let patch = Patch::Merge(json!({"metadata": {
                "finalizers": others, "resourceVersion": profile.resource_version}}));
            let parameters = PatchParams::default();
            let write = self
                .profiles
                .patch_metadata(&profile.name, &parameters, &patch);
            match request(write).await {
                Err(error) if error.code() != Some(404) => {
                    return Err(failed("releasing a profile")(error));
                }
                _ => {}
            }
        }
        Ok(profiles.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_in_use_are_named_with_their_pods() {
        let mut based_on = Profile::of("base", &json!({}));
        based_on.status = serde_json::from_value(json!({"pods": 2, "conditions": [{
            "type": "InUse", "status": "True", "reason": "InUse", "message": "the pod shop/till",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}))
        .unwrap();
        let profiles = [
            based_on,
            Profile::of("free", &json!({})),
            Profile::of("web", &json!({})),
        ];
        let pods = (0..12).map(|it| format!("shop/{it}")).collect();
        let used = InUse::of(&profiles, &BTreeMap::from([("web.json".to_owned(), pods)]));
        let names: Vec<String> = (0..10).map(|it| format!("shop/{it}")).collect();
        assert_eq!(
            used.to_string(),
            format!(
                "  base: the pod shop/till\n  web: {} and 2 more",
                names.join(", ")
            )
        );
    }

    #[test]
    fn nodes_with_files_are_named() {
        let mut done = Done {
            removed: 3,
            kept: 0,
            admission: Vec::new(),
            nodes_with_files: Vec::new(),
        };
        assert_eq!(done.to_string(), "3 profiles removed, 0 kept");
        done.admission = vec!["MutatingAdmissionPolicy"];
        assert!(done.to_string().contains("taken out"), "{done}");
        done.nodes_with_files = vec!["a".to_owned(), "b".to_owned()];
        assert!(done.to_string().ends_with("did not answer: a, b"), "{done}");
    }
}
