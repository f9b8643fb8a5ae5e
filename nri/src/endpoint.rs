//! Where the runtime is: its socket, or the descriptor that a launching runtime hands over.

use std::ffi::OsString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, io};

use tokio::net::UnixStream;

use crate::error::Error;

/// Where runtimes listen by default.
pub const DEFAULT_SOCKET: &str = "/var/run/nri/nri.sock";

const SOCKET: &str = "NRI_PLUGIN_SOCKET";
const NAME: &str = "NRI_PLUGIN_NAME";
const INDEX: &str = "NRI_PLUGIN_IDX";

/// What a runtime that launched this process tells it.
#[derive(Debug)]
pub struct Launched {
    pub(crate) stream: StdStream,
    /// The plugin's name, from its file name.
    pub name: String,
    /// Its index.
    pub index: String,
}

impl Launched {
    /// Takes the descriptor over, if the environment names one. Only the first call can: it owns it.
    ///
    /// # Errors
    /// Where the environment names something that is not a socket, or lacks the name or index.
    pub fn from_env() -> Result<Option<Self>, Error> {
        Self::from_variables(env::var_os)
    }

    fn from_variables(
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Option<Self>, Error> {
        let Some(descriptor) = variable(SOCKET) else {
            return Ok(None);
        };
        let wrong = |name, reason: String| Error::Environment { name, reason };
        let text = |name| {
            variable(name)
                .ok_or_else(|| wrong(name, "not set, but the socket is".into()))?
                .into_string()
                .map_err(|value| wrong(name, format!("{} is not UTF-8", value.display())))
        };
        let descriptor: RawFd = descriptor
            .to_str()
            .and_then(|text| text.parse().ok())
            .filter(|number| *number > 2)
            .ok_or_else(|| {
                let value = descriptor.display();
                wrong(SOCKET, format!("{value} is not a descriptor's number"))
            })?;
        let (name, index) = (text(NAME)?, text(INDEX)?);
        let socket = take(descriptor).map_err(|reason| wrong(SOCKET, reason))?;
        Ok(Some(Self {
            stream: socket.into(),
            name,
            index,
        }))
    }
}

/// Takes an inherited descriptor, and keeps it from programs that the plugin starts.
#[allow(unsafe_code)]
fn take(descriptor: RawFd) -> Result<OwnedFd, String> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let failed = |error: io::Error| format!("descriptor {descriptor}: {error}");
    let is_socket = fs::metadata(format!("/proc/self/fd/{descriptor}"))
        .map_err(failed)?
        .file_type()
        .is_socket();
    if !is_socket {
        return Err(format!("descriptor {descriptor} is not a socket"));
    }
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(format!("descriptor {descriptor} was taken before"));
    }
    // SAFETY: the descriptor is open, was given to this process by name, and is taken once.
    let inherited = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // A duplicate is closed on exec; the one that was inherited is not.
    inherited.try_clone().map_err(failed)
}

pub(crate) async fn connect(path: &Path) -> Result<UnixStream, Error> {
    UnixStream::connect(path)
        .await
        .map_err(|source| Error::Connect {
            path: PathBuf::from(path),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::{AsRawFd, IntoRawFd};

    fn launched(variables: &[(&str, &str)]) -> Result<Option<Launched>, Error> {
        Launched::from_variables(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| value.into())
        })
    }

    fn refused(variables: &[(&str, &str)]) -> String {
        launched(variables).expect_err("refused").to_string()
    }

    #[test]
    fn without_a_socket_the_plugin_was_not_launched() {
        assert!(
            launched(&[(NAME, "n"), (INDEX, "10")])
                .expect("well formed")
                .is_none()
        );
    }

    #[test]
    fn what_is_no_descriptor_is_refused_by_name() {
        for value in ["", "x", "-1", "2", "99999999999"] {
            let message = refused(&[(SOCKET, value)]);
            assert!(message.starts_with("NRI_PLUGIN_SOCKET: "), "{message}");
            assert!(
                message.ends_with("is not a descriptor's number"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_socket_without_name_or_index_is_refused_by_name() {
        assert!(refused(&[(SOCKET, "3")]).starts_with("NRI_PLUGIN_NAME: not set"));
        assert!(refused(&[(SOCKET, "3"), (NAME, "n")]).starts_with("NRI_PLUGIN_IDX: not set"));
    }

    /// One test, since a process takes one descriptor.
    #[test]
    fn a_socket_is_taken_once_and_closed_on_exec() {
        let with = |descriptor: &str| launched(&[(SOCKET, descriptor), (NAME, "n"), (INDEX, "10")]);
        let message = with("9999").expect_err("not open").to_string();
        assert!(message.contains("descriptor 9999: "), "{message}");
        let file = File::open("/dev/null").expect("a file");
        let message = with(&file.as_raw_fd().to_string())
            .expect_err("a file")
            .to_string();
        assert!(message.ends_with("is not a socket"), "{message}");

        let (ours, theirs) = StdStream::pair().expect("a pair");
        let descriptor = theirs.into_raw_fd().to_string();
        let taken = with(&descriptor).expect("a socket").expect("launched");
        assert_eq!((taken.name.as_str(), taken.index.as_str()), ("n", "10"));
        let flags = fs::read_to_string(format!("/proc/self/fdinfo/{}", taken.stream.as_raw_fd()))
            .expect("fdinfo");
        let flags = flags
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .expect("flags");
        assert_ne!(
            i32::from_str_radix(flags.trim(), 8).expect("octal") & 0o2_000_000,
            0
        );

        let (_other, another) = StdStream::pair().expect("a pair");
        let message = with(&another.as_raw_fd().to_string())
            .expect_err("twice")
            .to_string();
        assert!(message.ends_with("was taken before"), "{message}");
        drop(ours);
    }
}
