//! Reading profiles: from files or standard input, for the engine and the container that the command
//! line describes.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use portcullis_profile::{
    Arch, Context, Document, DocumentError, Engine, Filter,
    document::{CAPABILITIES, kernel::KernelVersion},
};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// The largest document that is read, in bytes: sixteen times what the gate reads by default.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why a profile can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("{path}: {error}")]
    Read { path: String, error: io::Error },
    #[error("{path}: it has more than {} MiB", MAX_BYTES / 1024 / 1024)]
    TooLarge { path: String },
    #[error("standard input (-) can be given only once")]
    Repeated,
    #[error("{path}: {error}")]
    Document { path: String, error: DocumentError },
}

/// The container and the node that a document in the containers form is resolved for. The OCI form
/// is the same filter everywhere.
#[derive(Debug, clap::Args)]
pub(crate) struct Situation {
    /// The engine that reads the profile.
    #[arg(long, value_parser = engines(), default_value = "cri-o")]
    pub(crate) engine: Engine,
    /// The container's capabilities, separated by commas, or `none`; rules may depend on them. The
    /// default is CRI-O's `default_capabilities`.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = capability,
        default_value = "CHOWN,DAC_OVERRIDE,FSETID,FOWNER,SETGID,SETUID,SETPCAP,NET_BIND_SERVICE,KILL"
    )]
    capabilities: Vec<Capability>,
    /// The node's architecture. The default is this machine's.
    #[arg(long, value_parser = architectures(), hide_possible_values = true)]
    arch: Option<Arch>,
    /// The node's kernel, such as 5.14. The default is this machine's.
    #[arg(long, value_name = "VERSION", value_parser = KernelVersion::from_release)]
    kernel: Option<KernelVersion>,
}

/// A capability by its full name; `None`, written as `none`, adds nothing to the list.
type Capability = Option<&'static str>;

fn engines() -> impl TypedValueParser<Value = Engine> {
    PossibleValuesParser::new(Engine::ALL.map(Engine::as_str))
        .try_map(|name| Engine::by_name(&name).ok_or("unknown engine"))
}

fn architectures() -> impl TypedValueParser<Value = Arch> {
    let names = Arch::ALL.iter().filter(|arch| **arch != Arch::Native);
    PossibleValuesParser::new(names.map(|arch| arch.as_str())).try_map(|name| name.parse::<Arch>())
}

/// A capability in any of the ways in which engines take it: `CAP_SYS_ADMIN`, `sys_admin`.
fn capability(text: &str) -> Result<Capability, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = CAPABILITIES
        .iter()
        .find(|name| name.strip_prefix("CAP_") == Some(short));
    found
        .map(|name| Some(*name))
        .ok_or_else(|| format!("there is no capability {text:?}"))
}

impl Situation {
    /// Reads a profile and resolves it. `path` may be `-`.
    ///
    /// # Errors
    /// It can't be read, it is not valid, or the engine refuses it.
    pub(crate) fn filter(&self, path: &Path) -> Result<Filter, InputError> {
        self.resolve(path, &Document::parse(&read(path)?).map_err(at(path))?)
    }

    /// The filter that the engine makes of a document.
    ///
    /// # Errors
    /// The engine refuses it, or would read another filter.
    pub(crate) fn resolve(&self, path: &Path, document: &Document) -> Result<Filter, InputError> {
        self.within(|context| document.resolve(context))
            .map_err(at(path))
    }

    /// Calls a function with the situation as the library wants it.
    pub(crate) fn within<T>(&self, call: impl FnOnce(&Context<'_>) -> T) -> T {
        let bounding: Vec<String> = self
            .capabilities
            .iter()
            .flatten()
            .map(|name| (*name).to_owned())
            .collect();
        call(&Context {
            engine: self.engine,
            native: self.arch.unwrap_or(Arch::Native),
            bounding: Some(&bounding),
            kernel: self.kernel.unwrap_or_else(KernelVersion::running_or_oldest),
        })
    }

    /// Whether filters are for this machine's architecture: only these can be compiled here as they
    /// will be on the node.
    pub(crate) fn is_native(&self) -> bool {
        self.arch.is_none_or(|arch| arch == Arch::HOST)
    }
}

/// What a path is called in messages.
pub(crate) fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}

fn at(path: &Path) -> impl FnOnce(DocumentError) -> InputError {
    let path = name(path);
    |error| InputError::Document { path, error }
}

/// The bytes of a file, or of standard input.
///
/// # Errors
/// It can't be read, or is too large.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    let failed = |error| InputError::Read {
        path: name(path),
        error,
    };
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    reader
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(InputError::TooLarge { path: name(path) });
    }
    Ok(bytes)
}

/// Refuses a list that names standard input more than once: the second one would be empty.
///
/// # Errors
/// What to say.
pub(crate) fn standard_input_once(paths: &[PathBuf]) -> Result<(), InputError> {
    let times = paths.iter().filter(|path| *path == Path::new("-")).count();
    if times > 1 {
        return Err(InputError::Repeated);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_engines_write_them() {
        for text in ["CAP_SYS_ADMIN", "SYS_ADMIN", "sys_admin", "cap_sys_admin"] {
            assert_eq!(capability(text), Ok(Some("CAP_SYS_ADMIN")), "{text}");
        }
        assert_eq!(capability("none"), Ok(None));
        assert!(capability("SYS_ADMN").unwrap_err().contains("SYS_ADMN"));
        assert!(capability("").is_err());
    }

    #[test]
    fn every_architecture_can_be_named() {
        assert!(Arch::ALL.len() > 10);
        for arch in Arch::ALL {
            assert_eq!(arch.as_str().parse(), Ok(*arch));
        }
    }
}
