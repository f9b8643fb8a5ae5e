//! The dialects of command lines: one for crun ([`getopt`]), one for each of the three generations of
//! runc's library ([`go`]).

use super::{
    Command, CommandLine, CommandLineError, Container, OTHER_VERBS, Runtime, Verb, getopt, go,
    options::{Definition, Options, Place},
};
use std::path::PathBuf;

/// What a parser found.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) values: Vec<(&'static str, String)>,
    pub(super) operands: Vec<String>,
}

impl Parsed {
    pub(super) fn set(&mut self, option: &Definition, value: &str) {
        self.values.push((option.long, value.to_owned()));
    }

    /// A value that is an argument of its own. For an unknown runtime it is uncertain whether the
    /// option takes one, so a verb that creates a container is not taken as a value.
    pub(super) fn set_from_next(
        &mut self,
        option: &Definition,
        value: &str,
        after: &[String],
        foreign: bool,
    ) -> Result<(), Stop> {
        if foreign && Verb::find(value).is_some() {
            let rest = [&[value.to_owned()], after].concat();
            return Err(Stop::unknown(format!("--{}", option.long), &rest));
        }
        self.set(option, value);
        Ok(())
    }

    /// The last one counts.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.values
            .iter()
            .rev()
            .find(|(option, _)| *option == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Why a parser stopped early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The runtime prints something and exits.
    Speaks,
    /// It is unknown what the runtime does; the remaining arguments.
    Unsure {
        option: String,
        ambiguous: bool,
        rest: Vec<String>,
    },
}

impl Stop {
    pub(super) fn unknown(option: String, rest: &[String]) -> Stop {
        Stop::Unsure {
            option,
            ambiguous: false,
            rest: rest.to_vec(),
        }
    }

    pub(super) fn ambiguous(option: String, rest: &[String]) -> Stop {
        Stop::Unsure {
            option,
            ambiguous: true,
            rest: rest.to_vec(),
        }
    }
}

/// One way of parsing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Dialect {
    Crun,
    /// With urfave/cli 1.22.1.
    Runc1,
    /// With urfave/cli 1.22.14 or later.
    Runc2,
    /// With urfave/cli 3.
    Runc3,
}

impl Dialect {
    /// Every way in which some version of the runtime parses its command line.
    pub(super) const fn of(runtime: Runtime) -> &'static [Dialect] {
        match runtime {
            Runtime::Crun => &[Dialect::Crun],
            Runtime::Runc => &[Dialect::Runc1, Dialect::Runc2, Dialect::Runc3],
            Runtime::Other => &[
                Dialect::Crun,
                Dialect::Runc1,
                Dialect::Runc2,
                Dialect::Runc3,
            ],
        }
    }

    fn options(self, place: Place, runtime: Runtime) -> Options {
        let foreign = runtime == Runtime::Other;
        match self {
            Dialect::Crun => Options::of_crun(place, foreign),
            _ => Options::of_runc(place, foreign),
        }
    }

    pub(super) fn read(
        self,
        runtime: Runtime,
        words: &[String],
    ) -> Result<CommandLine, CommandLineError> {
        let options = self.options(Place::Global, runtime);
        let globals = match self {
            Dialect::Crun => getopt::parse(options, words),
            Dialect::Runc1 | Dialect::Runc2 => go::flags(options, words),
            Dialect::Runc3 => go::mixed(options, words, is_verb),
        };
        let globals = match globals {
            Ok(globals) => globals,
            Err(Stop::Speaks) => return Ok(CommandLine::default()),
            // Whatever the option is, without such an argument no container is created.
            Err(Stop::Unsure { ref rest, .. })
                if !rest.iter().any(|word| Verb::find(word).is_some()) =>
            {
                return Ok(CommandLine {
                    command: Command::Other {
                        verb: String::new(),
                        words: rest.clone(),
                    },
                    ..CommandLine::default()
                });
            }
            Err(Stop::Unsure {
                option, ambiguous, ..
            }) => return Err(unsure(runtime, option, ambiguous)),
        };
        let path = |name| globals.value(name).map(PathBuf::from);
        Ok(CommandLine {
            root: path("root"),
            has_rootless: globals.value("rootless").is_some(),
            log: path("log"),
            log_is_json: globals.value("log-format") == Some("json"),
            command: match globals.operands.split_first() {
                None => Command::Speaks,
                Some((verb, words)) => match Verb::find(verb) {
                    Some(verb) => self.container(runtime, verb, words)?,
                    None if is_verb(verb) => Command::Other {
                        verb: verb.clone(),
                        words: words.to_vec(),
                    },
                    None => {
                        return Err(CommandLineError::UnknownVerb {
                            runtime: runtime.as_str(),
                            verb: verb.clone(),
                        });
                    }
                },
            },
        })
    }

    fn container(
        self,
        runtime: Runtime,
        verb: Verb,
        words: &[String],
    ) -> Result<Command, CommandLineError> {
        let options = self.options(verb.place(), runtime);
        let parsed = match self {
            Dialect::Crun => getopt::parse(options, words),
            Dialect::Runc1 => go::flags(options, &go::reordered_1_22_1(words)),
            Dialect::Runc2 => go::flags(options, &go::reordered_1_22_14(options, words)),
            Dialect::Runc3 => go::mixed(options, words, |_| false),
        };
        let parsed = match parsed {
            Ok(parsed) => parsed,
            Err(Stop::Speaks) => return Ok(Command::Speaks),
            Err(Stop::Unsure {
                option, ambiguous, ..
            }) => return Err(unsure(runtime, option, ambiguous)),
        };
        if let Some(file) = parsed.value("config").filter(|file| *file != "config.json") {
            let file = file.to_owned();
            return Err(CommandLineError::OtherConfiguration { file });
        }
        let most = match (self, verb) {
            (Dialect::Crun, Verb::Restore) => 2,
            _ => 1,
        };
        let id = match &parsed.operands[..] {
            [id, others @ ..] if others.len() < most => id.clone(),
            _ => return Ok(Command::Speaks),
        };
        let bundle = match (self, parsed.value("bundle")) {
            // crun can't resolve it.
            (Dialect::Crun, Some("")) => return Ok(Command::Speaks),
            (_, None | Some("")) => None,
            (_, Some(bundle)) => Some(PathBuf::from(bundle)),
        };
        Ok(Command::Makes(Container { verb, bundle, id }))
    }
}

fn is_verb(word: &str) -> bool {
    Verb::find(word).is_some() || OTHER_VERBS.contains(&word)
}

fn unsure(runtime: Runtime, option: String, ambiguous: bool) -> CommandLineError {
    let runtime = runtime.as_str();
    if ambiguous {
        CommandLineError::Ambiguous { runtime, option }
    } else {
        CommandLineError::UnknownOption { runtime, option }
    }
}
