//! Fetches what the evaluator needs: the one way from a container's input to its evaluation, for
//! every way of applying and verifying.
//!
//! Where files come from is the [`Source`]'s: the hook reads them ([`files::Files`]), an agent has
//! them in memory. Everything in here may block; asynchronous callers use a blocking thread.

pub mod files;

use crate::{
    Arch, Context, Document, Filter, Warning,
    compare::{
        difference::first_names,
        equal,
        subset::{Excess, allows_no_more_than},
    },
    filter::reader::Runtime,
    gate::{
        Evaluation, Gathered, Input, Need, Reason, Resolved, evaluate, evaluation::Notes,
        input::Fact,
    },
    parse_filter,
    program::{
        check,
        compile::{compiled, unprotected_by_runtime},
    },
    root::ReadError,
    select::reference::ProfilePath,
};
use std::{path::PathBuf, sync::Arc};

/// Where documents come from, and who will read the filter.
pub trait Source {
    /// The selected profile's text. A missing one may be waited for: the operator may be writing it.
    ///
    /// # Errors
    /// It can't be read.
    fn profile(&self, path: &ProfilePath) -> Result<Vec<u8>, ReadError>;

    /// The text of the engine's default profile and where it was found.
    ///
    /// # Errors
    /// [`Reason::NoDefault`] where it is not to be had, [`Reason::DefaultUnusable`] where it is not
    /// readable.
    fn engine_default(&self, input: &Input<'_>) -> Result<(PathBuf, Vec<u8>), Reason>;

    /// The runtime that will read the filter.
    fn runtime(&self) -> Runtime;
}

/// Decides on one container, fetching what that needs.
pub fn decide(input: &Input<'_>, source: &impl Source) -> Evaluation {
    let mut gathered = Gathered::default();
    loop {
        let found = match evaluate(input, &gathered) {
            Ok(evaluation) => return evaluation,
            Err(need) => find(need, input, source),
        };
        found.put_into(&mut gathered);
    }
}

/// What was found for one need.
enum Found {
    Profile(Fact<Resolved>),
    EngineDefault(Fact<Result<Resolved, Arc<Reason>>>),
    Present(Fact<Option<Filter>>),
    EqualsSelected(Fact<bool>),
    EqualsRelaxed(Fact<bool>),
    EqualsDefault(Fact<bool>),
    Excess(Fact<Option<Excess>>),
    Effect(Fact<Notes>),
}

impl Found {
    fn put_into(self, gathered: &mut Gathered) {
        match self {
            Found::Profile(fact) => gathered.profile = Some(fact),
            Found::EngineDefault(fact) => gathered.engine_default = Some(fact),
            Found::Present(fact) => gathered.present = Some(fact),
            Found::EqualsSelected(fact) => gathered.equals_selected = Some(fact),
            Found::EqualsRelaxed(fact) => gathered.equals_relaxed = Some(fact),
            Found::EqualsDefault(fact) => gathered.equals_default = Some(fact),
            Found::Excess(fact) => gathered.excess = Some(fact),
            Found::Effect(fact) => gathered.effect = Some(fact),
        }
    }
}

fn find(need: Need<'_>, input: &Input<'_>, source: &impl Source) -> Found {
    let runtime = source.runtime();
    match need {
        Need::Profile(path) => Found::Profile(profile(&path, input, source).map_err(Arc::new)),
        Need::EngineDefault => Found::EngineDefault(engine_default(input, source)),
        Need::Present(text) => Found::Present(present(text).map_err(Arc::new)),
        Need::EqualsSelected(there, selected) => {
            Found::EqualsSelected(equal_as_read(there, selected, runtime))
        }
        Need::EqualsRelaxed(there, relaxed) => {
            Found::EqualsRelaxed(equal_as_read(there, &relaxed, runtime))
        }
        Need::EqualsDefault(there, default) => {
            Found::EqualsDefault(equal_as_read(there, default, runtime))
        }
        Need::Excess(selected, default) => Found::Excess(Ok(readings(default, runtime)
            .iter()
            .find_map(|default| allows_no_more_than(selected, default).err()))),
        Need::Effect(filter) => Found::Effect(effect(&filter, runtime)),
    }
}

/// The selected profile as this engine resolves it for this container, as long as the runtime
/// would load all of it.
fn profile(
    path: &ProfilePath,
    input: &Input<'_>,
    source: &impl Source,
) -> Result<Resolved, Reason> {
    let text = source.profile(path).map_err(|error| match error {
        ReadError::Missing { .. } => Reason::ProfileMissing(error),
        _ => Reason::ProfileUnreadable(error),
    })?;
    let resolved = resolve(&text, input).map_err(Reason::ProfileInvalid)?;
    let mut names = unprotected_by_runtime(&resolved.filter);
    if !names.is_empty() {
        names.sort();
        names.dedup();
        return Err(Reason::UnknownToRuntime(first_names(&names)));
    }
    let beyond: Vec<usize> = resolved.filter.rules_beyond_crun().collect();
    if let Some(index) = beyond.first()
        && source.runtime() != Runtime::Runc
    {
        return Err(Reason::BeyondCrun(*index));
    }
    Ok(resolved)
}

fn resolve(text: &[u8], input: &Input<'_>) -> Result<Resolved, crate::DocumentError> {
    let context = Context {
        engine: input.engine,
        native: Arch::HOST,
        bounding: input.bounding,
        kernel: input.kernel,
    };
    let document = Document::parse(text)?;
    let filter = document.resolve(&context)?;
    let warnings = document
        .warnings_in(&context)
        .iter()
        .map(Warning::to_string)
        .collect();
    Ok(Resolved { filter, warnings })
}

/// The engine's default profile, or why there is none; what can't be used refuses.
fn engine_default(input: &Input<'_>, source: &impl Source) -> Fact<Result<Resolved, Arc<Reason>>> {
    let (path, text) = match source.engine_default(input) {
        Ok(found) => found,
        Err(reason @ Reason::NoDefault { .. }) => return Ok(Err(Arc::new(reason))),
        Err(reason) => return Err(Arc::new(reason)),
    };
    resolve(&text, input).map(Ok).map_err(|error| {
        Arc::new(Reason::DefaultUnusable {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
    })
}

/// The filter in `linux.seccomp`; `None` where the runtime loads none. runc takes an object without
/// a default action for none, crun fails.
fn present(text: &str) -> Result<Option<Filter>, Reason> {
    match parse_filter(text.as_bytes()) {
        Ok(filter) => Ok(Some(filter)),
        Err(_) if has_no_default_action(text) => Ok(None),
        Err(error) => Err(Reason::PresentUnreadable(error)),
    }
}

fn has_no_default_action(text: &str) -> bool {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(text) else {
        return false;
    };
    // In another case it is one to a parser written in Go.
    let mut named = members
        .iter()
        .filter(|(key, _)| key.to_lowercase() == "defaultaction");
    named.all(|(key, value)| {
        key == "defaultAction" && (value.is_null() || value.as_str() == Some(""))
    })
}

/// The ways in which a runtime may read a filter: two where it is not known which runtime it is and
/// they read it differently.
fn readings(filter: &Filter, runtime: Runtime) -> Vec<std::borrow::Cow<'_, Filter>> {
    match runtime {
        Runtime::Either if filter.rules_beyond_crun().next().is_some() => vec![
            filter.as_read_by(Runtime::Crun),
            filter.as_read_by(Runtime::Runc),
        ],
        known => vec![filter.as_read_by(known)],
    }
}

/// Whether two filters are equal, whichever runtime reads them.
fn equal_as_read(a: &Filter, b: &Filter, runtime: Runtime) -> Fact<bool> {
    let runtimes: &[Runtime] = match runtime {
        Runtime::Either => &[Runtime::Crun, Runtime::Runc],
        Runtime::Crun => &[Runtime::Crun],
        Runtime::Runc => &[Runtime::Runc],
    };
    let differ = |filter: &Filter| filter.rules_beyond_crun().next().is_some();
    let most = if differ(a) || differ(b) { 2 } else { 1 };
    for runtime in runtimes.iter().take(most) {
        match equal(&a.as_read_by(*runtime), &b.as_read_by(*runtime)) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => return Err(Arc::new(Reason::NotBuilt(error))),
        }
    }
    Ok(true)
}

/// What its program does is what the filter asks for; else it refuses.
fn effect(filter: &Filter, runtime: Runtime) -> Fact<Notes> {
    let mut notes = Notes::new();
    for filter in readings(filter, runtime) {
        let program = compiled(&filter).map_err(|error| Arc::new(Reason::NotBuilt(error)))?;
        let warnings = check(&filter, &program, runtime)
            .map_err(|error| Arc::new(Reason::OtherEffect(error)))?;
        for warning in warnings.iter().map(ToString::to_string) {
            if !notes.contains(&warning) {
                notes.push(warning);
            }
        }
    }
    Ok(notes)
}
