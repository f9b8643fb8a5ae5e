//! The certificates of the webhook: which there are, when they are replaced, and by what.
//!
//! Each certificate has a CA of its own, whose key is dropped as soon as it has signed. At two thirds
//! of its life a next one is prepared; only once the API server accepts both CAs is it served, and
//! only then does the old CA go. So replicas that read the Secret at different times all serve what is
//! accepted.
//!
//! Certificates of the user's own take the same way ([`given`]).

pub mod given;

use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The key of the Secret that holds them.
pub const KEY: &str = "certificates.json";
/// How far clocks may be apart. A certificate is valid from this long before it was made.
pub const SKEW: Duration = Duration::from_secs(3600);
/// The longest time for which both CAs are accepted before, and after, the next one is served.
const LONGEST_OVERLAP: Duration = Duration::from_secs(3600);

/// Why no certificate can be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The cryptography fails.
    #[error("no certificate for {name}: {error}")]
    Failed {
        /// Whom it would be for.
        name: String,
        /// Why.
        error: rcgen::Error,
    },
    /// It can't be written down.
    #[error("the certificates can't be written down: {0}")]
    Json(#[from] serde_json::Error),
}

/// A certificate with its key and its CA, as PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The CA's certificate.
    pub ca: String,
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// The host that it is for.
    pub name: String,
    /// When it was made, in seconds since 1970.
    made: u64,
    /// When it ends to be valid.
    ends: u64,
    /// Whether it is the user's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    given: bool,
}

/// The content of the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// The one that is served.
    pub current: Pair,
    /// When that began.
    since: u64,
    /// The one that will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<Pair>,
    /// The CA of the one that was served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

/// What is to be done with the certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// A first one has to be made, or one that can't be used any more has to be replaced at once.
    Create,
    /// The next one has to be made.
    Prepare,
    /// The next one has to be served.
    Switch,
    /// The CA of the one before is no longer needed.
    Retire,
}

/// What certificates are made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The host as the API server connects to it.
    pub name: String,
    /// How long a certificate is valid.
    pub life: Duration,
}

impl Purpose {
    /// How long both CAs are accepted before, and after, the next certificate is served.
    pub fn overlap(&self) -> Duration {
        (self.life / 12).min(LONGEST_OVERLAP)
    }
}

impl Certificates {
    /// From the data of the Secret; `None` if there are none, or not as they should be.
    pub fn read(data: &BTreeMap<String, ByteString>) -> Option<Certificates> {
        serde_json::from_slice(&data.get(KEY)?.0).ok()
    }

    /// The data of the Secret.
    ///
    /// # Errors
    /// [`CertificateError::Json`].
    pub fn data(&self) -> Result<BTreeMap<String, ByteString>, CertificateError> {
        let text = serde_json::to_vec(self)?;
        Ok(BTreeMap::from([(KEY.to_owned(), ByteString(text))]))
    }

    /// Whether the current one has been there for so long.
    pub fn is_shared(&self, now: u64, after: Duration) -> bool {
        now >= self.since.saturating_add(after.as_secs()) || now < self.since
    }

    /// Every CA that the API server has to accept, as PEM; `None` if somebody else tells it.
    pub fn bundle(&self) -> Option<String> {
        let next = self.next.as_ref().map(|next| &next.ca);
        let all = [Some(&self.current.ca), next, self.previous.as_ref()];
        let mut bundle = String::new();
        for ca in all.into_iter().flatten() {
            if ca.is_empty() {
                return None;
            }
            if !bundle.contains(ca.as_str()) {
                bundle.push_str(ca);
            }
        }
        Some(bundle)
    }
}

/// What is to be done at a time, in seconds since 1970. `accepts_next` says whether the API server
/// has been told the CA of the next certificate.
pub fn decide(
    now: u64,
    kept: Option<&Certificates>,
    purpose: &Purpose,
    accepts_next: bool,
) -> Decision {
    let Some(kept) = kept else {
        return Decision::Create;
    };
    let current = &kept.current;
    let is_of_the_future = current.made > now.saturating_add(SKEW.as_secs());
    if current.name != purpose.name || now >= current.ends || is_of_the_future {
        return Decision::Create;
    }
    if let Some(decision) = under_way(now, kept, purpose, accepts_next) {
        return decision;
    }
    let life = current.ends.saturating_sub(current.made);
    // The user's own one is no longer wanted.
    if current.given || now >= current.made.saturating_add(life / 3 * 2) {
        return Decision::Prepare;
    }
    Decision::Keep
}

/// What is to be done about a replacement of the certificate; `None` if none is under way.
fn under_way(
    now: u64,
    kept: &Certificates,
    purpose: &Purpose,
    accepts_next: bool,
) -> Option<Decision> {
    let overlap = purpose.overlap().as_secs();
    let (is_due, decision) = match (&kept.next, &kept.previous) {
        (Some(next), _) => {
            let is_known = accepts_next && now >= next.made.saturating_add(overlap);
            (is_known, Decision::Switch)
        }
        (None, Some(_)) => {
            let is_unused = now >= kept.since.saturating_add(overlap);
            (is_unused, Decision::Retire)
        }
        (None, None) => return None,
    };
    Some(if is_due { decision } else { Decision::Keep })
}

/// The certificates after a decision.
///
/// # Errors
/// [`CertificateError`].
pub fn carry_out(
    decision: Decision,
    now: u64,
    kept: Option<Certificates>,
    purpose: &Purpose,
) -> Result<Certificates, CertificateError> {
    carry_out_with(decision, now, kept, || pair(now, purpose))
}

fn carry_out_with<E>(
    decision: Decision,
    now: u64,
    kept: Option<Certificates>,
    make: impl FnOnce() -> Result<Pair, E>,
) -> Result<Certificates, E> {
    let created = |previous, current| Certificates {
        current,
        since: now,
        next: None,
        previous,
    };
    let Some(mut kept) = kept else {
        return Ok(created(None, make()?));
    };
    match decision {
        Decision::Keep => {}
        // Other replicas may serve it until they read the Secret.
        Decision::Create => return Ok(created(Some(kept.current.ca), make()?)),
        Decision::Prepare => kept.next = Some(make()?),
        Decision::Switch => {
            if let Some(next) = kept.next.take() {
                kept.previous = Some(std::mem::replace(&mut kept.current, next).ca);
                kept.since = now;
            }
        }
        Decision::Retire => kept.previous = None,
    }
    Ok(kept)
}

/// Makes a certificate with a CA of its own.
fn pair(now: u64, purpose: &Purpose) -> Result<Pair, CertificateError> {
    let ends = now.saturating_add(purpose.life.as_secs());
    signed(now, ends, &purpose.name).map_err(|error| CertificateError::Failed {
        name: purpose.name.clone(),
        error,
    })
}

fn signed(made: u64, ends: u64, name: &str) -> Result<Pair, rcgen::Error> {
    let parameters = |names: Vec<String>, common_name: &str| {
        let mut parameters = CertificateParams::new(names)?;
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        parameters.not_before = at(made.saturating_sub(SKEW.as_secs()));
        parameters.not_after = at(ends);
        parameters
            .distinguished_name
            .push(DnType::CommonName, common_name);
        Ok(parameters)
    };
    // Each CA has another name, so that the right one of two is found by it.
    let mut ca = parameters(Vec::new(), &format!("portcullis-webhook-ca-{made}"))?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let mut leaf = parameters(vec![name.to_owned()], "portcullis-webhook")?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = leaf.signed_by(&key, &Issuer::new(ca, ca_key))?;
    Ok(Pair {
        ca: ca_certificate.pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        name: name.to_owned(),
        made,
        ends,
        given: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 24 * 3600;

    fn purpose() -> Purpose {
        Purpose {
            name: "portcullis-webhook.portcullis.svc".to_owned(),
            life: Duration::from_secs(90 * DAY),
        }
    }

    fn step(decision: Decision, now: u64, kept: Option<&Certificates>) -> Certificates {
        assert_eq!(decide(now, kept, &purpose(), true), decision);
        carry_out(decision, now, kept.cloned(), &purpose()).unwrap()
    }

    #[test]
    fn a_certificate_is_replaced_at_two_thirds_of_its_life_with_both_cas_accepted() {
        let first = step(Decision::Create, NOW, None);
        assert_eq!(first.bundle().unwrap(), first.current.ca);
        step(Decision::Keep, NOW + 60 * DAY - 1, Some(&first));
        let begun = NOW + 60 * DAY;
        let prepared = step(Decision::Prepare, begun, Some(&first));
        assert_eq!(prepared.current, first.current, "the old one is served");
        let next = prepared.next.clone().unwrap();
        assert_eq!(
            prepared.bundle().unwrap(),
            format!("{}{}", first.current.ca, next.ca)
        );
        step(Decision::Keep, begun + 3599, Some(&prepared));
        let not_told = decide(begun + DAY, Some(&prepared), &purpose(), false);
        assert_eq!(
            not_told,
            Decision::Keep,
            "the API server does not accept it yet"
        );
        let switched = step(Decision::Switch, begun + 3600, Some(&prepared));
        assert_eq!(switched.current, next);
        assert_eq!(
            switched.bundle().unwrap(),
            format!("{}{}", next.ca, first.current.ca)
        );
        step(Decision::Keep, begun + 7199, Some(&switched));
        let retired = step(Decision::Retire, begun + 7200, Some(&switched));
        assert_eq!(retired.bundle().unwrap(), next.ca);
        step(Decision::Keep, begun + 60 * DAY - 1, Some(&retired));
        step(Decision::Prepare, begun + 60 * DAY, Some(&retired));
    }

    #[test]
    fn what_can_not_be_used_is_replaced_at_once() {
        let kept = step(Decision::Create, NOW, None);
        let decided = |now, kept: &Certificates| decide(now, Some(kept), &purpose(), true);
        assert_eq!(
            decided(NOW + 90 * DAY, &kept),
            Decision::Create,
            "it has expired"
        );
        assert_eq!(decided(NOW - 3600, &kept), Decision::Keep, "clocks differ");
        assert_eq!(
            decided(NOW - 3601, &kept),
            Decision::Create,
            "it is of the future"
        );
        let elsewhere = Purpose {
            name: "10.0.0.1".to_owned(),
            ..purpose()
        };
        assert_eq!(decide(NOW, Some(&kept), &elsewhere, true), Decision::Create);
        let made = carry_out(Decision::Create, NOW, Some(kept.clone()), &elsewhere).unwrap();
        assert!(
            made.bundle().unwrap().contains(&kept.current.ca),
            "others still serve it"
        );
    }

    #[test]
    fn a_secret_gives_back_what_was_put_into_it_and_anything_else_is_none() {
        let kept = carry_out(Decision::Create, NOW, None, &purpose()).unwrap();
        assert_eq!(Certificates::read(&kept.data().unwrap()), Some(kept));
        for text in ["", "{}", "null", r#"{"current": {"ca": "x"}, "since": 1}"#] {
            let data = BTreeMap::from([(KEY.to_owned(), ByteString(text.into()))]);
            assert_eq!(Certificates::read(&data), None, "{text}");
        }
        assert_eq!(Certificates::read(&BTreeMap::new()), None);
    }

    #[test]
    fn a_short_life_leaves_time_for_each_step() {
        let purpose = Purpose {
            life: Duration::from_secs(12),
            ..purpose()
        };
        assert_eq!(purpose.overlap(), Duration::from_secs(1));
        let kept = carry_out(Decision::Create, NOW, None, &purpose).unwrap();
        assert_eq!(decide(NOW + 7, Some(&kept), &purpose, true), Decision::Keep);
        assert_eq!(
            decide(NOW + 8, Some(&kept), &purpose, true),
            Decision::Prepare
        );
    }
}
