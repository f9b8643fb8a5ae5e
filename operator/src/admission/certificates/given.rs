//! Certificates of the user's own, from a Secret of the type `kubernetes.io/tls`, as cert-manager writes
//! it. They are checked as the API server will check them.

use super::{Certificates, Decision, Pair, Purpose, carry_out_with, under_way};
use k8s_openapi::ByteString;
use std::{collections::BTreeMap, convert::Infallible, time::Duration};
use tokio_rustls::rustls::{
    CertificateError, Error, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};

/// The Secret's keys.
const CA: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Why a certificate can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum GivenError {
    /// A key of the Secret is missing.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A key of the Secret holds something else.
    #[error("{0} holds no {1} in PEM")]
    Unreadable(&'static str, &'static str),
    /// They are not a pair.
    #[error("{KEY} does not fit {CERTIFICATE}")]
    OtherKey,
    /// The API server would not take it.
    #[error("{CERTIFICATE} can't be used: {0}")]
    Refused(String),
}

/// The certificate in the Secret's data, checked for `purpose` at a time.
///
/// # Errors
/// [`GivenError`].
pub fn read(
    data: &BTreeMap<String, ByteString>,
    purpose: &Purpose,
    now: u64,
) -> Result<Pair, GivenError> {
    let text = |key| {
        let found = data.get(key).filter(|found| !found.0.is_empty());
        let found = found.ok_or(GivenError::Missing(key))?;
        let text = String::from_utf8(found.0.clone());
        text.map_err(|_| GivenError::Unreadable(key, "text"))
    };
    let mut ca = match text(CA) {
        // An issuer that everybody knows, or that somebody else tells the API server about.
        Err(GivenError::Missing(_)) => String::new(),
        found => found?,
    };
    if !ca.is_empty() && !ca.ends_with('\n') {
        ca.push('\n');
    }
    let pair = Pair {
        ca,
        certificate: text(CERTIFICATE)?,
        key: text(KEY)?,
        name: purpose.name.clone(),
        made: now,
        ends: u64::MAX,
        given: true,
    };
    check(&pair, now)?;
    Ok(pair)
}

/// Whether the API server takes a certificate at a time.
///
/// # Errors
/// [`GivenError`].
fn check(pair: &Pair, now: u64) -> Result<(), GivenError> {
    let chain = certificates(CERTIFICATE, &pair.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes());
    let key = key.map_err(|_| GivenError::Unreadable(KEY, "private key"))?;
    let provider = ring::default_provider();
    let refused = |error: Error| {
        let text = error.to_string();
        let short = text.strip_prefix("invalid peer certificate: ");
        GivenError::Refused(short.unwrap_or(&text).to_owned())
    };
    CertifiedKey::from_der(chain.clone(), key, &provider).map_err(|error| match error {
        Error::InconsistentKeys(_) => GivenError::OtherKey,
        error => refused(error),
    })?;
    let Some((leaf, between)) = chain.split_first() else {
        return Err(GivenError::Unreadable(CERTIFICATE, "certificate"));
    };
    let leaf = ParsedCertificate::try_from(leaf).map_err(refused)?;
    let mut roots = RootCertStore::empty();
    if !pair.ca.is_empty() {
        for ca in certificates(CA, &pair.ca)? {
            roots.add(ca).map_err(refused)?;
        }
    }
    let verified = verify_server_cert_signed_by_trust_anchor(
        &leaf,
        &roots,
        between,
        UnixTime::since_unix_epoch(Duration::from_secs(now)),
        provider.signature_verification_algorithms.all,
    );
    match verified {
        // Who has issued it is for somebody else to tell.
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) if pair.ca.is_empty() => {}
        Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            let why = format!("none of the certificates in {CA} has signed it");
            return Err(GivenError::Refused(why));
        }
        verified => verified.map_err(refused)?,
    }
    let name = ServerName::try_from(pair.name.as_str());
    let name = name.map_err(|_| GivenError::Refused(format!("{} is no host", pair.name)))?;
    verify_server_name(&leaf, &name).map_err(refused)
}

fn certificates(key: &'static str, text: &str) -> Result<Vec<CertificateDer<'static>>, GivenError> {
    let found = CertificateDer::pem_slice_iter(text.as_bytes());
    let found = found.collect::<Result<Vec<_>, _>>().ok();
    let found = found.filter(|found| !found.is_empty());
    found.ok_or(GivenError::Unreadable(key, "certificate"))
}

/// What is to be done at a time, in seconds since 1970. `given` is what the user's Secret holds, if it
/// can be used.
pub fn decide(
    now: u64,
    kept: Option<&Certificates>,
    given: Option<&Pair>,
    purpose: &Purpose,
    accepts_next: bool,
) -> Decision {
    let is_news = |pair: &Pair| given.is_some_and(|given| !is_same(pair, given));
    let Some(kept) = kept.filter(|kept| is_usable(kept, purpose, now)) else {
        // What is kept stays as long as there is nothing better.
        return given.map_or(Decision::Keep, |_| Decision::Create);
    };
    if kept.next.as_ref().is_some_and(is_news) {
        return Decision::Prepare;
    }
    if let Some(decision) = under_way(now, kept, purpose, accepts_next) {
        return decision;
    }
    if is_news(&kept.current) {
        return Decision::Prepare;
    }
    Decision::Keep
}

/// Whether the API server takes what is served.
pub fn is_usable(kept: &Certificates, purpose: &Purpose, now: u64) -> bool {
    kept.current.name == purpose.name && check(&kept.current, now).is_ok()
}

fn is_same(one: &Pair, other: &Pair) -> bool {
    (&one.ca, &one.certificate, &one.key) == (&other.ca, &other.certificate, &other.key)
}

/// The certificates after a decision; `None` where there are none.
pub fn carry_out(
    decision: Decision,
    now: u64,
    kept: Option<Certificates>,
    given: Option<Pair>,
) -> Option<Certificates> {
    let Some(given) = given else {
        // Only what is kept already is moved on.
        return carry_out_with(decision, now, Some(kept?), || Err(())).ok();
    };
    carry_out_with(decision, now, kept, || Ok::<_, Infallible>(given)).ok()
}

#[cfg(test)]
mod tests;
