//! Keeps the certificates in their Secret, which all controllers share.

use super::{Held, Webhook, listener::Served};
use crate::{
    admission::{
        certificates::{
            CertificateError, Certificates, Decision, Pair, carry_out, decide,
            given::{self, GivenError},
        },
        policies::NAME,
    },
    kube::request::{RequestError, request},
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, api::PostParams};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::sleep;

/// How often the Secret is read at most, and at least.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(10);
/// When to try again after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// How long after the first certificate was made every controller has read it.
const SHARED: Duration = Duration::from_secs(3);

/// Why there are no certificates.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error("there is no Secret {0} (packaging/manifests/admission.yaml)")]
    NoSecret(String),
    #[error("the Secret {secret}: {source}")]
    Refused {
        secret: String,
        source: RequestError,
    },
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error("there is no Secret {0} (--webhook-certificate-secret)")]
    NotGiven(String),
    #[error("the Secret {secret}: {source}")]
    Unusable { secret: String, source: GivenError },
    #[error("the Secret {0} has no usable certificate yet; the controller that leads makes one")]
    NotYet(String),
}

/// Keeps them until the future is dropped.
pub(super) async fn keep(webhook: &Webhook, client: Client, namespace: &str) {
    let secrets = Api::<Secret>::namespaced(client, namespace);
    let secret = format!("{namespace}/{NAME}");
    // So often that a change is known well before what it replaces is no longer accepted.
    let interval = (webhook.purpose.overlap() / 4).clamp(SHORTEST, LONGEST);
    let mut said = String::new();
    loop {
        let delay = match step(webhook, &secrets, &secret).await {
            Ok(is_shared) => {
                said.clear();
                if is_shared {
                    interval
                } else {
                    SHARED.min(interval)
                }
            }
            Err(error) => {
                let line = error.to_string();
                if line != said {
                    // What is served stays: it is better than nothing.
                    tracing::warn!("the webhook's certificates: {line}");
                    webhook.held.send_if_modified(|held| {
                        let is_news = !matches!(held, Held::Served(_));
                        if is_news {
                            *held = Held::Missing(line.clone());
                        }
                        is_news
                    });
                    said = line;
                }
                RETRY.min(interval)
            }
        };
        sleep(delay).await;
    }
}

/// Reads the Secret, and does what is to be done with the certificates. Returns whether what is served
/// may be used already.
async fn step(webhook: &Webhook, secrets: &Api<Secret>, name: &str) -> Result<bool, KeeperError> {
    let refused = |source| KeeperError::Refused {
        secret: name.to_owned(),
        source,
    };
    let secret = request(secrets.get_opt(NAME)).await.map_err(refused)?;
    let mut secret = secret.ok_or_else(|| KeeperError::NoSecret(name.to_owned()))?;
    let kept = secret.data.as_ref().and_then(Certificates::read);
    // What can't be served is as good as none.
    let usable = kept.and_then(|kept| Some((Served::of(&kept.current)?, kept)));
    if !webhook.leads() {
        let (served, kept) = usable.ok_or_else(|| KeeperError::NotYet(name.to_owned()))?;
        return Ok(serve(webhook, kept, served, true));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let kept = usable.as_ref().map(|(_, kept)| kept);
    let is_accepted = kept.is_some_and(|kept| {
        let bundle = kept.bundle().unwrap_or_default();
        webhook.is_accepted(&bundle)
    });
    let (given, problem) = match &webhook.secret {
        Some(given) => match read_given(webhook, secrets, given, now).await {
            Ok(given) => (Some(given), None),
            Err(problem) => (None, Some(problem)),
        },
        None => (None, None),
    };
    let is_own = webhook.secret.is_none();
    let decision = if is_own {
        decide(now, kept, &webhook.purpose, is_accepted)
    } else {
        let given = given.as_ref();
        given::decide(now, kept, given, &webhook.purpose, is_accepted)
    };
    if decision == Decision::Keep {
        let is_shared = kept.is_some_and(|kept| kept.is_shared(now, SHARED));
        // Nothing goes live with what the API server would not take; what is live stays.
        let usable =
            usable.filter(|(_, kept)| is_own || given::is_usable(kept, &webhook.purpose, now));
        let is_shared =
            usable.is_some_and(|(served, kept)| serve(webhook, kept, served, is_shared));
        return problem.map_or(Ok(is_shared), Err);
    }
    let kept = usable.map(|(_, kept)| kept);
    let kept = if is_own {
        carry_out(decision, now, kept, &webhook.purpose)?
    } else {
        let kept = given::carry_out(decision, now, kept, given);
        kept.ok_or_else(|| KeeperError::NotYet(name.to_owned()))?
    };
    secret.data = Some(kept.data()?);
    // With the resource version that was read: if another one was quicker, its certificates count.
    let written = request(secrets.replace(NAME, &PostParams::default(), &secret)).await;
    match written {
        Ok(_) => {
            let word = match decision {
                Decision::Keep | Decision::Create => "a new certificate is served",
                Decision::Prepare => "the next certificate is made, and its CA accepted",
                Decision::Switch => "the next certificate is served",
                Decision::Retire => "the CA before is no longer accepted",
            };
            tracing::info!("the webhook's certificates: {word}");
        }
        Err(error) if error.is_outdated() => return Ok(false),
        Err(error) => return Err(refused(error)),
    }
    let served = Served::of(&kept.current);
    let is_shared = served.is_some_and(|served| {
        let is_shared = kept.is_shared(now, SHARED);
        serve(webhook, kept, served, is_shared)
    });
    problem.map_or(Ok(is_shared), Err)
}

/// The user's own certificate.
async fn read_given(
    webhook: &Webhook,
    secrets: &Api<Secret>,
    given: &str,
    now: u64,
) -> Result<Pair, KeeperError> {
    let namespace = secrets.namespace().unwrap_or_default();
    let secret = format!("{namespace}/{given}");
    let found = match request(secrets.get_opt(given)).await {
        Ok(Some(found)) => found,
        Ok(None) => return Err(KeeperError::NotGiven(secret)),
        Err(source) => return Err(KeeperError::Refused { secret, source }),
    };
    let data = found.data.unwrap_or_default();
    let read = given::read(&data, &webhook.purpose, now);
    read.map_err(|source| KeeperError::Unusable { secret, source })
}

/// Serves what was kept. The API server is told only once every controller serves it.
fn serve(webhook: &Webhook, kept: Certificates, served: Served, is_shared: bool) -> bool {
    let is_first = !matches!(&*webhook.held.borrow(), Held::Served(_));
    let held = Held::Served(Arc::new(kept));
    if *webhook.held.borrow() == held {
        return true;
    }
    webhook.identity.serve(served);
    let may_tell = is_shared || !is_first;
    if may_tell {
        webhook.held.send_replace(held);
    }
    may_tell
}
