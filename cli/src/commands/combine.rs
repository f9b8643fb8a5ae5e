//! `portcullis merge` and `portcullis intersect`: one profile from several.

use super::{CommandError, Ending};
use crate::{
    input::{Situation, name, standard_input_once},
    output::Output,
};
use portcullis_profile::{
    Filter,
    compose::combine::{AlgebraError, intersection, union},
    filter::reader::Runtime,
    program::{Examiner, Memo},
};
use std::path::PathBuf;

/// How profiles are combined.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Each call gets the loosest of its treatments.
    Union,
    /// Each call gets the strictest of them.
    Intersection,
}

impl Kind {
    fn of(self, a: &Filter, b: &Filter) -> Result<Filter, AlgebraError> {
        match self {
            Kind::Union => union(a, b),
            Kind::Intersection => intersection(a, b),
        }
    }
}

/// Arguments of both verbs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The profiles. They must agree on everything but their rules: default action, architectures,
    /// flags and listener.
    #[arg(required = true, num_args = 2.., value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    situation: Situation,
    #[command(flatten)]
    output: Output,
}

/// Combines the profiles from left to right and prints the result, an OCI document.
pub(super) fn run(arguments: &Arguments, kind: Kind) -> Result<Ending, CommandError> {
    let Arguments {
        files,
        situation,
        output,
    } = arguments;
    standard_input_once(files)?;
    let mut left = String::new();
    let mut result: Option<Filter> = None;
    for path in files {
        let filter = situation.filter(path)?;
        let right = name(path);
        result = Some(match result {
            None => filter,
            Some(so_far) => kind
                .of(&so_far, &filter)
                .map_err(|error| CommandError::Algebra {
                    left: left.clone(),
                    right: right.clone(),
                    error,
                })?,
        });
        if !left.is_empty() {
            left.push_str(" with ");
        }
        left.push_str(&right);
    }
    let Some(result) = result else {
        return Ok(Ending::Good);
    };
    if situation.is_native() {
        // The rules are right; what libseccomp makes of them has to be looked at.
        Examiner::new(&Memo::none())
            .effect(&result, Runtime::Either)
            .map_err(|error| {
                CommandError::Unusable(format!("the result can't be used: {error}"))
            })?;
    }
    output.write(&super::convert::document(&result)?)?;
    Ok(Ending::Good)
}
