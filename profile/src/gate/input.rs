//! What the evaluator is given: the input that its caller knows from the start, and the facts that
//! are gathered as it needs them.

use super::{Reason, evaluation::Notes};
use crate::{
    Engine, Filter,
    compare::subset::Excess,
    document::kernel::KernelVersion,
    select::{
        identity::{Annotations, Identity},
        reference::ProfilePath,
    },
    settings::{Settings, SettingsError},
};
use std::{borrow::Cow, sync::Arc};

/// Whether the container can still be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It can: `inject`, `portcullis-runtime`, the NRI plugin.
    Apply,
    /// It cannot: `verify`.
    Verify,
    /// Its filter will come out of a checkpoint's image, unseen: `restore` behind the wrapper.
    Restore,
}

/// What is known of the filter that the container has before us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentFilter<'a> {
    /// It has none.
    None,
    /// This `linux.seccomp`, as JSON.
    Document(&'a str),
    /// The engine's default, by the engine's word alone.
    EngineDefault,
    /// Nobody says (NRI on CRI-O).
    Unknown,
}

/// What became of the container's request to be recorded, as far as its filter is concerned
/// (`[record] log_denials` of hook.toml).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// It asks for none, or its denials stay in force as usual.
    #[default]
    Enforced,
    /// Its denials would be logged instead of enforced, but stay in force for this reason.
    Kept(String),
    /// Its denials are logged: it will be recorded, or (verifying) is being recorded.
    Logged,
    /// It is marked as one whose denials are logged and is not being recorded, for this reason.
    Unrecorded(String),
}

/// What the caller knows of a container from the start.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Whether the container can still be changed.
    pub stage: Stage,
    /// Whose word is believed.
    pub engine: Engine,
    /// Who the container is, by that engine's word.
    pub identity: &'a Identity,
    /// Its annotations.
    pub annotations: &'a Annotations,
    /// The settings; broken ones refuse only what selects something.
    pub settings: Result<&'a Settings, &'a SettingsError>,
    /// What is known of its filter.
    pub present: PresentFilter<'a>,
    /// Whether the engine says that this filter is its default.
    pub says_default: bool,
    /// `process.capabilities.bounding`; `None` where it has no capabilities at all.
    pub bounding: Option<&'a [String]>,
    /// The host's kernel.
    pub kernel: KernelVersion,
    /// Whether its denials are logged for a recording.
    pub recording: Recording,
}

/// A filter as the engine resolves it for this container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The filter.
    pub filter: Filter,
    /// What its author should know.
    pub warnings: Notes,
}

/// A fact, or why the container can't start without it.
pub type Fact<T> = Result<T, Arc<Reason>>;

/// What was gathered for one input so far; a fact that no need asked for stays `None`.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// The selected profile.
    pub profile: Option<Fact<Resolved>>,
    /// The engine's default profile; `None` inside where it is not to be had, with the reason.
    pub engine_default: Option<Fact<Result<Resolved, Arc<Reason>>>>,
    /// The filter that is there; `None` inside where the runtime would load none.
    pub present: Option<Fact<Option<Filter>>>,
    /// Whether the filter that is there equals the selected one.
    pub equals_selected: Option<Fact<bool>>,
    /// Whether it equals the selected one with its denials logged.
    pub equals_relaxed: Option<Fact<bool>>,
    /// Whether it equals the engine's default.
    pub equals_default: Option<Fact<bool>>,
    /// What the selected one allows in excess of the engine's default; `None` inside for nothing.
    pub excess: Option<Fact<Option<Excess>>>,
    /// What is to be said of the filter that is set or accepted, whose program was looked at.
    pub effect: Option<Fact<Notes>>,
    /// That the runtime will load what the filter that is there says.
    pub loaded: Option<Fact<()>>,
}

/// A fact that is not there yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Need<'a> {
    /// Read the selected profile, wait for it, resolve it.
    Profile(ProfilePath),
    /// Read the engine's default profile and resolve it.
    EngineDefault,
    /// Parse the filter that is there.
    Present(&'a str),
    /// Compare the filter that is there (first) with the selected one.
    EqualsSelected(&'a Filter, &'a Filter),
    /// Compare it with the selected one, its denials logged.
    EqualsRelaxed(&'a Filter, Box<Filter>),
    /// Compare it with the engine's default.
    EqualsDefault(&'a Filter, &'a Filter),
    /// Find what the first, the selected one, allows in excess of the second, the engine's default.
    Excess(&'a Filter, &'a Filter),
    /// Compile this filter, which will be set or accepted, and look at what its program does.
    Effect(Box<Cow<'a, Filter>>),
    /// See whether the runtime has a program for the filter that is there from before, and whether it
    /// does what the filter says.
    Loaded(&'a str),
}
