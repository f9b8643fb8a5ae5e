//! Whether the cluster's default, a setting of the operator, names a profile that containers can have.

use crate::{
    admission::rules::{Configuration, ProfileRef},
    crd::{
        condition::{Reason, find},
        profile::ValidReason,
    },
    kube::{metrics::admission::ClusterDefault, store::Items, stores::profile::Profile},
};
use std::sync::Arc;

/// How it is, and what is wrong with it.
pub(super) fn judge(
    configuration: &Configuration,
    profiles: &Items<Arc<Profile>>,
) -> (ClusterDefault, Option<String>) {
    let Some((mode, ProfileRef::Named(name))) = &configuration.cluster else {
        let state = match configuration.cluster {
            None => ClusterDefault::None,
            Some(_) => ClusterDefault::Usable,
        };
        return (state, None);
    };
    let (state, what) = match profiles.get(name).filter(|profile| !profile.deleted) {
        None => (ClusterDefault::Missing, "does not exist".to_owned()),
        Some(profile) => {
            let conditions = profile.status.as_ref().map(|it| it.conditions.as_slice());
            let conditions = conditions.unwrap_or_default();
            match ValidReason::of(conditions) {
                // Without a status, it was created just now.
                None | Some(ValidReason::Valid) => return (ClusterDefault::Usable, None),
                Some(reason) => {
                    let message = find(conditions, ValidReason::TYPE).map(|it| &it.message);
                    let message = message.map_or(reason.as_str(), String::as_str);
                    (ClusterDefault::Invalid, format!("is not valid: {message}"))
                }
            }
        }
    };
    let mode = mode.as_str();
    let problem = format!(
        "the cluster's default (--default-profile {name}, mode {mode}) can't work: SeccompProfile {name} {what}; containers that get it do not start"
    );
    (state, Some(problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::{SeccompProfileStatus, binding::Mode, condition::condition};

    #[test]
    fn a_default_needs_a_profile_that_is_there_and_valid() {
        let of = |default: Option<&str>, profiles: Items<Arc<Profile>>| {
            let cluster = default.map(|name| (Mode::Default, name.parse().unwrap()));
            let configuration = Configuration {
                cluster,
                ..Configuration::default()
            };
            judge(&configuration, &profiles)
        };
        assert_eq!(of(None, Items::new()), (ClusterDefault::None, None));
        let runtime = of(Some("runtime/default"), Items::new());
        assert_eq!(runtime, (ClusterDefault::Usable, None));
        let (state, problem) = of(Some("web"), Items::new());
        assert_eq!(state, ClusterDefault::Missing);
        assert!(
            problem
                .unwrap()
                .contains("SeccompProfile web does not exist")
        );
        let with = |reason: Option<ValidReason>| {
            let mut profile = Profile::of("web", &serde_json::json!({"allow": ["read"]}));
            let condition =
                reason.map(|reason| condition(reason, "no such call".into(), None, &[]));
            profile.status = Some(SeccompProfileStatus {
                conditions: condition.into_iter().collect(),
                ..SeccompProfileStatus::default()
            });
            Items::from([("web".to_owned(), Arc::new(profile))])
        };
        for reason in [None, Some(ValidReason::Valid)] {
            assert_eq!(of(Some("web"), with(reason)).0, ClusterDefault::Usable);
        }
        let (state, problem) = of(Some("web"), with(Some(ValidReason::Invalid)));
        assert_eq!(state, ClusterDefault::Invalid);
        assert!(problem.unwrap().contains("web is not valid: no such call"));
    }
}
