//! Admission as cases use it: the policies, namespaces and bindings, and pods that are created only
//! for a try.

use crate::{
    api_server::{client_of, repository},
    objects,
    stage::Stage,
    wait::{DEADLINE, within},
};
use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// The annotation that selects a profile for a container, or for the pod.
pub(crate) fn annotation(container: &str) -> String {
    match container {
        "" => "seccomp.security.alpha.kubernetes.io/pod".to_owned(),
        name => format!("container.seccomp.security.alpha.kubernetes.io/{name}"),
    }
}

/// A pod with one container, which selects nothing.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "x" }] },
    })
}

type Change = fn(&mut Value);

fn localhost(path: &str) -> Value {
    json!({ "seccompProfile": { "type": "Localhost", "localhostProfile": path } })
}

/// Pods that are refused: the namespace, what is wrong, and how it comes about.
pub(crate) const EACH_MESSAGE: [(&str, &str, Change); 11] = [
    ("free", "annotation and field of the pod differ", |pod| {
        pod["metadata"]["annotations"] = json!({ annotation(""): "localhost/a" });
        pod["spec"]["securityContext"] = localhost("b");
    }),
    (
        "free",
        "annotation and field of a container differ",
        |pod| {
            pod["metadata"]["annotations"] = json!({ annotation("c"): "localhost/a" });
            pod["spec"]["containers"][0]["securityContext"] = localhost("b");
        },
    ),
    ("free", "annotation weaker than the field", |pod| {
        pod["metadata"]["annotations"] = json!({ annotation("c"): "unconfined" });
        pod["spec"]["containers"][0]["securityContext"] = localhost("b");
    }),
    ("enforced", "another profile by the pod's field", |pod| {
        pod["spec"]["securityContext"] = localhost("b");
    }),
    ("enforced", "another profile by annotation", |pod| {
        pod["metadata"]["annotations"] = json!({ annotation(""): "runtime/default" });
    }),
    ("enforced", "privileged", |pod| {
        pod["spec"]["containers"][0]["securityContext"] = json!({ "privileged": true });
    }),
    (
        "not-offered",
        "the namespace's profile is not offered",
        |_| {},
    ),
    ("malformed", "the namespace's profile is none", |_| {}),
    ("half", "the namespace has a mode alone", |_| {}),
    ("mode", "the namespace's mode is none", |_| {}),
    (
        "missing",
        "the profile that a binding enforces is missing",
        |_| {},
    ),
];

/// What applies the rules on a case's API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// The admission policies.
    Policies,
    /// The controller's webhook.
    Webhook,
}

/// A carrier on a case's API server.
pub(crate) struct Admission {
    client: Client,
    carrier: Carrier,
    /// How long a change may take until it is effective and said.
    pub(crate) deadline: Duration,
}

/// Installs the carrier of the case, as far as it is missing.
pub(crate) fn install(stage: &Stage) -> Result<()> {
    install_carrier(stage, stage.carrier)
}

/// Installs a carrier, as far as it is missing.
pub(crate) fn install_carrier(stage: &Stage, carrier: Carrier) -> Result<()> {
    let file = match carrier {
        Carrier::Policies => "packaging/admission/policies.yaml",
        Carrier::Webhook => "packaging/admission/webhooks.yaml",
    };
    let file = repository().join(file);
    stage.kubectl(&["apply", "-f", &file.to_string_lossy()])?;
    Ok(())
}

/// How the API server begins to tell the user what a carrier has refused.
const BY_POLICY: &str = "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'portcullis-admission' with binding 'portcullis-admission' denied request: ";
const BY_WEBHOOK: &str = "admission webhook \"pods.portcullis.dev\" denied the request: ";

impl Admission {
    /// Installs them. Since namespaces remain, no other case can use the API server.
    pub(crate) fn installed(stage: &mut Stage) -> Result<Admission> {
        stage.is_spoilt = true;
        install(stage)?;
        Ok(Admission {
            client: stage.client.clone(),
            carrier: stage.carrier,
            deadline: DEADLINE,
        })
    }

    /// What is installed already, for another client.
    pub(crate) async fn of(kubeconfig: &Path, carrier: Carrier) -> Result<Admission> {
        let client = client_of(kubeconfig).await?;
        Ok(Admission {
            client,
            carrier,
            deadline: DEADLINE,
        })
    }

    /// What the policies say, as the carrier says it.
    pub(crate) fn as_said(&self, text: &str) -> String {
        match self.carrier {
            Carrier::Policies => text.to_owned(),
            Carrier::Webhook => text.replace(BY_POLICY, BY_WEBHOOK),
        }
    }

    /// Installs them, with a namespace `bound` whose binding `b` says this.
    pub(crate) async fn bound(stage: &mut Stage, spec: &Value) -> Result<Admission> {
        let admission = Admission::installed(stage)?;
        admission.offered("web").await?;
        admission.namespace("bound", &json!({}), &json!({})).await?;
        admission.binding("bound", "b", spec).await?;
        Ok(admission)
    }

    /// Creates a profile that is offered to all namespaces.
    pub(crate) async fn offered(&self, name: &str) -> Result<()> {
        let spec = json!({ "allow": ["read"], "offeredTo": {} });
        objects::create(
            &objects::profiles(&self.client),
            objects::profile(name, &spec),
        )
        .await?;
        Ok(())
    }

    pub(crate) async fn namespace(
        &self,
        name: &str,
        labels: &Value,
        annotations: &Value,
    ) -> Result<()> {
        let api = objects::api(&self.client, "", "v1", "Namespace", "namespaces");
        let manifest = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": labels, "annotations": annotations },
        });
        objects::create(&api, manifest).await?;
        Ok(())
    }

    fn bindings(&self, namespace: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("portcullis.dev", "v1alpha1", "SeccompBinding");
        let kind = ApiResource::from_gvk_with_plural(&kind, "seccompbindings");
        Api::namespaced_with(self.client.clone(), namespace, &kind)
    }

    pub(crate) async fn binding(&self, namespace: &str, name: &str, spec: &Value) -> Result<()> {
        let manifest = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "SeccompBinding",
            "metadata": { "name": name, "namespace": namespace }, "spec": spec,
        });
        objects::create(&self.bindings(namespace), manifest).await?;
        Ok(())
    }

    pub(crate) async fn change_binding(
        &self,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<()> {
        let parameters = PatchParams::default();
        self.bindings(namespace)
            .patch(name, &parameters, &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// A thousand namespaces, each with five bindings for pods of their own.
    pub(crate) async fn thousand_namespaces(&self) -> Result<()> {
        for number in 0..1_000 {
            let namespace = format!("team-{number:04}");
            self.namespace(&namespace, &json!({}), &json!({})).await?;
            for rule in 0..5 {
                let labels = json!({ "matchLabels": { "app": format!("app-{rule}") } });
                let spec = json!({ "profile": "web", "podSelector": labels });
                self.binding(&namespace, &format!("rule-{rule}"), &spec)
                    .await?;
            }
        }
        Ok(())
    }

    /// The status of a binding.
    pub(crate) async fn status(&self, namespace: &str, name: &str) -> Result<Value> {
        Ok(self.bindings(namespace).get(name).await?.data["status"].take())
    }

    /// Waits until a condition of a binding has a status and says something.
    pub(crate) async fn says(
        &self,
        namespace: &str,
        name: &str,
        kind: &str,
        status: &str,
        text: &str,
    ) -> Result<()> {
        within(
            self.deadline,
            &format!("{namespace}/{name} is {kind}={status}"),
            async || {
                let found = self.status(namespace, name).await?;
                let mut conditions = found["conditions"].as_array().into_iter().flatten();
                let has = conditions.any(|condition| {
                    let message = condition["message"].as_str().unwrap_or_default();
                    condition["type"] == kind
                        && condition["status"] == status
                        && message.contains(text)
                });
                ensure!(has, "{found}");
                Ok(())
            },
        )
        .await
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    async fn post(&self, namespace: &str, pod: &Value, dry_run: bool) -> Result<Value> {
        let parameters = PostParams {
            dry_run,
            ..PostParams::default()
        };
        let pod = serde_json::from_value(pod.clone())?;
        let made = self.pods(namespace).create(&parameters, &pod).await?;
        Ok(serde_json::to_value(made)?)
    }

    /// What the API server would make of a pod.
    pub(crate) async fn create(&self, namespace: &str, pod: &Value) -> Result<Value> {
        self.post(namespace, pod, true).await
    }

    /// Creates a pod.
    pub(crate) async fn make(&self, namespace: &str, pod: &Value) -> Result<Value> {
        self.post(namespace, pod, false).await
    }

    /// Waits until the container of such a pod gets a profile, written as in an annotation.
    pub(crate) async fn is_effective(
        &self,
        namespace: &str,
        pod: &Value,
        profile: &str,
    ) -> Result<()> {
        let path = profile.strip_prefix("localhost/");
        let what = format!("pods of {namespace} get {profile}");
        within(self.deadline, &what, async || {
            let made = self.create(namespace, pod).await?;
            let field = &made["spec"]["containers"][0]["securityContext"]["seccompProfile"];
            let has = match path {
                Some(path) => field["localhostProfile"] == path,
                None => field["type"] == "RuntimeDefault",
            };
            ensure!(has, "{field}");
            Ok(())
        })
        .await
    }

    /// Adds an ephemeral container `debug` to a pod, and gives what the API server made of it.
    pub(crate) async fn debug(&self, namespace: &str, pod: &str, more: &Value) -> Result<Value> {
        let mut container = json!({ "name": "debug", "image": "x" });
        if let (Some(container), Some(more)) = (container.as_object_mut(), more.as_object()) {
            container.extend(more.clone());
        }
        let patch = json!({ "spec": { "ephemeralContainers": [container] } });
        let parameters = PatchParams::default();
        let made = self
            .pods(namespace)
            .patch_subresource(
                "ephemeralcontainers",
                pod,
                &parameters,
                &Patch::Strategic(patch),
            )
            .await?;
        Ok(serde_json::to_value(made)?["spec"]["ephemeralContainers"][0].take())
    }

    /// Changes a pod, or a subresource of it.
    pub(crate) async fn patch(
        &self,
        namespace: &str,
        pod: &str,
        subresource: &str,
        patch: &Value,
    ) -> Result<()> {
        let (api, parameters) = (self.pods(namespace), PatchParams::default());
        let patch = Patch::Merge(patch);
        match subresource {
            "" => api.patch(pod, &parameters, &patch).await?,
            _ => {
                api.patch_subresource(subresource, pod, &parameters, &patch)
                    .await?
            }
        };
        Ok(())
    }
}

/// What the API server told the user.
pub(crate) fn message(error: &anyhow::Error) -> Result<String> {
    let Some(kube::Error::Api(status)) = error.downcast_ref() else {
        anyhow::bail!("not an answer of the API server: {error:#}");
    };
    ensure!(!status.message.contains('\n'), "{}", status.message);
    Ok(status.message.clone())
}
