//! Gathers what the evaluator needs. Every way of applying and verifying gets from a container's
//! input to its evaluation through [`decide`].
//!
//! A [`Source`] supplies the documents: the hook reads them from files ([`files::Files`]), an agent
//! has them in memory. Everything here may block; asynchronous callers use a blocking thread.

pub mod crun;
pub mod files;

use crate::{
    Arch, Context, Document, Filter, Warning,
    compare::{difference::first_names, subset::Excess},
    filter::reader::Runtime,
    gate::{
        Evaluation, Gathered, Input, Need, Reason, Resolved, evaluate, evaluation::Notes,
        input::Fact,
    },
    parse_filter,
    program::{Examiner, Memo, compile::unprotected_by_runtime},
    root::ReadError,
    select::reference::ProfilePath,
};
use crun::{CachedProgram, CrunError};
use std::{path::PathBuf, sync::Arc};

/// Where documents come from, and which runtime will read the filter.
pub trait Source {
    /// The text of the selected profile. It may wait for a missing one, which the operator may be
    /// about to write.
    ///
    /// # Errors
    /// It can't be read.
    fn profile(&self, path: &ProfilePath) -> Result<Vec<u8>, ReadError>;

    /// The text of the engine's default profile and where it was found.
    ///
    /// # Errors
    /// [`Reason::NoDefault`] if it is not available, [`Reason::DefaultUnusable`] if it can't be
    /// read.
    fn engine_default(&self, input: &Input<'_>) -> Result<(PathBuf, Vec<u8>), Reason>;

    /// The runtime that will read the filter.
    fn runtime(&self) -> Runtime;

    /// The cached program that the runtime will load; `None` if it will compile the filter.
    ///
    /// # Errors
    /// It can't be determined.
    fn cached_program(&self) -> Result<Option<CachedProgram>, CrunError>;

    /// The cache of checked programs.
    fn memo(&self) -> &Memo;
}

/// Decides on one container, and gathers what that takes.
pub fn decide(input: &Input<'_>, source: &impl Source) -> Evaluation {
    decide_with(input, source, &mut Gathered::default())
}

/// The same with facts that are known already. Those that are gathered are added.
pub fn decide_with(input: &Input<'_>, source: &impl Source, gathered: &mut Gathered) -> Evaluation {
    let mut examiner = Examiner::new(source.memo());
    loop {
        let found = match evaluate(input, gathered) {
            Ok(evaluation) => return evaluation,
            Err(need) => find(need, input, source, &mut examiner),
        };
        found.put_into(gathered);
    }
}

/// What was found for one need.
enum Found {
    Profile(Fact<Resolved>),
    EngineDefault(Fact<Result<Resolved, Arc<Reason>>>),
    Present(Fact<Option<Filter>>),
    EqualsSelected(Fact<bool>),
    EqualsRelaxed(Fact<bool>),
    EqualsAsSetByNri(Fact<bool>),
    EqualsDefault(Fact<bool>),
    Excess(Fact<Option<Excess>>),
    ExcessOverOwn(Fact<Option<Excess>>),
    Effect(Fact<Notes>),
    Loaded(Fact<()>),
}

impl Found {
    fn put_into(self, gathered: &mut Gathered) {
        match self {
            Found::Profile(fact) => gathered.profile = Some(fact),
            Found::EngineDefault(fact) => gathered.engine_default = Some(fact),
            Found::Present(fact) => gathered.present = Some(fact),
            Found::EqualsSelected(fact) => gathered.equals_selected = Some(fact),
            Found::EqualsRelaxed(fact) => gathered.equals_relaxed = Some(fact),
            Found::EqualsAsSetByNri(fact) => gathered.equals_as_set_by_nri = Some(fact),
            Found::EqualsDefault(fact) => gathered.equals_default = Some(fact),
            Found::Excess(fact) => gathered.excess = Some(fact),
            Found::ExcessOverOwn(fact) => gathered.excess_over_own = Some(fact),
            Found::Effect(fact) => gathered.effect = Some(fact),
            Found::Loaded(fact) => gathered.loaded = Some(fact),
        }
    }
}

fn find(
    need: Need<'_>,
    input: &Input<'_>,
    source: &impl Source,
    examiner: &mut Examiner<'_>,
) -> Found {
    let runtime = source.runtime();
    match need {
        Need::Profile(path) => Found::Profile(profile(&path, input, source).map_err(Arc::new)),
        Need::EngineDefault => Found::EngineDefault(engine_default(input, source)),
        Need::Present(text) => Found::Present(present(text).map_err(Arc::new)),
        Need::EqualsSelected(there, selected) => {
            Found::EqualsSelected(equal_as_read(there, selected, runtime, examiner))
        }
        Need::EqualsRelaxed(there, relaxed) => {
            Found::EqualsRelaxed(equal_as_read(there, &relaxed, runtime, examiner))
        }
        Need::EqualsAsSetByNri(there, set) => {
            Found::EqualsAsSetByNri(equal_as_read(there, &set, runtime, examiner))
        }
        Need::EqualsDefault(there, default) => {
            Found::EqualsDefault(equal_as_read(there, default, runtime, examiner))
        }
        Need::Excess(selected, default) => Found::Excess(Ok(examiner
            .allows_no_more_than(selected, default, runtime)
            .err())),
        Need::ExcessOverOwn(selected, own) => Found::ExcessOverOwn(Ok(examiner
            .allows_no_more_than(selected, own, runtime)
            .err())),
        Need::Effect(filter) => Found::Effect(effect(&filter, runtime, examiner)),
        Need::Loaded(text) => Found::Loaded(loaded(text, source, examiner).map_err(Arc::new)),
    }
}

/// The selected profile as this engine resolves it for this container. Refuses one that the runtime
/// would load only in part.
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
    let warnings = document.warnings_in(&context);
    let warnings = warnings.iter().map(Warning::to_string).collect();
    Ok(Resolved {
        filter: Arc::new(filter),
        warnings,
    })
}

/// The engine's default profile, or why there is none. Refuses one that can't be used.
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

/// The filter in `linux.seccomp`; `None` if the runtime loads none. To runc, an object without a
/// default action is none; crun fails.
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
    // Go's parser also accepts the key in another case.
    let mut named = members
        .iter()
        .filter(|(key, _)| key.to_lowercase() == "defaultaction");
    named.all(|(key, value)| {
        key == "defaultAction" && (value.is_null() || value.as_str() == Some(""))
    })
}

/// Whether two filters are equal, whichever runtime reads them.
fn equal_as_read(
    a: &Filter,
    b: &Filter,
    runtime: Runtime,
    examiner: &mut Examiner<'_>,
) -> Fact<bool> {
    examiner
        .equal(a, b, runtime)
        .map_err(|error| Arc::new(Reason::NotBuilt(error)))
}

/// Refuses a filter whose program does not do what the filter says.
fn effect(filter: &Filter, runtime: Runtime, examiner: &mut Examiner<'_>) -> Fact<Notes> {
    examiner
        .effect(filter, runtime)
        .map_err(|unusable| Arc::new(Reason::Unusable(unusable)))
}

/// Refuses if the runtime's cached program does not do what the filter says.
fn loaded(text: &str, source: &impl Source, examiner: &mut Examiner<'_>) -> Result<(), Reason> {
    let Some(cached) = source.cached_program().map_err(Reason::CrunUnknown)? else {
        return Ok(());
    };
    let other = |what: String| Reason::CrunCache {
        what,
        folder: cached.folder.display().to_string(),
    };
    match present(text)? {
        Some(filter) => examiner
            .is_compiled(&filter, &cached.bytes)
            .map_err(|error| other(error.to_string())),
        None => Err(other(
            "it has a program, but config.json has no filter".to_owned(),
        )),
    }
}
