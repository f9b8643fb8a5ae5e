//! The `ConfigMap` objects that are read as profiles, and how to pause that.

use super::request::{RequestError, request};
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};

/// The label of the objects that are read. Its value is `true`, or [`PAUSE`].
pub const LABEL: &str = "portcullis.dev/profiles";
/// The value of the label by which an object stops the reading of all: no profile is written or removed
/// as long as it is there.
pub const PAUSE: &str = "pause";
/// The object that has it while the operator is being removed.
const REMOVAL: &str = "portcullis-removal";

/// Keeps the controller from making profiles again that are being removed.
///
/// # Errors
/// If the API server refuses it or does not answer.
pub async fn pause(client: Client, namespace: &str) -> Result<(), RequestError> {
    let map = ConfigMap {
        metadata: ObjectMeta {
            name: Some(REMOVAL.to_owned()),
            labels: Some([(LABEL.to_owned(), PAUSE.to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    };
    let api = Api::<ConfigMap>::namespaced(client, namespace);
    match request(api.create(&PostParams::default(), &map)).await {
        // It is left of an attempt that was killed.
        Err(error) if error.code() != Some(409) => Err(error),
        _ => Ok(()),
    }
}

/// Ends the pause.
///
/// # Errors
/// If the API server refuses it or does not answer.
pub async fn go_on(client: Client, namespace: &str) -> Result<(), RequestError> {
    let api = Api::<ConfigMap>::namespaced(client, namespace);
    match request(api.delete(REMOVAL, &DeleteParams::default())).await {
        Err(error) if error.code() != Some(404) => Err(error),
        _ => Ok(()),
    }
}
