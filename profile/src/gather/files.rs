//! The source for the hook: documents from the node's files.

use super::{
    Source,
    crun::{CachedProgram, CrunContainer, CrunError},
};
use crate::{
    filter::reader::Runtime,
    gate::{Input, Reason},
    program::Memo,
    root::{ReadError, SeccompRoot, read_named},
    select::{engine::DefaultProfile, reference::ProfilePath},
    settings::{
        Settings,
        crio::{CONFIG, CONFIG_FOLDER, CrioConfig},
    },
};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often to look for a missing profile while waiting for it.
const POLL: Duration = Duration::from_millis(10);

/// The files that settings name.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The settings: seccomp root, limits, how long a missing profile is waited for.
    pub settings: &'a Settings,
    /// The runtime that will read the filter.
    pub runtime: Runtime,
    /// The container as crun makes it, or may make it; `None` before the runtime runs.
    pub crun: Option<&'a CrunContainer>,
    /// The path that the engine executed as the runtime, if known: it tells CRI-O's handlers apart.
    pub executed: Option<&'a Path>,
    /// The cache of checked programs.
    pub memo: &'a Memo,
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
                    let config = CrioConfig::load(Path::new(CONFIG), Path::new(CONFIG_FOLDER))
                        .map_err(|error| not_known(error.to_string()))?;
                    configured(&config, self.executed).map_err(not_known)?
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

    fn cached_program(&self) -> Result<Option<CachedProgram>, CrunError> {
        match self.crun {
            Some(container) => container.cached_program(),
            None => Ok(None),
        }
    }

    fn memo(&self) -> &Memo {
        self.memo
    }
}

/// The default profile that CRI-O's configuration names for the handlers that execute this runtime.
fn configured(config: &CrioConfig, executed: Option<&Path>) -> Result<PathBuf, String> {
    match config.default_profile_under(executed) {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err("it is compiled in, since no seccomp_profile is configured".to_owned()),
        Err(ambiguous) => Err(format!(
            "the handlers {} have different ones, and which of them made this container can't be \
             told",
            ambiguous.handlers.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handlers_own_default_profile_goes_before_the_one_for_all() {
        let mut config = CrioConfig::default();
        let text = r#"
            [crio.runtime]
            seccomp_profile = "/etc/all.json"
            [crio.runtime.runtimes.portcullis-crun]
            runtime_path = "/usr/libexec/portcullis/portcullis-crun"
            seccomp_profile = "/etc/own.json"
        "#;
        config.merge(Path::new("crio.conf"), text).unwrap();
        let under = |path: &str| configured(&config, Some(Path::new(path)));
        let own = under("/usr/libexec/portcullis/portcullis-crun");
        assert_eq!(own, Ok("/etc/own.json".into()));
        assert_eq!(under("/usr/bin/crun"), Ok("/etc/all.json".into()));
        for unknown in [Some(Path::new("/opt/youki")), None] {
            let why = configured(&config, unknown).unwrap_err();
            assert!(why.contains("crun, portcullis-crun"), "{why}");
        }
    }
}
