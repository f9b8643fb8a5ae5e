//! References to profiles, as written in annotations and fields.
//!
//! The grammar is that of the kubelet's legacy annotations (`localhost/<path>`,
//! `runtime/default`, `docker/default`, `unconfined`). Paths are normalised as the kubelet joins them
//! to the seccomp root: `./a//b` is `a/b`. Then they consist of plain names only, so that they can't
//! lead outside the root.

use std::{fmt, str::FromStr};

/// The longest accepted path below the seccomp root, in bytes (`PATH_MAX`).
pub const MAX_PATH: usize = 4095;
/// The longest name of one folder or file, in bytes (`NAME_MAX`).
pub const MAX_NAME: usize = 255;

/// What a container asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// No filter; never removes one that is there.
    Unconfined,
    /// The engine's default profile (`runtime/default`, `docker/default`).
    RuntimeDefault,
    /// A file below the seccomp root.
    Localhost(ProfilePath),
}

/// A relative path of plain names below the seccomp root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfilePath(String);

impl ProfilePath {
    /// The path with `/` between its names.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProfilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReferenceError {
    #[error("is empty; write localhost/<file>, runtime/default or unconfined")]
    Empty,
    #[error("is not a known reference; write localhost/<file>, runtime/default or unconfined")]
    UnknownKind,
    #[error("has a control character")]
    ControlCharacter,
    #[error("names no file below the seccomp root")]
    NoPath,
    #[error("has an absolute path; it must be relative to the seccomp root")]
    Absolute,
    #[error("leaves the seccomp root with \"..\"")]
    Parent,
    #[error("is longer than {MAX_PATH} bytes, or a part of it than {MAX_NAME}")]
    TooLong,
}

impl FromStr for ProfilePath {
    type Err = ReferenceError;

    fn from_str(path: &str) -> Result<ProfilePath, ReferenceError> {
        if path.chars().any(char::is_control) {
            return Err(ReferenceError::ControlCharacter);
        }
        if path.is_empty() {
            return Err(ReferenceError::NoPath);
        }
        if path.starts_with('/') {
            return Err(ReferenceError::Absolute);
        }
        if path.len() > MAX_PATH {
            return Err(ReferenceError::TooLong);
        }
        let mut plain = String::with_capacity(path.len());
        for part in path.split('/') {
            match part {
                ".." => return Err(ReferenceError::Parent),
                "" | "." => continue,
                _ if part.len() > MAX_NAME => return Err(ReferenceError::TooLong),
                _ if plain.is_empty() => {}
                _ => plain.push('/'),
            }
            plain.push_str(part);
        }
        if plain.is_empty() {
            return Err(ReferenceError::NoPath);
        }
        Ok(ProfilePath(plain))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        match text {
            "" => Err(ReferenceError::Empty),
            "unconfined" => Ok(Reference::Unconfined),
            "runtime/default" | "docker/default" => Ok(Reference::RuntimeDefault),
            _ => match text.strip_prefix("localhost/") {
                Some(path) => path.parse().map(Reference::Localhost),
                None => Err(ReferenceError::UnknownKind),
            },
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Unconfined => f.write_str("unconfined"),
            Reference::RuntimeDefault => f.write_str("runtime/default"),
            Reference::Localhost(path) => write!(f, "localhost/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn rejects(text: &str, why: &ReferenceError) {
        assert_eq!(&text.parse::<Reference>().unwrap_err(), why, "{text:?}");
    }

    #[test]
    fn the_known_kinds_are_accepted() {
        assert_eq!(accepts("unconfined"), Reference::Unconfined);
        assert_eq!(accepts("runtime/default"), Reference::RuntimeDefault);
        assert_eq!(accepts("docker/default"), Reference::RuntimeDefault);
        assert_eq!(
            accepts("localhost/operator/web.json").to_string(),
            "localhost/operator/web.json"
        );
        accepts("localhost/..hidden");
    }

    #[test]
    fn nothing_that_could_leave_the_root_is_accepted() {
        rejects("", &ReferenceError::Empty);
        rejects("Unconfined", &ReferenceError::UnknownKind);
        rejects("localhost", &ReferenceError::UnknownKind);
        rejects("localhost/", &ReferenceError::NoPath);
        rejects("localhost//etc/passwd", &ReferenceError::Absolute);
        rejects("localhost/../x", &ReferenceError::Parent);
        rejects("localhost/a/../x", &ReferenceError::Parent);
        rejects("localhost/a/..", &ReferenceError::Parent);
        rejects("localhost/.", &ReferenceError::NoPath);
        rejects("localhost/.//.", &ReferenceError::NoPath);
        rejects("localhost/a\nb", &ReferenceError::ControlCharacter);
        rejects("localhost/a\0", &ReferenceError::ControlCharacter);
        rejects(
            &format!("localhost/{}", "x".repeat(256)),
            &ReferenceError::TooLong,
        );
        rejects(
            &format!("localhost/{}", "x/".repeat(3000)),
            &ReferenceError::TooLong,
        );
    }

    #[test]
    fn a_path_is_normalised_as_the_kubelet_joins_it_to_the_root() {
        for path in ["a/x", "./a/x", "a//x", "a/./x", "a/x/", ".//a/.//x/."] {
            let reference = accepts(&format!("localhost/{path}"));
            assert_eq!(reference.to_string(), "localhost/a/x", "{path}");
        }
    }

    proptest::proptest! {
        /// Every accepted path has only plain parts, leads to where it led as it was written, and
        /// stays below any root that it is joined to.
        #[test]
        fn what_is_accepted_stays_below_its_root(path in "([a-z./\\\\ \\n\u{202e}-]|\\.\\.){0,24}") {
            if let Ok(Reference::Localhost(file)) = format!("localhost/{path}").parse() {
                let root = std::path::Path::new("/root");
                let joined = root.join(file.as_str());
                proptest::prop_assert_eq!(&joined, &root.join(&path));
                proptest::prop_assert_eq!(file.as_str().parse(), Ok(file.clone()));
                proptest::prop_assert!(joined.starts_with(root));
                proptest::prop_assert!(joined
                    .components()
                    .skip(1)
                    .all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
