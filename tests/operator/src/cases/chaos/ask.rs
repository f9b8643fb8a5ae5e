//! Requests to an API server that may be away.

use crate::wait::until;
use anyhow::Result;
use kube::api::{Api, DeleteParams, DynamicObject};

/// The answer of the API server to a request, which is repeated while it gives none.
pub(super) async fn ask<T>(
    what: &str,
    mut request: impl AsyncFnMut() -> kube::Result<T>,
) -> Result<kube::Result<T>> {
    until(what, async || match request().await {
        Err(kube::Error::Api(status)) if status.code < 429 => Ok(Err(kube::Error::Api(status))),
        Err(error) => Err(error.into()),
        Ok(answer) => Ok(Ok(answer)),
    })
    .await
}

/// Asks for the deletion of an object, which may be gone.
pub(super) async fn gone(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    let parameters = DeleteParams::default();
    ask("a deletion", async || {
        match api.delete(name, &parameters).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => other.map(drop),
        }
    })
    .await??;
    Ok(())
}
