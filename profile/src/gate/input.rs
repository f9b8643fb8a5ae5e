//! The evaluator's input: what its caller knows from the start, and the facts that are gathered
//! when the evaluator needs them.

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
    /// Its filter will come from a checkpoint image that nobody checked: the wrapper's `restore`.
    Restore,
}

/// What is known about the container's filter before anything is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresentFilter<'a> {
    /// It has none.
    None,
    /// This `linux.seccomp`, as JSON.
    Document(&'a str),
    /// The engine's default; only the engine's word says so.
    EngineDefault,
    /// It is unknown (NRI on CRI-O).
    Unknown,
}

/// What a request to be recorded means for the container's filter (`[record] log_denials` in
/// hook.toml).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recording {
    /// It is not to be recorded, or its denials stay in force as usual.
    #[default]
    Enforced,
    /// Its denials should have been logged instead of enforced, but stay in force for this reason.
    Kept(String),
    /// Its denials are logged: it will be recorded or, when verifying, is being recorded.
    Logged,
    /// It is marked as a container whose denials are logged, but is not being recorded, for this
    /// reason.
    Unrecorded(String),
}

/// What the caller knows about a container from the start.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Whether the container can still be changed.
    pub stage: Stage,
    /// The engine whose annotations are trusted.
    pub engine: Engine,
    /// Which container it is, according to that engine.
    pub identity: &'a Identity,
    /// Its annotations.
    pub annotations: &'a Annotations,
    /// The settings; if they are invalid, only containers that select something are refused.
    pub settings: Result<&'a Settings, &'a SettingsError>,
    /// What is known about its filter.
    pub present: PresentFilter<'a>,
    /// Whether the engine says that this filter is its default.
    pub says_default: bool,
    /// `process.capabilities.bounding`; `None` if it has no capabilities at all.
    pub bounding: Option<&'a [String]>,
    /// The host's kernel.
    pub kernel: KernelVersion,
    /// Whether its denials are logged for a recording.
    pub recording: Recording,
    /// Whether our NRI plugin set its filter: then it may lack the selected one's default errno.
    pub set_by_nri: bool,
}

/// A filter as the engine resolves it for this container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The filter.
    pub filter: Arc<Filter>,
    /// Warnings for its author.
    pub warnings: Notes,
}

/// A fact, or the reason to refuse the container if it can't be gathered.
pub type Fact<T> = Result<T, Arc<Reason>>;

/// What has been gathered for one input so far; facts that were not needed stay `None`.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// The selected profile.
    pub profile: Option<Fact<Resolved>>,
    /// The engine's default profile, or the reason why it is not available.
    pub engine_default: Option<Fact<Result<Resolved, Arc<Reason>>>>,
    /// The container's filter; `None` inside if the runtime would load none.
    pub present: Option<Fact<Option<Filter>>>,
    /// Whether the container's filter equals the selected one.
    pub equals_selected: Option<Fact<bool>>,
    /// Whether it equals the selected one with its denials logged.
    pub equals_relaxed: Option<Fact<bool>>,
    /// Whether it equals what NRI makes of the selected one.
    pub equals_as_set_by_nri: Option<Fact<bool>>,
    /// Whether it equals the engine's default.
    pub equals_default: Option<Fact<bool>>,
    /// What the selected filter allows that the engine's default denies; `None` inside if nothing.
    pub excess: Option<Fact<Option<Excess>>>,
    /// What it allows that the node's own default denies; `None` inside if nothing.
    pub excess_over_own: Option<Fact<Option<Excess>>>,
    /// The remarks from checking the program of the filter that is set or accepted.
    pub effect: Option<Fact<Notes>>,
    /// Whether the runtime will load what the container's filter says.
    pub loaded: Option<Fact<()>>,
}

/// A fact that has to be gathered.
#[derive(Clone, Debug, PartialEq)]
pub enum Need<'a> {
    /// Read the selected profile, wait for it, resolve it.
    Profile(ProfilePath),
    /// Read the engine's default profile and resolve it.
    EngineDefault,
    /// Parse the container's filter.
    Present(&'a str),
    /// Compare the container's filter (the first) with the selected one.
    EqualsSelected(&'a Filter, &'a Filter),
    /// Compare it with the selected one, its denials logged.
    EqualsRelaxed(&'a Filter, Box<Filter>),
    /// Compare it with what NRI makes of the selected one.
    EqualsAsSetByNri(&'a Filter, Box<Filter>),
    /// Compare it with the engine's default.
    EqualsDefault(&'a Filter, &'a Filter),
    /// Find what the selected filter (the first) allows that the engine's default denies.
    Excess(&'a Filter, &'a Filter),
    /// Find what the selected filter (the first) allows that the node's own default denies.
    ExcessOverOwn(&'a Filter, &'a Filter),
    /// Compile this filter, which will be set or accepted, and check what its program does.
    Effect(Box<Cow<'a, Filter>>),
    /// See whether the runtime has a cached program for the container's filter, and whether that
    /// does what the filter says.
    Loaded(&'a str),
}
