//! The options of crun and runc that matter for creating a container.
//!
//! Sources: `src/{crun,create,run,restore}.c` of crun 1.8.1 to 1.29 and
//! `{main,create,run,restore}.go` of runc 1.1.5 to 1.5.1 and its main branch. The tables are the
//! union over these versions: an option that an older version lacks is an error there, and creates
//! no container.

/// Whether an option takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// It takes none.
    Nothing,
    /// It takes one, attached or as the next argument.
    Value,
    /// It may take one, but only attached.
    AttachedValue,
    /// It prints something, and the runtime exits.
    Help,
}

/// One option.
#[derive(Debug)]
pub(super) struct Definition {
    /// Its name after two dashes.
    pub long: &'static str,
    /// Its letter after one dash.
    pub short: &'static str,
    /// Whether it takes a value.
    pub takes: Takes,
}

const fn option(long: &'static str, short: &'static str, takes: Takes) -> Definition {
    Definition { long, short, takes }
}

const fn flag(long: &'static str) -> Definition {
    option(long, "", Takes::Nothing)
}

const fn value(long: &'static str) -> Definition {
    option(long, "", Takes::Value)
}

const DETACH: Definition = option("detach", "d", Takes::Nothing);
const BUNDLE: Definition = option("bundle", "b", Takes::Value);

/// What glibc's argp adds to every command of crun.
const ARGP: &[Definition] = &[
    option("help", "?", Takes::Help),
    option("usage", "", Takes::Help),
    value("program-name"),
    option("HANG", "", Takes::AttachedValue),
];

/// What urfave/cli adds to every command of runc.
const URFAVE: &[Definition] = &[option("help", "h", Takes::Help)];

const CRUN_GLOBAL: &[Definition] = &[
    flag("debug"),
    value("cgroup-manager"),
    flag("systemd-cgroup"),
    value("log"),
    value("log-format"),
    value("log-level"),
    value("root"),
    value("rootless"),
    option("version", "vV", Takes::Help),
];

const CRUN_CREATE: &[Definition] = &[
    BUNDLE,
    option("config", "f", Takes::Value),
    value("console-socket"),
    value("preserve-fds"),
    flag("no-pivot"),
    value("pid-file"),
    flag("no-subreaper"),
    flag("no-new-keyring"),
];

const CRUN_RUN: &[Definition] = &[DETACH, flag("keep")];

const CRUN_RESTORE: &[Definition] = &[
    BUNDLE,
    value("image-path"),
    value("work-path"),
    flag("tcp-established"),
    flag("tcp-close"),
    flag("ext-unix-sk"),
    flag("shell-job"),
    DETACH,
    value("pid-file"),
    value("console-socket"),
    flag("file-locks"),
    value("manage-cgroups-mode"),
    flag("network-lock"),
    value("lsm-profile"),
    value("lsm-mount-context"),
];

const RUNC_GLOBAL: &[Definition] = &[
    flag("debug"),
    value("log"),
    value("log-format"),
    value("root"),
    value("criu"),
    flag("systemd-cgroup"),
    value("rootless"),
    option("version", "v", Takes::Help),
];

const RUNC_CREATE: &[Definition] = &[
    BUNDLE,
    value("console-socket"),
    value("pidfd-socket"),
    value("pid-file"),
    flag("no-pivot"),
    flag("no-new-keyring"),
    value("preserve-fds"),
];

const RUNC_RUN: &[Definition] = &[DETACH, flag("keep"), flag("no-subreaper")];

const RUNC_RESTORE: &[Definition] = &[
    value("console-socket"),
    value("image-path"),
    value("work-path"),
    flag("tcp-established"),
    flag("ext-unix-sk"),
    flag("shell-job"),
    flag("file-locks"),
    value("manage-cgroups-mode"),
    BUNDLE,
    DETACH,
    value("pid-file"),
    flag("no-subreaper"),
    flag("no-pivot"),
    value("empty-ns"),
    flag("auto-dedup"),
    flag("lazy-pages"),
    value("lsm-profile"),
    value("lsm-mount-context"),
];

/// Where an option may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the verb.
    Global,
    /// After `create`.
    Create,
    /// After `run`.
    Run,
    /// After `restore`.
    Restore,
}

/// The options that are allowed in one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    parts: [&'static [Definition]; 3],
    /// Whether to skip an unknown global option with an attached value. Not all options of a
    /// runtime other than crun and runc are known, and such an option can't hide a verb.
    pub lenient: bool,
}

impl Options {
    /// Those of crun; with `foreign`, those of an unknown runtime: everything that crun or runc
    /// has.
    pub(super) fn of_crun(place: Place, foreign: bool) -> Options {
        Options::new(
            match place {
                Place::Global if foreign => [CRUN_GLOBAL, RUNC_GLOBAL, ARGP],
                Place::Global => [CRUN_GLOBAL, &[], ARGP],
                Place::Create => [CRUN_CREATE, &[], ARGP],
                Place::Run => [CRUN_CREATE, CRUN_RUN, ARGP],
                Place::Restore => [CRUN_RESTORE, &[], ARGP],
            },
            place,
            foreign,
        )
    }

    /// Those of runc; `foreign` as above.
    pub(super) fn of_runc(place: Place, foreign: bool) -> Options {
        Options::new(
            match place {
                Place::Global if foreign => [RUNC_GLOBAL, CRUN_GLOBAL, URFAVE],
                Place::Global => [RUNC_GLOBAL, &[], URFAVE],
                Place::Create => [RUNC_CREATE, &[], URFAVE],
                Place::Run => [RUNC_CREATE, RUNC_RUN, URFAVE],
                Place::Restore => [RUNC_RESTORE, &[], URFAVE],
            },
            place,
            foreign,
        )
    }

    fn new(parts: [&'static [Definition]; 3], place: Place, foreign: bool) -> Options {
        Options {
            parts,
            lenient: foreign && place == Place::Global,
        }
    }

    fn all(&self) -> impl Iterator<Item = &'static Definition> {
        self.parts.into_iter().flatten()
    }

    /// Finds an option by its full name or its letter, which Go treats alike.
    pub(super) fn named(&self, name: &str) -> Option<&'static Definition> {
        self.all()
            .find(|option| option.long == name || (name.len() == 1 && option.short.contains(name)))
    }

    /// Finds an option by its letter.
    pub(super) fn lettered(&self, letter: char) -> Option<&'static Definition> {
        self.all().find(|option| option.short.contains(letter))
    }

    /// Finds an option by its name or an unambiguous abbreviation, as `getopt_long` does.
    pub(super) fn abbreviated(&self, name: &str) -> Result<&'static Definition, Abbreviation> {
        if let Some(option) = self.all().find(|option| option.long == name) {
            return Ok(option);
        }
        let mut fitting = self.all().filter(|option| option.long.starts_with(name));
        let first = fitting.next().ok_or(Abbreviation::Unknown)?;
        if fitting.all(|option| option.long == first.long) {
            Ok(first)
        } else {
            Err(Abbreviation::Ambiguous)
        }
    }
}

/// Why a name matches no option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abbreviation {
    /// No option begins with it.
    Unknown,
    /// Several options do; perhaps not in the version at hand.
    Ambiguous,
}
