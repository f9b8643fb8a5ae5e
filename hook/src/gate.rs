//! The gate: what a container selects, what is there, and what follows.
//!
//! Selection, the rows and the comparison are `portcullis-profile`'s; here they meet files and
//! `config.json`.

pub mod denials;

use crate::{
    exit::Code,
    oci::config::OciConfig,
    recorder::request::{MARK, is_marked},
};
use denials::Denials;
use portcullis_profile::{
    Arch, Context, Difference, Document, DocumentError, Engine, Filter,
    compare::difference::first_names,
    compare::subset::{Excess, allows_no_more_than},
    document::kernel::KernelVersion,
    equal,
    gate::decision_table::{self, Apply, Present, Verify, Wanted},
    parse_filter,
    program::compile::{CompileError, unprotected_by_runtime},
    root::{ReadError, SeccompRoot, read_named},
    select::identity::{Annotations, Identity, says_runtime_default},
    select::reference::{ProfilePath, Reference},
    select::selection::{Selection, SelectionError, select},
    settings::{Settings, SettingsError},
};
use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often a missing profile is looked for while it is waited for.
const POLL: Duration = Duration::from_millis(10);

/// Where engines keep their default profile, the node owner's own first (containers/common,
/// `seccomp.json(5)`).
const ENGINE_DEFAULTS: [&str; 2] = [
    "/etc/containers/seccomp.json",
    "/usr/share/containers/seccomp.json",
];

/// What the gate does with a container that may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Nothing asks for anything.
    Nothing,
    /// The pod's sandbox container.
    Sandbox,
    /// A container of an exempt namespace.
    Exempt,
    /// The selected filter is there.
    Selected,
    /// A filter is there that the annotation did not ask for; an annotation never weakens.
    Kept,
    /// This filter is to be set.
    Set(Box<Filter>),
    /// This filter, whose denials are logged, is to be set, and the configuration marked.
    Relaxed(Box<Filter>),
    /// The denials of the filter that is there are logged, and the container is recorded.
    Logged,
}

/// Why a container must not start.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// hook.toml is broken.
    #[error("the settings can't be used: {0}")]
    Settings(String),
    /// Nothing can be selected.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The profile can't be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// The profile is not one.
    #[error("the profile is not valid: {0}")]
    Document(#[from] DocumentError),
    /// The filter in `config.json` is not one.
    #[error("linux.seccomp in config.json is not valid: {0}")]
    Present(DocumentError),
    /// libseccomp can't make a filter of one of them.
    #[error("libseccomp can't build the filter: {0}")]
    Compile(#[from] CompileError),
    /// Rules would silently not be there.
    #[error(
        "the runtime's libseccomp does not know {0}, so that rule would silently not be there; \
         update libseccomp or remove the name"
    )]
    UnknownToRuntime(String),
    /// Another filter is there.
    #[error("config.json has another filter, which {0}")]
    Conflict(Difference),
    /// The selected profile is looser than the engine's default.
    #[error(
        "the engine's default filter is there and is only replaced by a stricter one \
         (replace_default = \"any\" lifts that); the profile {0}"
    )]
    Looser(Excess),
    /// The engine's default is never replaced.
    #[error("the engine's default filter is there and replace_default = \"never\"")]
    NeverReplaced,
    /// The selected filter is not there.
    #[error(
        "config.json has no filter; nothing applied the profile (admission, NRI, \
         portcullis-runtime or inject)"
    )]
    Missing,
    /// A filter is required.
    #[error("the container has no filter and require = \"any-filter\"")]
    Required,
    /// Its filter was relaxed for a recording that is not there.
    #[error(
        "the denials of its filter are only logged, which is for recorded containers alone, and it \
         is not recorded: {0}"
    )]
    Unrecorded(String),
    /// The engine's default profile is not known.
    #[error("{engine} keeps no default profile in a file; set runtime_default = FILE in hook.toml")]
    NoDefault {
        /// The engine.
        engine: Engine,
    },
    /// The engine's default profile can't be used.
    #[error("the engine's default profile {}: {reason}", path.display())]
    Default {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Refusal {
    /// The exit code.
    pub const fn code(&self) -> Code {
        match self {
            Refusal::Settings(_) => Code::Settings,
            Refusal::Selection(SelectionError::RuntimeAnnotation { .. }) => Code::RuntimeAnnotation,
            Refusal::Selection(_) => Code::Annotation,
            Refusal::Read(ReadError::Missing { .. }) => Code::ProfileMissing,
            Refusal::Read(_) | Refusal::Document(_) | Refusal::Compile(_) => Code::ProfileUnusable,
            Refusal::Present(_) => Code::Input,
            Refusal::UnknownToRuntime(_) => Code::UnknownToRuntime,
            Refusal::Conflict(_) | Refusal::Looser(_) | Refusal::NeverReplaced => Code::Conflict,
            Refusal::Missing => Code::FilterMissing,
            Refusal::Required => Code::Required,
            Refusal::NoDefault { .. } | Refusal::Default { .. } => Code::NoDefault,
            Refusal::Unrecorded(_) => Code::Recording,
        }
    }

    /// Whether it holds where settings only warn too: that a filter of ours is looser than it should
    /// be is our doing, not what the node's owner let pass.
    pub const fn is_absolute(&self) -> bool {
        matches!(self, Refusal::Unrecorded(_))
    }
}

/// Whether the gate may still change the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage<'a> {
    /// It may: `inject` and the wrapper.
    Apply,
    /// It may not: `verify`, where the container is known.
    Verify(Option<Running<'a>>),
}

/// A container that the runtime has made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running<'a> {
    /// Its ID.
    pub id: &'a str,
    /// The process id of its init.
    pub init: Option<u32>,
}

/// What was decided, of whom and why.
#[derive(Debug)]
pub struct Ruling {
    /// Whose annotations were believed.
    pub engine: Engine,
    /// Which container.
    pub identity: Identity,
    /// The annotation that selected or is at fault.
    pub annotation: Option<String>,
    /// What it names, as it was written.
    pub reference: Option<String>,
    /// What follows.
    pub result: Result<Passed, Refusal>,
    /// Why the denials of a container that asks for a recording stay in force.
    pub kept: Option<String>,
}

/// Decides on one container. `settings` are as they could be loaded: broken ones refuse only
/// what selects something.
pub fn decide(
    stage: Stage<'_>,
    config: &OciConfig<'_>,
    settings: &Result<Settings, SettingsError>,
    engine: Option<Engine>,
) -> Ruling {
    let fallback;
    let (usable, broken) = match settings {
        Ok(settings) => (settings, None),
        Err(error) => {
            fallback = Settings::default();
            (&fallback, Some(error.to_string()))
        }
    };
    let engine = engine.unwrap_or(usable.engine);
    let annotations = config.annotations();
    let identity = Identity::of(engine, &annotations);
    let denials = match stage {
        Stage::Apply => Ok(Denials::to_apply(
            config,
            &annotations,
            &identity,
            engine,
            usable,
        )),
        Stage::Verify(running) => Denials::to_verify(&annotations, running, usable),
    };
    let denials = match denials {
        Ok(denials) => denials,
        Err(refusal) => {
            return Ruling {
                engine,
                identity,
                annotation: Some(MARK.to_owned()),
                reference: None,
                result: Err(refusal),
                kept: None,
            };
        }
    };
    let kept = match &denials {
        Denials::Kept(why) => Some(why.clone()),
        _ => None,
    };
    let (annotation, reference, result) = match select(engine, &identity, &annotations, usable) {
        Err(error) => (
            Some(error.annotation().to_owned()),
            error.value().map(str::to_owned),
            Err(Refusal::from(error)),
        ),
        Ok(Selection::Sandbox) => (None, None, Ok(Passed::Sandbox)),
        Ok(Selection::Exempt) => (None, None, Ok(Passed::Exempt)),
        Ok(selection) => {
            let (annotation, reference) = match selection {
                Selection::Selected {
                    annotation,
                    reference,
                } => (Some(annotation), Some(reference)),
                _ => (None, None),
            };
            let written = annotation
                .as_ref()
                .and_then(|key| annotations.get(key))
                .cloned();
            let container = Container {
                engine,
                config,
                settings: usable,
                annotations,
                denials,
            };
            let asks = !matches!(reference, None | Some(Reference::Unconfined));
            let result = match broken {
                Some(error) if asks => Err(Refusal::Settings(error)),
                _ => container.rule(stage, reference.as_ref()),
            };
            (annotation, written, result)
        }
    };
    Ruling {
        engine,
        identity,
        annotation,
        reference,
        result,
        kept,
    }
}

/// One container under one set of settings.
struct Container<'a> {
    engine: Engine,
    config: &'a OciConfig<'a>,
    settings: &'a Settings,
    annotations: Annotations,
    denials: Denials,
}

impl Container<'_> {
    /// The rows of DESIGN.md for this container, then whether its denials are logged.
    fn rule(&self, stage: Stage<'_>, reference: Option<&Reference>) -> Result<Passed, Refusal> {
        let passed = self.row(stage, reference)?;
        Ok(match (stage, &self.denials) {
            (Stage::Apply, Denials::Logged) => denials::relaxed(passed, self.config),
            (Stage::Verify(_), Denials::Logged) => Passed::Logged,
            _ => passed,
        })
    }

    fn row(&self, stage: Stage<'_>, reference: Option<&Reference>) -> Result<Passed, Refusal> {
        let (wanted, selected) = match reference {
            None => (Wanted::Nothing, None),
            Some(Reference::Unconfined) => (Wanted::Unconfined, None),
            Some(Reference::RuntimeDefault) => (Wanted::RuntimeDefault, None),
            Some(Reference::Localhost(path)) => (Wanted::Profile, Some(self.profile(path)?)),
        };
        // A filter that nobody asks about is not read, only seen.
        let there = match (self.config.seccomp(), &selected) {
            (Some(text), Some(_)) => Some(parse_filter(text.as_bytes()).map_err(Refusal::Present)?),
            _ => None,
        };
        let (present, excess) = match (&there, &selected) {
            (Some(there), Some(selected)) => self.present(stage, there, selected)?,
            _ if self.config.seccomp().is_some() => (Present::Other, None),
            _ => (Present::None, None),
        };
        match stage {
            Stage::Apply => self.apply(present, excess, wanted, there.as_ref(), selected),
            Stage::Verify(_) => {
                match decision_table::verify(present, wanted, self.settings.require) {
                    Verify::Accept if present == Present::Selected => Ok(Passed::Selected),
                    Verify::Accept => Ok(Passed::Nothing),
                    Verify::Keep => Ok(Passed::Kept),
                    Verify::Missing => Err(Refusal::Missing),
                    Verify::Required => Err(Refusal::Required),
                    Verify::Conflict => Err(conflict(there.as_ref(), selected.as_ref())),
                }
            }
        }
    }

    fn apply(
        &self,
        present: Present,
        excess: Option<Excess>,
        wanted: Wanted,
        there: Option<&Filter>,
        selected: Option<Filter>,
    ) -> Result<Passed, Refusal> {
        let (replace, require) = (self.settings.replace_default, self.settings.require);
        match decision_table::apply(present, wanted, replace, require) {
            Apply::Leave if present == Present::Selected => Ok(Passed::Selected),
            Apply::Leave => Ok(Passed::Nothing),
            Apply::Keep => Ok(Passed::Kept),
            Apply::Set => selected.map_or(Ok(Passed::Nothing), |f| Ok(Passed::Set(Box::new(f)))),
            Apply::SetDefault => self.engine_default().map(|f| Passed::Set(Box::new(f))),
            Apply::Conflict => Err(conflict(there, selected.as_ref())),
            Apply::Required => Err(Refusal::Required),
            Apply::DefaultNeverReplaced => Err(Refusal::NeverReplaced),
            Apply::LooserThanDefault => Err(Refusal::Looser(excess.unwrap_or_default())),
        }
    }

    /// What the filter in `config.json` is to the selected one, and, where it is the engine's
    /// default, what the selected one allows in excess of it.
    fn present(
        &self,
        stage: Stage<'_>,
        there: &Filter,
        selected: &Filter,
    ) -> Result<(Present, Option<Excess>), Refusal> {
        if equal(there, selected)? {
            return Ok((Present::Selected, None));
        }
        // Whoever applied it before us marked the container, so that it is recorded or refused.
        if is_marked(&self.annotations)
            && let Some(relaxed) = self.denials.relaxed_form(selected)
            && equal(there, &relaxed)?
        {
            return Ok((Present::Selected, None));
        }
        if stage == Stage::Apply && self.is_engine_default(there)? {
            let excess = allows_no_more_than(selected, there).err();
            let selected_is_stricter = excess.is_none();
            let present = Present::EngineDefault {
                selected_is_stricter,
            };
            return Ok((present, excess));
        }
        Ok((Present::Other, None))
    }

    /// By the engine's own word, or equal to its default profile where that can be read.
    fn is_engine_default(&self, there: &Filter) -> Result<bool, Refusal> {
        if says_runtime_default(self.engine, &self.annotations) {
            return Ok(true);
        }
        match self.engine_default() {
            Ok(default) => Ok(equal(there, &default)?),
            Err(Refusal::NoDefault { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn engine_default(&self) -> Result<Filter, Refusal> {
        let own = || {
            let keeps_a_file = matches!(self.engine, Engine::CriO | Engine::Podman);
            ENGINE_DEFAULTS
                .iter()
                .map(Path::new)
                .find(|path| keeps_a_file && path.exists())
        };
        let path = self
            .settings
            .runtime_default
            .as_deref()
            .or_else(own)
            .ok_or(Refusal::NoDefault {
                engine: self.engine,
            })?;
        let wrong = |reason: String| Refusal::Default {
            path: path.to_owned(),
            reason,
        };
        let text = read_named(path, self.settings.max_profile_bytes)
            .map_err(|error| wrong(error.to_string()))?;
        Document::parse(&text)
            .and_then(|document| document.resolve(&self.context()))
            .map_err(|error| wrong(error.to_string()))
    }

    /// The selected profile as this engine would resolve it for this container.
    fn profile(&self, path: &ProfilePath) -> Result<Filter, Refusal> {
        let text = self.read_waiting(path)?;
        let filter = Document::parse(&text)?.resolve(&self.context())?;
        let mut names = unprotected_by_runtime(&filter);
        if !names.is_empty() {
            names.sort();
            names.dedup();
            return Err(Refusal::UnknownToRuntime(first_names(&names)));
        }
        Ok(filter)
    }

    /// Reads the profile; one that is missing is waited for, since the operator may be writing it.
    fn read_waiting(&self, path: &ProfilePath) -> Result<Vec<u8>, ReadError> {
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

    fn context(&self) -> Context<'_> {
        Context {
            engine: self.engine,
            native: Arch::HOST,
            bounding: self.config.bounding(),
            // No engine reads minKernel; a kernel without a readable release is treated as old.
            kernel: KernelVersion::running().unwrap_or(KernelVersion {
                version: 0,
                revision: 0,
            }),
        }
    }
}

fn conflict(there: Option<&Filter>, selected: Option<&Filter>) -> Refusal {
    match (there, selected) {
        (Some(there), Some(selected)) => Refusal::Conflict(Difference::between(there, selected)),
        _ => Refusal::Missing,
    }
}
