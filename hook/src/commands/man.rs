//! `portcullis-hook man`: writes the manual pages of the node's programs, for packages.

use crate::{exit::Code, report, wrapper};
use clap::CommandFactory;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

mod settings;

/// The page about the settings.
const SETTINGS: &str = "hook.toml.5";

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The folder to write them to.
    folder: PathBuf,
}

/// Writes them.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Code> {
    write(&arguments.folder).map_err(|error| {
        let message = format!("{}: {error}", arguments.folder.display());
        report::failure(Code::Unexpected, &message)
    })
}

fn write(folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(super::Arguments::command(), folder)?;
    clap_mangen::generate_to(wrapper::arguments::command(), folder)?;
    fs::write(folder.join(SETTINGS), settings::page())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_both_programs_have_a_page() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let command = super::super::Arguments::command();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = read(&format!("portcullis-hook-{}.1", verb.get_name()));
            assert!(page.contains(".SH NAME"), "{page}");
        }
        assert!(read("portcullis-hook.1").contains("Exit codes"));
        let wrapper = read("portcullis-runtime.1");
        for option in ["settings", "engine", "runtime"] {
            let option = format!("\\-\\-portcullis\\-{option}");
            assert!(wrapper.contains(&option), "{wrapper}");
        }
    }

    #[test]
    fn the_page_about_the_settings_names_every_key_and_table() {
        let page = settings::page().replace('\\', "");
        let file = include_str!("../../../crio.d/hook.toml");
        let commented = file.lines().filter_map(|line| line.strip_prefix('#'));
        let mut count = 0;
        for line in commented.filter(|line| !line.starts_with(' ') && !line.is_empty()) {
            let name = line.split(" =").next().unwrap();
            assert!(page.contains(name), "{name} is missing in\n{page}");
            count += 1;
        }
        assert!(count > 20, "{count} keys and tables in hook.toml");
    }

    /// The verbs and options below a command that have no text, by their paths.
    fn without_text(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        if command
            .get_about()
            .is_none_or(|text| text.to_string().is_empty())
        {
            found.push(path.clone());
        }
        for argument in command.get_arguments() {
            if argument
                .get_help()
                .is_none_or(|text| text.to_string().is_empty())
            {
                found.push(format!("{path} {}", argument.get_id()));
            }
        }
        for verb in command.get_subcommands() {
            without_text(verb, &path, found);
        }
    }

    #[test]
    fn every_verb_and_option_has_a_text() {
        let mut found = Vec::new();
        without_text(&super::super::Arguments::command(), "", &mut found);
        without_text(&wrapper::arguments::command(), "", &mut found);
        assert_eq!(found, [""; 0]);
    }
}
