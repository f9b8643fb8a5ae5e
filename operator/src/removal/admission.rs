//! Takes admission out: deletes what the API server applies rules by, in an order that lets pods
//! through. Without a controller nobody answers the webhook, so that pods would be refused, and
//! nobody keeps the rules of the policies up to date.

use crate::{
    admission::{
        configurations,
        policies::{self, NAME, VERSION},
    },
    kube::request::{RequestError, request},
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind},
};

/// The kinds, in the order in which they are deleted: first nothing changes pods any more, then
/// nothing refuses them. The webhook goes first, since the controller takes it where the policies are
/// gone.
fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    let webhook = configurations::Part::ALL.into_iter().rev();
    let policies = policies::Part::ALL.into_iter().rev();
    webhook
        .map(configurations::Part::kind)
        .chain(policies.map(policies::Part::kind))
}

/// Deletes what is there. Returns the kinds of what was.
///
/// # Errors
/// If the API server refuses it or does not answer. What was deleted by then stays so.
pub(super) async fn take_out(client: &Client) -> Result<Vec<&'static str>, RequestError> {
    let mut deleted = Vec::new();
    for (kind, plural) in kinds() {
        let resource = GroupVersionKind::gvk(VERSION.0, VERSION.1, kind);
        let resource = ApiResource::from_gvk_with_plural(&resource, plural);
        let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
        match request(api.delete(NAME, &DeleteParams::default())).await {
            Ok(_) => deleted.push(kind),
            // It is not installed, or this API server does not even know the kind.
            Err(error) if error.code() == Some(404) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_pods_goes_before_what_refuses_them_and_the_webhook_before_the_policies() {
        let kinds: Vec<&str> = kinds().map(|(kind, _)| kind).collect();
        assert_eq!(
            kinds,
            [
                "MutatingWebhookConfiguration",
                "ValidatingWebhookConfiguration",
                "MutatingAdmissionPolicyBinding",
                "ValidatingAdmissionPolicyBinding",
                "MutatingAdmissionPolicy",
                "ValidatingAdmissionPolicy",
            ]
        );
    }
}
