//! Keys for signatures: ECDSA on P-256 and Ed25519, as PEM.

use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, UnparsedPublicKey,
    },
};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// How the subject public key info of a P-256 key begins; the point follows, uncompressed.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same of an Ed25519 key.
const EDWARDS: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// How long the two are after that.
const POINT: usize = 65;
const EDWARDS_POINT: usize = 32;

/// Why a key can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not a public key.
    #[error("it holds no public key in PEM (BEGIN PUBLIC KEY)")]
    NoPublicKey,
    /// It is a public key of another kind.
    #[error("its public key is neither ECDSA on P-256 nor Ed25519")]
    PublicKind,
    /// It is not a private key.
    #[error(
        "it holds no unencrypted private key in PEM (BEGIN PRIVATE KEY, as openssl genpkey writes it)"
    )]
    NoPrivateKey,
    /// It is a private key of another kind.
    #[error("its private key is neither ECDSA on P-256 nor Ed25519")]
    PrivateKind,
}

#[derive(Clone, Debug)]
enum Public {
    P256([u8; POINT]),
    Edwards([u8; EDWARDS_POINT]),
}

/// A public key, which signatures are checked with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    key: Public,
    fingerprint: String,
}

impl PublicKey {
    /// Parses a PEM file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &[u8]) -> Result<PublicKey, KeyError> {
        let info =
            SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| KeyError::NoPublicKey)?;
        let key = if let Some(point) = info.strip_prefix(&P256) {
            Public::P256(point.try_into().map_err(|_| KeyError::PublicKind)?)
        } else if let Some(point) = info.strip_prefix(&EDWARDS) {
            Public::Edwards(point.try_into().map_err(|_| KeyError::PublicKind)?)
        } else {
            return Err(KeyError::PublicKind);
        };
        let fingerprint = portcullis_profile::filter::digest::hex(&Sha256::digest(&*info));
        Ok(PublicKey { key, fingerprint })
    }

    /// The SHA-256 of its subject public key info, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether it made the signature of the message.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Public::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Public::Edwards(point) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
        }
        .is_ok()
    }
}

enum Private {
    P256(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
}

/// A private key, which signatures are made with.
pub struct PrivateKey(Private);

impl PrivateKey {
    /// Parses a PEM file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &[u8]) -> Result<PrivateKey, KeyError> {
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoPrivateKey)?;
        let der = key.secret_pkcs8_der();
        let random = SystemRandom::new();
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random)
            .map(Private::P256)
            .or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Private::Edwards))
            .map(PrivateKey)
            .map_err(|_| KeyError::PrivateKind)
    }

    /// The signature of a message; `None` if the system has no random numbers.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match &self.0 {
            Private::P256(key) => {
                let signature = key.sign(&SystemRandom::new(), message).ok()?;
                Some(signature.as_ref().to_vec())
            }
            Private::Edwards(key) => Some(key.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("PrivateKey")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    // Made for these tests by `openssl genpkey -algorithm ED25519` and `-algorithm EC`, and used
    // for nothing else.
    pub(crate) const EDWARDS_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIO21AIPUlKKXhyw+7DUEIRReqPGPGHc8YwTpz5Vv+V9R\n-----END PRIVATE KEY-----\n";
    pub(crate) const EDWARDS_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAT7LjXieHXqfm3dK9RC+O50wqVH6BYHr9eA44zB0svxI=\n-----END PUBLIC KEY-----\n";
    const P256_KEY: &str = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpzEIHx7ln/RilfSy\nZ211+CqzgTpvITTozegeW4MtBXChRANCAASwoQZginvG2OltgZ62yi9d3EOVYmw5\nNlOZ3TZJ648LCHQRbtW5sWQiPbv7PBPVzjrBOBZIyA+LZocWk3owH901\n-----END PRIVATE KEY-----\n";
    pub(crate) const P256_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsKEGYIp7xtjpbYGetsovXdxDlWJs\nOTZTmd02SeuPCwh0EW7VubFkIj27+zwT1c46wTgWSMgPi2aHFpN6MB/dNQ==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn a_signature_is_verified_by_its_own_key_only() {
        let pairs = [(EDWARDS_KEY, EDWARDS_PUBLIC), (P256_KEY, P256_PUBLIC)];
        for (private, public) in pairs {
            let signature = PrivateKey::from_pem(private.as_bytes())
                .unwrap()
                .sign(b"text")
                .unwrap();
            for (_, other) in pairs {
                let key = PublicKey::from_pem(other.as_bytes()).unwrap();
                assert_eq!(key.verifies(b"text", &signature), other == public);
                assert!(!key.verifies(b"other", &signature));
                assert!(!key.verifies(b"text", b""));
            }
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let public = |pem: &str| PublicKey::from_pem(pem.as_bytes()).unwrap_err();
        assert_eq!(public("text"), KeyError::NoPublicKey);
        assert_eq!(public(P256_KEY), KeyError::NoPublicKey);
        let private = |pem: &str| PrivateKey::from_pem(pem.as_bytes()).unwrap_err();
        assert_eq!(private(P256_PUBLIC), KeyError::NoPrivateKey);
        let other = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA\n-----END PUBLIC KEY-----\n";
        assert_eq!(public(other), KeyError::PublicKind);
    }
}
