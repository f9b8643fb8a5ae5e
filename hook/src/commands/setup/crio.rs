//! `portcullis-hook setup crio`: writes one drop-in of CRI-O's, or takes it away.
//!
//! CRI-O replaces a list and a handler as a whole where a later file mentions them, does not start
//! if a handler has no monitor, and ignores a handler whose runtime does not exist. So the drop-in is
//! made from CRI-O's effective configuration, and written only if CRI-O would then read what was
//! there before, and exactly ours beside it.

mod drop_in;
mod file;
mod found;
mod plan;
mod remains;
#[cfg(test)]
mod tests;

use crate::{exit::Code, node::Node, report};
pub(crate) use drop_in::NAME;
use drop_in::{DropIn, Written};
use found::Found;
use plan::Plan;
use portcullis_profile::settings::load_runtimes;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The packages' unit that runs this before CRI-O starts.
const UNIT: &str = "/usr/lib/systemd/system/crio.service.wants/portcullis-setup-crio.service";

/// Arguments of `setup crio`.
#[derive(Clone, Debug, Default, clap::Args)]
#[allow(clippy::struct_excessive_bools)] // flags
pub(crate) struct Arguments {
    /// Make our handler beside the default one the default. It stays so until --remove.
    #[arg(long, conflicts_with = "remove")]
    default_runtime: bool,
    /// Print the drop-in (on stdout) and what would change (on stderr), and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// Remove the drop-in. Handlers that containers still run under stay in it, because CRI-O could
    /// neither stop nor remove these without them; the exit code is then 1.
    #[arg(long)]
    remove: bool,
    /// Remove such handlers too.
    #[arg(long, requires = "remove")]
    force: bool,
    /// CRI-O's folder of drop-ins, to use instead of /etc/crio/crio.conf.d.
    #[arg(long, value_name = "DIR")]
    crio_config_dir: Option<PathBuf>,
    /// Set up the node with this root folder, for example a mounted image.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Also execute crio below --root, as this user. Use it only with a root that you trust.
    #[arg(long)]
    execute: bool,
}

/// Why nothing was changed.
#[derive(Debug)]
struct Refused {
    code: Code,
    message: String,
}

impl From<String> for Refused {
    fn from(message: String) -> Refused {
        let code = Code::Unexpected;
        Refused { code, message }
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcome {
    /// What changed, a line each.
    lines: Vec<String>,
    /// With --dry-run, the text of the drop-in.
    text: Option<String>,
    /// Whether something is left to be done.
    is_unfinished: bool,
}

/// Does it, and says what was done.
#[allow(clippy::print_stdout, clippy::print_stderr)]
pub(crate) fn run(settings: &Path, arguments: &Arguments) -> Result<(), Code> {
    let outcome = act(settings, arguments)
        .map_err(|Refused { code, message }| report::failure(code, &message))?;
    for line in &outcome.lines {
        let line = line.replace(char::is_control, " ");
        if arguments.dry_run {
            eprintln!("{line}");
        } else {
            println!("{line}");
        }
    }
    if let Some(text) = outcome.text {
        print!("{text}");
    }
    if outcome.is_unfinished {
        return Err(Code::Unexpected);
    }
    Ok(())
}

fn act(settings: &Path, arguments: &Arguments) -> Result<Outcome, Refused> {
    let root = arguments.root.canonicalize();
    let root = root.map_err(|error| format!("{}: {error}", arguments.root.display()))?;
    let node = Node::at_root(root, arguments.execute);
    if !arguments.dry_run && node.owner() != nix::unistd::geteuid().as_raw() {
        return Err("setup changes the node: run it as root".to_owned().into());
    }
    let found = Found::look(&node, arguments.crio_config_dir.as_deref())?;
    if arguments.remove {
        return remove(&node, &found, arguments);
    }
    let is_default = arguments.default_runtime;
    let wanted = wanted(&node, &found, settings, is_default)?;
    let own = found.own.display();
    let mut outcome = Outcome {
        lines: wanted.notes,
        ..Outcome::default()
    };
    if found.text.is_none() && wanted.drop_in.is_empty() {
        let line = format!("{own} is not needed: CRI-O has all of it already");
        outcome.lines.push(line);
    } else if found.text.as_ref() == Some(&wanted.text) {
        outcome.lines = vec![format!("{own} is as it should be; nothing was changed")];
    } else if arguments.dry_run {
        outcome.lines.push(format!("would write {own}"));
    } else {
        file::write(&node.at(&found.own), &wanted.text)
            .map_err(|error| format!("{own}: {error}"))?;
        outcome.lines.push(format!(
            "wrote {own}; now systemctl restart crio, then portcullis-hook check"
        ));
    }
    outcome.text = arguments.dry_run.then_some(wanted.text);
    Ok(outcome)
}

/// The drop-in as it should be.
struct Wanted {
    drop_in: DropIn,
    text: String,
    notes: Vec<String>,
}

/// Makes the drop-in, and sees that CRI-O reads it as it is meant.
fn wanted(
    node: &Node,
    found: &Found,
    settings: &Path,
    is_default: bool,
) -> Result<Wanted, Refused> {
    let runtimes: BTreeMap<String, PathBuf> =
        load_runtimes(&node.at(settings)).map_err(|error| Refused {
            code: Code::Settings,
            message: error.to_string(),
        })?;
    let is_default = is_default || found.written.as_ref().is_some_and(|own| own.is_default);
    let Plan { drop_in, mut notes } = plan::make(node, &found.before, &runtimes, is_default)?;
    let text = drop_in.text(&found.digest, false);
    found.check(node, &drop_in, &text)?;
    notes.extend(found.notes.iter().cloned());
    Ok(Wanted {
        drop_in,
        text,
        notes,
    })
}

/// Takes away what is ours, except for what containers still need.
fn remove(node: &Node, found: &Found, arguments: &Arguments) -> Result<Outcome, Refused> {
    let own = found.own.display();
    let mut outcome = Outcome::default();
    let Some(written) = &found.written else {
        let line = format!("there is no {own}; nothing was changed");
        outcome.lines.push(line);
        return Ok(outcome);
    };
    found.check_without()?;
    let remaining = if arguments.force {
        BTreeMap::new()
    } else {
        remains::look(node, &written.handlers)
    };
    let drop_in = DropIn {
        runtimes: written
            .handlers
            .iter()
            .filter(|(name, _)| remaining.contains_key(*name))
            .map(|(name, own)| (name.clone(), own.table.clone()))
            .collect(),
        ..DropIn::default()
    };
    for (name, who) in &remaining {
        outcome.lines.push(format!("handler {name} stays: {who}"));
    }
    if node.exists(Path::new(UNIT)) {
        let line = format!(
            "{UNIT} would write it again when CRI-O starts: remove portcullis-crio, or systemctl mask portcullis-setup-crio"
        );
        outcome.lines.push(line);
    }
    let failed = |error| format!("{own}: {error}");
    if drop_in.is_empty() {
        let line = if arguments.dry_run {
            format!("would remove {own}")
        } else {
            file::remove(&node.at(&found.own)).map_err(failed)?;
            format!("removed {own}; now systemctl restart crio")
        };
        outcome.lines.push(line);
        return Ok(outcome);
    }
    let text = drop_in.text(&written.digest, true);
    outcome.is_unfinished = true;
    if arguments.dry_run {
        outcome
            .lines
            .push(format!("would leave only these handlers in {own}"));
        outcome.text = Some(text);
        return Ok(outcome);
    }
    if found.text.as_ref() != Some(&text) {
        file::write(&node.at(&found.own), &text).map_err(failed)?;
    }
    outcome.lines.push(format!(
        "only these handlers are left in {own}: systemctl restart crio, delete the RuntimeClasses that name them, start these pods again elsewhere, then run this again (or with --force)"
    ));
    Ok(outcome)
}

/// What `check` says of the drop-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// There is none.
    Absent,
    /// It is what `setup` would write now.
    Current,
    /// The configuration that it was made from has changed.
    Outdated,
    /// Something else was written into it.
    Edited,
    /// It is being removed.
    Leaving,
    /// What it was made from can't be known here.
    Unknown,
    /// It can't be right any more: why.
    Wrong(String),
}

/// Compares the drop-in with what would be written now.
pub(crate) fn state(node: &Node, settings: &Path, folder: Option<&Path>) -> State {
    if !node.exists(&found::own(node, folder)) {
        return State::Absent;
    }
    let found = match Found::look(node, folder) {
        Ok(found) => found,
        Err(wrong) => return State::Wrong(wrong),
    };
    let Some(Written { digest, leaves, .. }) = &found.written else {
        return State::Absent;
    };
    if *leaves {
        return State::Leaving;
    }
    if found.is_guessed {
        return State::Unknown;
    }
    match wanted(node, &found, settings, false) {
        Err(Refused { message, .. }) => State::Wrong(message),
        Ok(wanted) if found.text.as_ref() == Some(&wanted.text) => State::Current,
        Ok(_) if *digest != found.digest => State::Outdated,
        Ok(_) => State::Edited,
    }
}
