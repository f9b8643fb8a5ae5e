//! `portcullis diff`: which calls two profiles treat differently.

use super::{CommandError, Ending};
use crate::{
    input::{Situation, name, standard_input_once},
    output::print,
};
use portcullis_profile::{
    Difference, Filter,
    filter::reader::Runtime,
    program::{Examiner, Memo, compile::CompileError},
};
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The profile to compare with.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The profile that may have changed.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    situation: Situation,
}

/// How the new profile compares with the old one as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Equal,
    Stricter,
    Looser,
    /// Both allow the same, but deny some calls in another way, for example with another errno.
    OtherDenials,
    /// Each allows something that the other does not, or that can't be excluded.
    Neither,
}

impl Relation {
    const fn word(self) -> &'static str {
        match self {
            Relation::Equal => "equal",
            Relation::Stricter => "stricter",
            Relation::Looser => "looser",
            Relation::OtherDenials => "other-denials",
            Relation::Neither => "neither",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Relation::Equal => "The kernel treats every call alike under both.",
            Relation::Stricter => "NEW allows nothing that OLD does not.",
            Relation::Looser => "NEW allows everything that OLD does, and more.",
            Relation::OtherDenials => "Both allow the same, but do not deny alike.",
            Relation::Neither => "Neither can be shown to allow only what the other does.",
        }
    }
}

/// Compares the profiles and prints how they differ.
pub(super) fn run(arguments: &Arguments) -> Result<Ending, CommandError> {
    let Arguments {
        old,
        new,
        json,
        situation,
    } = arguments;
    standard_input_once(&[old.clone(), new.clone()])?;
    let (before, after) = (situation.filter(old)?, situation.filter(new)?);
    if !situation.is_native() && before != after {
        return Err(CommandError::Unusable(
            "profiles are compared by their compiled filters, which takes a machine of the same architecture: leave out --arch".to_owned(),
        ));
    }
    let relation = relation(&before, &after)
        .map_err(|error| CommandError::Unusable(format!("they can't be compared: {error}")))?;
    let difference = match relation {
        Relation::Equal => Difference::default(),
        _ => Difference::between(&after, &before),
    };
    let text = if *json {
        let value = json!({
            "old": name(old),
            "new": name(new),
            "relation": relation.word(),
            "allowedInNewOnly": difference.allowed_here_only,
            "allowedInOldOnly": difference.allowed_there_only,
            "treatedOtherwise": difference.treated_otherwise,
            "header": difference.header,
        });
        format!("{value:#}\n")
    } else {
        lines(relation, &difference)
    };
    print(&text)?;
    Ok(match relation {
        Relation::Equal => Ending::Good,
        _ => Ending::Found,
    })
}

/// How the kernel would treat calls under both.
///
/// # Errors
/// A filter that was needed for the answer does not compile.
fn relation(before: &Filter, after: &Filter) -> Result<Relation, CompileError> {
    let memo = Memo::none();
    let mut examiner = Examiner::new(&memo);
    if examiner.equal(before, after, Runtime::Either)? {
        return Ok(Relation::Equal);
    }
    let mut allows_no_more = |a, b| examiner.allows_no_more_than(a, b, Runtime::Either).is_ok();
    let (less, more) = (allows_no_more(after, before), allows_no_more(before, after));
    Ok(match (less, more) {
        (true, true) => Relation::OtherDenials,
        (true, false) => Relation::Stricter,
        (false, true) => Relation::Looser,
        (false, false) => Relation::Neither,
    })
}

/// One line a call: `+` where only the new profile allows it, `-` where only the old one does, `~`
/// where both do not treat it alike.
fn lines(relation: Relation, difference: &Difference) -> String {
    let groups = [
        ('~', &difference.header),
        ('+', &difference.allowed_here_only),
        ('-', &difference.allowed_there_only),
        ('~', &difference.treated_otherwise),
    ];
    let mut text = String::new();
    for (sign, list) in groups {
        for one in list {
            text.extend([sign, ' ']);
            text.push_str(one);
            text.push('\n');
        }
    }
    text + relation.sentence() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::parse_unconditional;

    /// A profile that denies with an errno all but the calls that are named.
    fn allowing(errno: u16, names: &[&str]) -> Filter {
        let text = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": errno,
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
        });
        parse_unconditional(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_lines_name_every_call_and_end_with_the_relation() {
        let (before, after) = (
            allowing(1, &["read", "mkdir"]),
            allowing(1, &["read", "write"]),
        );
        let difference = Difference::between(&after, &before);
        assert_eq!(
            lines(Relation::Neither, &difference),
            "+ write\n- mkdir\nNeither can be shown to allow only what the other does.\n"
        );
    }
}
