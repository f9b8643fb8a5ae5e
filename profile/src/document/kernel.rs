//! Kernel versions in the form that `minKernel` compares: version and revision.

use std::{fmt, str::FromStr};

/// A kernel version without patch level and suffix, such as 5.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The first number.
    pub version: u16,
    /// The second number.
    pub revision: u16,
}

/// A text that is not a kernel version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kernel version such as 5.10")]
pub struct NotAVersion;

impl KernelVersion {
    /// Parses a release as printed by `uname -r`. What follows the second number, such as the patch
    /// level or a distribution's suffix, is ignored.
    ///
    /// # Errors
    /// [`NotAVersion`] if the text does not begin with two numbers.
    pub fn from_release(release: &str) -> Result<KernelVersion, NotAVersion> {
        let (version, rest) = release.split_once('.').ok_or(NotAVersion)?;
        let end = rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(rest.len());
        Ok(KernelVersion {
            version: decimal(version)?,
            revision: decimal(&rest[..end])?,
        })
    }

    /// The version of the running kernel; 0.0 where it gives no release that can be read, which
    /// decides nothing: no engine reads `minKernel`.
    pub fn running_or_oldest() -> KernelVersion {
        KernelVersion::running().unwrap_or(KernelVersion {
            version: 0,
            revision: 0,
        })
    }

    /// The version of the running kernel.
    ///
    /// # Errors
    /// [`NotAVersion`] if the kernel's release does not have this form.
    pub fn running() -> Result<KernelVersion, NotAVersion> {
        let names = nix::sys::utsname::uname().map_err(|_| NotAVersion)?;
        KernelVersion::from_release(names.release().to_str().ok_or(NotAVersion)?)
    }
}

/// Parses `minKernel`: exactly two numbers with a dot between them (moby's `KernelVersion`).
impl FromStr for KernelVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<KernelVersion, NotAVersion> {
        let (version, revision) = text.split_once('.').ok_or(NotAVersion)?;
        Ok(KernelVersion {
            version: decimal(version)?,
            revision: decimal(revision)?,
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.version, self.revision)
    }
}

/// `u16::from_str` would take a sign.
fn decimal(digits: &str) -> Result<u16, NotAVersion> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().map_err(|_| NotAVersion)
    } else {
        Err(NotAVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::{KernelVersion, NotAVersion};

    fn version(version: u16, revision: u16) -> KernelVersion {
        KernelVersion { version, revision }
    }

    #[test]
    fn a_release_is_read_up_to_its_second_number() {
        for (release, expected) in [
            ("6.1.0-18-amd64", version(6, 1)),
            ("3.12", version(3, 12)),
            ("5.10-rc5", version(5, 10)),
            ("4.18.0-553.el8_10.x86_64", version(4, 18)),
        ] {
            assert_eq!(
                KernelVersion::from_release(release),
                Ok(expected),
                "{release}"
            );
        }
        for release in ["", "6", "6.", ".1", "six.one", "-1.2", "6.x", "70000.1"] {
            assert_eq!(
                KernelVersion::from_release(release),
                Err(NotAVersion),
                "{release}"
            );
        }
    }

    #[test]
    fn a_minimum_is_two_numbers_and_nothing_else() {
        assert_eq!("4.8".parse(), Ok(version(4, 8)));
        for text in [
            "", "4", "4.", ".8", "4.8.1", "4.8-rc1", "+4.8", "4.+8", " 4.8", "65536.0",
        ] {
            assert_eq!(text.parse::<KernelVersion>(), Err(NotAVersion), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number_and_not_by_text() {
        assert!(version(4, 18) > version(4, 8));
        assert!(version(5, 0) > version(4, 18));
        assert_eq!(version(5, 10).to_string(), "5.10");
    }

    #[test]
    fn the_running_kernel_has_a_version() {
        assert!(KernelVersion::running().unwrap() > version(2, 6));
    }
}
