//! Whether the API server applies the policies as they were written.
//!
//! That it has accepted them is not enough: it takes a moment to compile them, and after an upgrade
//! an expression may fail. The controller asks by a dry run of what it may do anyway: it writes a
//! question into the status of a binding. The mutating policy answers with the version of its rules.

use super::{FIELD_MANAGER, RETRY};
use crate::{
    admission::policies::QUESTION,
    kube::{
        request::{RequestError, request},
        stored::StoredBinding,
        stores::binding::Binding,
    },
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer counts.
pub(super) const RENEW: Duration = Duration::from_secs(60);
/// When to ask again after another answer.
const AGAIN: Duration = Duration::from_millis(200);
/// How long the API server may take to apply what it has accepted. It fetches the schema of a new
/// kind, which it needs for its answer, only every five seconds.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the API server does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// It applies the rules, or there is no binding by which to ask.
    Applied,
    /// It does not yet, or can't be asked. When to ask again.
    Pending(Duration),
    /// It does not, for this reason.
    Unapplied(String),
}

/// What was found out by now.
pub(super) struct Proof {
    client: Client,
    /// The version that the API server applies, and when it said so.
    applied: Option<(String, Instant)>,
    /// The version that it does not apply, and since when.
    missing: Option<(String, Instant)>,
}

impl Proof {
    pub(super) fn new(client: Client) -> Proof {
        Proof {
            client,
            applied: None,
            missing: None,
        }
    }

    /// Whether it applies this version. `binding` is any one that should apply.
    pub(super) async fn of(&mut self, version: &str, binding: Option<&Binding>) -> Finding {
        let Some(binding) = binding else {
            return Finding::Applied;
        };
        let now = Instant::now();
        if let Some((applied, when)) = &self.applied
            && applied == version
            && now.duration_since(*when) < RENEW
        {
            return Finding::Applied;
        }
        let answer = self.ask(binding).await;
        self.judge(version, &answer, now)
    }

    /// What the API server said no longer counts: somebody has changed the policies meanwhile.
    pub(super) fn forget(&mut self) {
        self.applied = None;
    }

    async fn ask(&self, binding: &Binding) -> Result<String, RequestError> {
        let api = Api::<StoredBinding>::namespaced(self.client.clone(), &binding.namespace);
        let parameters = PatchParams {
            dry_run: true,
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"status": {"ties": [QUESTION]}}));
        let made = request(api.patch_status(&binding.name, &parameters, &patch)).await?;
        Ok(answer(&made.status))
    }

    fn judge(
        &mut self,
        version: &str,
        answer: &Result<String, RequestError>,
        now: Instant,
    ) -> Finding {
        let problem = match answer {
            Ok(answer) if answer == version => {
                self.applied = Some((version.to_owned(), now));
                self.missing = None;
                return Finding::Applied;
            }
            Ok(answer) if answer == QUESTION => {
                "the API server has accepted the admission policies, but does not evaluate them"
                    .to_owned()
            }
            Ok(_) => "the API server still applies other rules than it has accepted".to_owned(),
            Err(error) if error.is_outdated() => return Finding::Pending(AGAIN),
            Err(error) if !error.is_about_the_object() => return Finding::Pending(RETRY),
            Err(error) => format!("the API server can't evaluate the admission policies: {error}"),
        };
        match &self.missing {
            Some((missing, since)) if missing == version => {
                if now.duration_since(*since) < PATIENCE {
                    Finding::Pending(AGAIN)
                } else {
                    self.applied = None;
                    Finding::Unapplied(problem)
                }
            }
            _ => {
                self.missing = Some((version.to_owned(), now));
                Finding::Pending(AGAIN)
            }
        }
    }
}

/// The answer in a status; nothing, if there is none.
fn answer(status: &str) -> String {
    #[derive(Deserialize)]
    struct Wire {
        ties: Vec<String>,
    }
    let status = serde_json::from_str::<Wire>(status);
    let ties = status.map(|status| status.ties).unwrap_or_default();
    ties.into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn proof() -> Proof {
        let service = tower::service_fn(async |_: http::Request<kube::client::Body>| {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody asks"))
        });
        Proof::new(Client::new(service, "default"))
    }

    #[tokio::test]
    async fn another_answer_counts_only_once_it_stays() {
        let (mut proof, begin) = (proof(), Instant::now());
        let old = Ok("old".to_owned());
        let later = begin + PATIENCE;
        assert_eq!(proof.judge("new", &old, begin), Finding::Pending(AGAIN));
        assert!(matches!(
            proof.judge("new", &old, later),
            Finding::Unapplied(_)
        ));
        assert_eq!(proof.judge("newer", &old, later), Finding::Pending(AGAIN));
        let new = Ok("newer".to_owned());
        assert_eq!(proof.judge("newer", &new, later), Finding::Applied);
        assert_eq!(
            proof.judge("newer", &old, later + PATIENCE),
            Finding::Pending(AGAIN)
        );
    }

    #[tokio::test]
    async fn an_error_of_the_policy_is_told_and_an_outage_tells_nothing() {
        let (mut proof, begin) = (proof(), Instant::now());
        let refused = |code| {
            let status = Status::failure("no such key", "Invalid").with_code(code);
            Err(RequestError::Refused(kube::Error::Api(status.boxed())))
        };
        for (answer, is_told) in [
            (refused(422), true),
            (refused(404), false),
            (Err(RequestError::Late), false),
        ] {
            proof.missing = Some(("1".to_owned(), begin));
            let found = proof.judge("1", &answer, begin + PATIENCE);
            let text = format!("{found:?}");
            assert_eq!(text.contains("no such key"), is_told, "{text}");
        }
    }

    #[test]
    fn an_answer_is_the_first_tie() {
        assert_eq!(answer(r#"{"ties": ["a", "b"], "pods": 1}"#), "a");
        assert_eq!(answer("null"), "");
        assert_eq!(answer(r#"{"ties": []}"#), "");
    }
}
