//! CRI-O's configuration as it is without our drop-in, and as it would be with it.

use super::drop_in::{DropIn, NAME, Written, alone};
use crate::node::{
    Node,
    crio::{OPTIONS, Places, by_command, defaults, is_given},
};
use portcullis_profile::{
    filter::digest::hex,
    settings::crio::{CrioConfig, Handler},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Our file, as a path of the node.
    pub(super) own: PathBuf,
    /// Its text.
    pub(super) text: Option<String>,
    /// What its text says.
    pub(super) written: Option<Written>,
    /// The configuration without it.
    pub(super) before: CrioConfig,
    /// The digest of what is copied from that.
    pub(super) digest: String,
    /// Whether CRI-O could not be asked for its defaults although it is there.
    pub(super) is_guessed: bool,
    /// What the owner should know of how it was read.
    pub(super) notes: Vec<String>,
    /// The defaults of this CRI-O.
    defaults: CrioConfig,
    /// The program, if it may be executed.
    program: Option<PathBuf>,
    /// The files on the host that CRI-O reads before ours, and those after it.
    files: (Vec<PathBuf>, Vec<PathBuf>),
}

impl Found {
    /// Reads everything.
    ///
    /// # Errors
    /// A file can't be read, or the configuration does not come from files alone.
    pub(super) fn look(node: &Node, folder: Option<&Path>) -> Result<Found, String> {
        let process = node.process("crio");
        let arguments = process.map(|process| process.arguments).unwrap_or_default();
        for option in OPTIONS {
            if is_given(&arguments, option) {
                return Err(format!(
                    "CRI-O's command line has {option}, which goes before every file: move it into a file in crio.conf.d"
                ));
            }
        }
        let places = Places::of(&arguments, folder);
        let own = places.folder.join(NAME);
        let all = places.files(node).map_err(|error| error.to_string())?;
        let first = all.first().cloned();
        let exists = |file: &PathBuf| Some(file) != first.as_ref() || file.exists();
        let all: Vec<PathBuf> = all.into_iter().filter(exists).collect();
        let ours = node.at(&own);
        let is_there = all.contains(&ours);
        let at = position(&all, &node.at(&places.folder));
        let after = all[at..].iter().filter(|file| **file != ours);
        let files = (all[..at].to_vec(), after.cloned().collect());
        let (text, written) = if is_there {
            if fs::symlink_metadata(&ours).is_ok_and(|data| data.is_symlink()) {
                return Err(format!("{} is a link: remove it", own.display()));
            }
            let text = node
                .read(&own)
                .map_err(|error| format!("{}: {error}", own.display()))?;
            let text = String::from_utf8_lossy(&text).into_owned();
            let written = Written::read(&own, &text)?;
            (Some(text), Some(written))
        } else {
            (None, None)
        };
        let installed = node.program("crio");
        let program = installed.clone().filter(|_| node.executes());
        let is_guessed = installed.is_some() && program.is_none();
        let notes = match (&installed, &program) {
            (Some(_), None) => vec!["crio is not executed below --root: what its files leave open is taken as in CRI-O 1.37; if you trust that root, add --execute".to_owned()],
            (None, _) => vec!["there is no crio in the folders of programs: what its files leave open is taken as in CRI-O 1.37".to_owned()],
            _ => Vec::new(),
        };
        let others = || files.0.iter().chain(&files.1);
        // Our messages about a broken file say more than CRI-O's.
        let mut config = CrioConfig::default();
        for file in others() {
            merge(&mut config, file)?;
        }
        let defaults = match &program {
            Some(program) => defaults(node, program)?,
            None => CrioConfig::default(),
        };
        let mut before = defaults.clone();
        for file in others() {
            merge(&mut before, file)?;
        }
        let digest = digest(&before)?;
        Ok(Found {
            own,
            text,
            written,
            before,
            digest,
            is_guessed,
            notes,
            defaults,
            program,
            files,
        })
    }

    /// Sees that CRI-O, with this drop-in, has what it had, and exactly ours beside it: by its files,
    /// and by what `crio config` makes of them.
    ///
    /// # Errors
    /// What is otherwise, and which file is at fault.
    pub(super) fn check(&self, node: &Node, ours: &DropIn, text: &str) -> Result<(), String> {
        let own = alone(&self.own, text).map_err(|error| error.to_string())?;
        let handlers = own.runtimes;
        let mut config = self.defaults.clone();
        for file in &self.files.0 {
            merge(&mut config, file)?;
        }
        let merged = config.merge(&self.own, text);
        merged.map_err(|error| error.to_string())?;
        for file in &self.files.1 {
            merge(&mut config, file)?;
            if let Some(what) = lost(ours, &handlers, &config) {
                return Err(format!(
                    "{} is read after {NAME} and replaces {what}: rename it, so that it sorts before that",
                    file.display()
                ));
            }
        }
        if let Some(what) = lost(ours, &handlers, &config) {
            return Err(format!(
                "{}: {what} would be read as something else",
                self.own.display()
            ));
        }
        let mut without = config.clone();
        without
            .runtimes
            .retain(|name, _| !ours.runtimes.contains_key(name));
        if ours.hooks_dir.is_some() {
            without.hooks_dir.clone_from(&self.before.hooks_dir);
        }
        if ours.default_runtime.is_some() {
            without
                .default_runtime
                .clone_from(&self.before.default_runtime);
        }
        if without != self.before {
            return Err(format!(
                "{} would change what is not ours",
                self.own.display()
            ));
        }
        if !config.runtimes.contains_key(&config.default_runtime) {
            return Err(format!(
                "CRI-O's default_runtime is {:?}, and there is no such handler: CRI-O does not start; see {}",
                config.default_runtime,
                self.setter(&config.default_runtime)
            ));
        }
        let Some(program) = &self.program else {
            return Ok(());
        };
        let theirs = self.ask(node, program, text, &config)?;
        lost(ours, &handlers, &theirs).map_or(Ok(()), |what| {
            Err(format!(
                "crio config reads {what} of {} otherwise than it was written",
                self.own.display()
            ))
        })
    }

    /// Sees that CRI-O starts without our drop-in.
    ///
    /// # Errors
    /// Its default handler is one of ours.
    pub(super) fn check_without(&self) -> Result<(), String> {
        let name = &self.before.default_runtime;
        if self.before.runtimes.contains_key(name) {
            return Ok(());
        }
        Err(format!(
            "without {NAME}, CRI-O's default_runtime {name:?} is no handler, and it does not start; change it in {}",
            self.setter(name)
        ))
    }

    /// The file that makes a handler the default one.
    fn setter(&self, name: &str) -> String {
        let mut config = self.defaults.clone();
        let mut setter = None;
        for file in self.files.0.iter().chain(&self.files.1) {
            config.default_runtime.clear();
            if config.merge_file(file).is_ok() && config.default_runtime == name {
                setter = Some(file.display().to_string());
            }
        }
        setter.unwrap_or_else(|| "its defaults".to_owned())
    }

    /// What `crio config` makes of the files, with ours among them: CRI-O reads links to all of them
    /// in a folder of their own, in the same order.
    fn ask(
        &self,
        node: &Node,
        program: &Path,
        text: &str,
        on_disk: &CrioConfig,
    ) -> Result<CrioConfig, String> {
        let stage = Stage::new(&self.files, text)
            .map_err(|error| format!("no folder to try the configuration in: {error}"))?;
        let nothing = Path::new("/dev/null");
        by_command(node, program, nothing, &stage.0, on_disk)
            .map_err(|error| format!("CRI-O does not accept its files with {NAME} ({error})"))
    }
}

/// Our drop-in, as a path of the node.
pub(super) fn own(node: &Node, folder: Option<&Path>) -> PathBuf {
    let process = node.process("crio");
    let arguments = process.map(|process| process.arguments).unwrap_or_default();
    Places::of(&arguments, folder).folder.join(NAME)
}

/// Merges a file.
fn merge(config: &mut CrioConfig, file: &Path) -> Result<(), String> {
    config
        .merge_file(file)
        .map_err(|error| format!("{error}; CRI-O does not start with it: fix it"))
}

/// Where our file stands among all, or would.
fn position(all: &[PathBuf], folder: &Path) -> usize {
    let is_later = |file: &PathBuf| {
        let below = file.strip_prefix(folder).ok();
        let first = below.and_then(|below| below.iter().next());
        first.is_some_and(|first| first >= NAME)
    };
    all.iter().position(is_later).unwrap_or(all.len())
}

/// What of ours a configuration does not have; `handlers` are ours as they were written.
fn lost(
    ours: &DropIn,
    handlers: &BTreeMap<String, Handler>,
    config: &CrioConfig,
) -> Option<String> {
    if ours
        .hooks_dir
        .as_ref()
        .is_some_and(|own| *own != config.hooks_dir)
    {
        return Some("hooks_dir".to_owned());
    }
    if ours
        .default_runtime
        .as_ref()
        .is_some_and(|own| *own != config.default_runtime)
    {
        return Some("default_runtime".to_owned());
    }
    let is_other = |(name, own): &(&String, &Handler)| {
        config.runtimes.get(*name).is_none_or(|read| {
            read.path != own.path
                || read.root != own.root
                || read.kind != own.kind
                || read.inherits
                || !read.platform_paths.is_empty()
        })
    };
    let other = handlers.iter().find(is_other);
    other.map(|(name, _)| format!("handler {name}"))
}

/// The digest of everything that a drop-in may be made from.
fn digest(config: &CrioConfig) -> Result<String, String> {
    #[derive(Serialize)]
    struct Read<'a> {
        default_runtime: &'a str,
        hooks_dir: &'a [PathBuf],
        conmon: Option<&'a Path>,
        runtimes: BTreeMap<&'a str, &'a toml::Table>,
    }
    let runtimes = config.runtimes.iter();
    let read = Read {
        default_runtime: &config.default_runtime,
        hooks_dir: &config.hooks_dir,
        conmon: config.conmon.as_deref(),
        runtimes: runtimes
            .map(|(name, own)| (name.as_str(), &own.table))
            .collect(),
    };
    let text = toml::to_string(&read).map_err(|error| error.to_string())?;
    Ok(hex(&Sha256::digest(text)))
}

/// A folder with links to CRI-O's files; it is removed at the end.
struct Stage(PathBuf);

impl Stage {
    fn new(files: &(Vec<PathBuf>, Vec<PathBuf>), text: &str) -> io::Result<Stage> {
        let template = std::env::temp_dir().join("portcullis-setup-XXXXXX");
        let stage = Stage(nix::unistd::mkdtemp(&template)?);
        let at = |number: usize| stage.0.join(format!("{number:08}"));
        let count = files.0.len();
        for (number, file) in files.0.iter().enumerate() {
            symlink(file, at(number))?;
        }
        fs::write(at(count), text)?;
        for (number, file) in files.1.iter().enumerate() {
            symlink(file, at(count + 1 + number))?;
        }
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // It is in the folder for temporary files, where leftovers are nobody's trouble.
        let _ = fs::remove_dir_all(&self.0);
    }
}
