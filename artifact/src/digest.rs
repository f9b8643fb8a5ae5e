//! SHA-256 digests, the only ones that are accepted.

use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// The SHA-256 of a manifest or a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Its 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        portcullis_profile::filter::digest::hex(&self.0)
    }
}

/// As in a reference: `sha256:` and 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Digest, &'static str> {
        const WRONG: &str = "a digest is `sha256:` and 64 lower case hexadecimal digits";
        let digits = text.strip_prefix("sha256:").ok_or(WRONG)?.as_bytes();
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(WRONG),
        };
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(WRONG);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = value(pair[0])? << 4 | value(pair[1])?;
        }
        Ok(Digest(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_as_it_is_written_and_in_no_other_way() {
        let text = Digest::of(b"{}").to_string();
        assert_eq!(
            text,
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
        assert_eq!(text.parse(), Ok(Digest::of(b"{}")));
        for wrong in [&text[7..], &text[..70], &text.to_uppercase(), "sha512:00"] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
