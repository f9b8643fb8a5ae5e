//! Made-up containers: the evaluator's input, with documents in memory.

use portcullis_profile::{
    Engine,
    document::kernel::KernelVersion,
    filter::reader::Runtime,
    gate::{Evaluation, Input, PresentFilter, Reason, Recording, Stage},
    gather::{
        Source,
        crun::{CachedProgram, CrunError},
        decide,
    },
    parse_filter,
    program::{
        Memo,
        compile::{compile, in_child},
    },
    root::ReadError,
    select::{
        annotations::{DENIALS_LOGGED_ANNOTATION, POD_ANNOTATION},
        identity::{Annotations, Identity},
        reference::ProfilePath,
    },
    settings::{Settings, SettingsError},
};
use std::path::PathBuf;

pub(crate) const DENYING: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":61}]}"#;
/// [`DENYING`] with its denial logged.
pub(crate) const RELAXED: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir"],"action":"SCMP_ACT_LOG"}]}"#;
pub(crate) const OTHER: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
    {"names":["read","mkdir"],"action":"SCMP_ACT_ALLOW"}]}"#;
/// An engine's default; it denies less than [`DENYING`] and [`STRICTER`].
pub(crate) const DEFAULT: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}"#;
pub(crate) const STRICTER: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
    {"names":["mkdir","rmdir"],"action":"SCMP_ACT_ERRNO"}]}"#;

/// Lets this program compile filters, before its `main` looks for tests.
#[ctor::ctor(unsafe)]
fn compiles() {
    if in_child().is_some() {
        #[allow(clippy::exit)] // as main would
        std::process::exit(0);
    }
}

/// Documents in memory.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) profile: Option<&'static str>,
    pub(crate) default: Option<&'static str>,
    pub(crate) runtime: Runtime,
    /// The filter whose program crun's cache has.
    pub(crate) cached: Option<&'static str>,
}

impl Source for Memory {
    fn profile(&self, _: &ProfilePath) -> Result<Vec<u8>, ReadError> {
        let missing = || ReadError::Missing { root: "/".into() };
        self.profile.map(Into::into).ok_or_else(missing)
    }

    fn engine_default(&self, input: &Input<'_>) -> Result<(PathBuf, Vec<u8>), Reason> {
        match self.default {
            Some(text) => Ok(("/default.json".into(), text.into())),
            None => Err(Reason::NoDefault {
                engine: input.engine,
                why: "none is given".to_owned(),
            }),
        }
    }

    fn runtime(&self) -> Runtime {
        self.runtime
    }

    fn cached_program(&self) -> Result<Option<CachedProgram>, CrunError> {
        Ok(self.cached.map(|filter| CachedProgram {
            bytes: compile(&parse_filter(filter.as_bytes()).unwrap()).unwrap(),
            folder: "/run/crun/.cache/seccomp".into(),
        }))
    }

    fn memo(&self) -> &Memo {
        const { &Memo::none() }
    }
}

/// A container before it is decided on; each field may be changed.
pub(crate) struct Container {
    pub(crate) engine: Engine,
    pub(crate) stage: Stage,
    pub(crate) present: PresentFilter<'static>,
    pub(crate) reference: Option<&'static str>,
    pub(crate) settings: Settings,
    pub(crate) settings_are_broken: bool,
    pub(crate) recording: Recording,
    pub(crate) says_default: bool,
    pub(crate) is_marked: bool,
    pub(crate) source: Memory,
}

/// One without a filter that selects [`DENYING`], or what else its annotation names.
pub(crate) fn container(engine: Engine, reference: Option<&'static str>) -> Container {
    Container {
        engine,
        stage: Stage::Apply,
        present: PresentFilter::None,
        reference,
        settings: Settings::default(),
        settings_are_broken: false,
        recording: Recording::Enforced,
        says_default: false,
        is_marked: false,
        source: Memory {
            profile: Some(DENYING),
            default: Some(DEFAULT),
            runtime: Runtime::Either,
            cached: None,
        },
    }
}

impl Container {
    pub(crate) fn annotations(&self) -> Annotations {
        let mut all = Annotations::new();
        if let Some(reference) = self.reference {
            all.insert(POD_ANNOTATION.to_owned(), reference.to_owned());
        }
        if self.is_marked {
            all.insert(DENIALS_LOGGED_ANNOTATION.to_owned(), "true".to_owned());
        }
        all
    }

    /// What is made of its input, by the evaluator or otherwise.
    pub(crate) fn with_input<T>(&self, make: impl FnOnce(&Input<'_>) -> T) -> T {
        let annotations = self.annotations();
        let identity = Identity::of(self.engine, &annotations);
        let broken = SettingsError::TooLarge {
            path: "/hook.toml".into(),
        };
        make(&Input {
            stage: self.stage,
            engine: self.engine,
            identity: &identity,
            annotations: &annotations,
            settings: if self.settings_are_broken {
                Err(&broken)
            } else {
                Ok(&self.settings)
            },
            present: self.present,
            says_default: self.says_default,
            bounding: None,
            kernel: KernelVersion {
                version: 6,
                revision: 1,
            },
            recording: self.recording.clone(),
            set_by_nri: false,
        })
    }

    pub(crate) fn decide(&self) -> Evaluation {
        self.with_input(|input| decide(input, &self.source))
    }
}
