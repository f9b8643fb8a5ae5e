//! `portcullis-hook containers`: lists the containers that the wrapper created and that still
//! exist. The packages ask it before they remove the wrapper.

use crate::{exit::Code, report, wrapper::remembered};
use std::{fmt::Write, path::Path};

/// What is printed for a container whose state folder is not known.
const UNKNOWN: &str = "-";

/// Prints one line for each: its runtime, a tab, and the folder of its state.
#[allow(clippy::print_stdout)]
pub(crate) fn run() -> Result<(), Code> {
    let folder = Path::new(remembered::FOLDER);
    if !folder.exists() {
        return Ok(());
    }
    let existing = remembered::Remembered::open(folder)
        .and_then(|remembered| remembered.existing())
        .map_err(|error| {
            let message = format!("{}: {error}", folder.display());
            report::failure(Code::Unexpected, &message)
        })?;
    print!("{}", lines(&existing));
    Ok(())
}

fn lines(existing: &[remembered::Existing]) -> String {
    let mut text = String::new();
    for container in existing {
        let state = container
            .state
            .as_ref()
            .map_or(UNKNOWN.into(), |state| state.display().to_string());
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}\t{state}", container.runtime.display());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use remembered::Existing;

    #[test]
    fn a_line_has_the_runtime_and_the_state() {
        let existing = |runtime: &str, state: Option<&str>| Existing {
            runtime: runtime.into(),
            state: state.map(Into::into),
        };
        let text = lines(&[
            existing("/usr/bin/crun", Some("/run/crun/a b")),
            existing("/usr/bin/runsc", None),
        ]);
        assert_eq!(text, "/usr/bin/crun\t/run/crun/a b\n/usr/bin/runsc\t-\n");
    }
}
