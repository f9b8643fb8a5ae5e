//! `[record]`: the recorder's settings.

use crate::Action;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, str::FromStr};

/// What happens to a container that should be recorded and can't be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It does not start, because crun hides the warnings of a hook that succeeds.
    #[default]
    Refuse,
    /// It starts unrecorded, and a warning says so.
    Start,
}

/// How many arguments can be recorded for one container; the recorder has room for no more.
pub const MAX_ARGUMENTS: usize = 8;

/// One argument of one call, written `call:index`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// The call's name.
    pub call: String,
    /// Which argument, counted from 0 to 5.
    pub index: u8,
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Argument, String> {
        let parsed = text
            .split_once(':')
            .and_then(|(call, index)| Some((call, index.parse().ok().filter(|i| *i < 6)?)));
        match parsed {
            Some((call, index)) if crate::filter::syscalls::is_known(call) => Ok(Argument {
                call: call.to_owned(),
                index,
            }),
            Some((call, _)) => Err(format!("unknown system call {call:?}")),
            None => Err(format!(
                "{text:?} is not an argument; write it like \"socket:0\" (0 to 5)"
            )),
        }
    }
}

/// `[record]`: who may record, where to, and how much. The node's owner decides all of this.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Record {
    /// Namespaces whose pods may be recorded; none by default.
    pub namespaces: Vec<String>,
    /// Folders that recordings may be written to.
    pub folders: Vec<PathBuf>,
    /// The default action of recorded profiles.
    #[serde(deserialize_with = "action")]
    pub default_action: Action,
    /// Arguments of calls whose values are recorded too, at most [`MAX_ARGUMENTS`].
    #[serde(deserialize_with = "arguments")]
    pub arguments: Vec<Argument>,
    /// Whether a recording is merged into an existing profile, instead of replacing it.
    pub merge: bool,
    /// Whether the calls that a recorded container's filter denies are executed and logged instead,
    /// so that they are captured.
    pub log_denials: bool,
    /// What happens to a container that can't be recorded. The limits below never refuse one whose
    /// denials are in force.
    pub on_failure: OnFailure,
    /// How many recordings may run at once.
    pub max_active: u32,
    /// How many bytes the recordings folder may hold.
    pub max_bytes: u64,
    /// How many seconds one recording may run.
    pub max_seconds: u64,
}

impl Default for Record {
    fn default() -> Record {
        Record {
            namespaces: Vec::new(),
            folders: vec![PathBuf::from("/var/lib/portcullis/recordings")],
            default_action: Action::Errno,
            arguments: Vec::new(),
            merge: false,
            log_denials: false,
            on_failure: OnFailure::Refuse,
            max_active: 128,
            max_bytes: 64 * 1024 * 1024,
            max_seconds: 24 * 60 * 60,
        }
    }
}

fn action<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Action, D::Error> {
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

fn arguments<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Argument>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > MAX_ARGUMENTS {
        let message = format!("at most {MAX_ARGUMENTS} arguments can be recorded");
        return Err(serde::de::Error::custom(message));
    }
    let mut all: Vec<Argument> = Vec::new();
    for text in texts {
        let argument: Argument = text.parse().map_err(serde::de::Error::custom)?;
        if all.iter().any(|other| other.call == argument.call) {
            let message = format!("two arguments of {} can't be recorded", argument.call);
            return Err(serde::de::Error::custom(message));
        }
        all.push(argument);
    }
    Ok(all)
}
