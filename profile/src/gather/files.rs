//! Documents from the node's files, as the hook reads them.

use super::Source;
use crate::{
    filter::reader::Runtime,
    gate::{Input, Reason},
    root::{ReadError, SeccompRoot, read_named},
    select::{engine::DefaultProfile, reference::ProfilePath},
    settings::Settings,
};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often a missing profile is looked for while it is waited for.
const POLL: Duration = Duration::from_millis(10);

/// The files that settings name.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The settings: seccomp root, limits, how long a missing profile is waited for.
    pub settings: &'a Settings,
    /// The runtime that will read the filter.
    pub runtime: Runtime,
}

impl Source for Files<'_> {
    fn profile(&self, path: &ProfilePath) -> Result<Vec<u8>, ReadError> {
        let until = Instant::now() + Duration::from_millis(self.settings.wait_ms);
        loop {
            let read = SeccompRoot::open(&self.settings.seccomp_root)
                .and_then(|root| root.read(path, self.settings.max_profile_bytes));
            match read {
                Err(ReadError::Missing { .. }) if Instant::now() < until => thread::sleep(POLL),
                other => return other,
            }
        }
    }

    fn engine_default(&self, input: &Input<'_>) -> Result<(PathBuf, Vec<u8>), Reason> {
        let not_known = |why: String| Reason::NoDefault {
            engine: input.engine,
            why,
        };
        let path = match &self.settings.runtime_default {
            Some(path) => path.clone(),
            None => match input.engine.default_profile() {
                DefaultProfile::Files(files) => files
                    .iter()
                    .map(Path::new)
                    .find(|path| path.exists())
                    .map(Path::to_owned)
                    .ok_or_else(|| not_known(format!("there is no {}", files.join(" or "))))?,
                DefaultProfile::Configured => {
                    return Err(not_known(
                        "its configuration names no seccomp_profile".into(),
                    ));
                }
                DefaultProfile::BuiltIn => {
                    return Err(not_known("it is compiled in".into()));
                }
            },
        };
        match read_named(&path, self.settings.max_profile_bytes) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(Reason::DefaultUnusable {
                path: path.display().to_string(),
                reason: error.to_string(),
            }),
        }
    }

    fn runtime(&self) -> Runtime {
        self.runtime
    }
}
