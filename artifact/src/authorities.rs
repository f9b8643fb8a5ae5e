//! The certificate authorities that a registry's certificate is checked against.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Why certificate authorities can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthoritiesError {
    /// There are none.
    #[error("it holds no certificate in PEM (BEGIN CERTIFICATE)")]
    None,
    /// One can't be used.
    #[error("its certificate {place} can't be used: {problem}")]
    Certificate {
        /// Which one it is, counted from 1.
        place: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Certificate authorities, trusted instead of those of the system.
#[derive(Clone, Debug)]
pub struct Authorities(pub(crate) RootCertStore);

impl Authorities {
    /// Parses a PEM file with one or more certificates.
    ///
    /// # Errors
    /// [`AuthoritiesError`].
    pub fn from_pem(pem: &[u8]) -> Result<Authorities, AuthoritiesError> {
        let mut store = RootCertStore::empty();
        for (index, found) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let wrong = |problem: String| AuthoritiesError::Certificate {
                place: index + 1,
                problem,
            };
            let certificate = found.map_err(|error| wrong(error.to_string()))?;
            let added = store.add(certificate);
            added.map_err(|error| wrong(error.to_string()))?;
        }
        if store.is_empty() {
            return Err(AuthoritiesError::None);
        }
        Ok(Authorities(store))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        let error = |pem: &str| Authorities::from_pem(pem.as_bytes()).unwrap_err();
        assert_eq!(error("text"), AuthoritiesError::None);
        let key = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
        assert_eq!(error(key), AuthoritiesError::None);
        let broken = "-----BEGIN CERTIFICATE-----\nMCowBQYD\n-----END CERTIFICATE-----\n";
        assert!(error(broken).to_string().contains("its certificate 1"));
        assert!(
            error(&broken[..40])
                .to_string()
                .contains("its certificate 1")
        );
    }
}
