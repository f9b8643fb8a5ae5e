//! What was found out about the profiles that containers select. While neither a profile's file nor the
//! settings change, the file is not read, checked and put into NRI's form again for each container.

use super::{policy, settings::Loaded};
use portcullis_nri::EncodedPolicy;
use portcullis_profile::{
    Engine, Filter,
    gate::{Gathered, Input, Need, PresentFilter, Recording, Stage, evaluate},
    root::{FileVersion, SeccompRoot},
    select::reference::ProfilePath,
};
use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// How many names and conditions of rules are remembered, in all profiles together: about 2 MiB.
const MAX_WEIGHT: usize = 8192;

/// What the facts depend on. Only containers without a filter are asked about, since nothing else has
/// to be known about theirs.
#[derive(Debug)]
pub(super) struct Question {
    root: PathBuf,
    path: ProfilePath,
    version: FileVersion,
    engine: Engine,
    settings: Loaded,
}

impl Question {
    /// The question that a container asks; `None` if the answer can't be remembered.
    pub(super) fn of(input: &Input<'_>, settings: &Loaded) -> Option<Question> {
        Question::with(input, settings, version)
    }

    /// The same; `None` also if it can't be known without waiting for a disk.
    pub(super) fn at_once(input: &Input<'_>, settings: &Loaded) -> Option<Question> {
        Question::with(input, settings, FileVersion::at_once)
    }

    fn with(
        input: &Input<'_>,
        settings: &Loaded,
        find: fn(&Path, &ProfilePath) -> Option<FileVersion>,
    ) -> Option<Question> {
        let is_plain = input.stage == Stage::Apply
            && input.present == PresentFilter::None
            && input.recording == Recording::Enforced
            && input.bounding.is_none();
        if !is_plain {
            return None;
        }
        let root = input.settings.ok()?.seccomp_root.clone();
        let nothing = Gathered::default();
        let Err(Need::Profile(path)) = evaluate(input, &nothing) else {
            return None;
        };
        let version = find(&root, &path)?;
        version.is_settled().then_some(Question {
            root,
            path,
            version,
            engine: input.engine,
            settings: Arc::clone(settings),
        })
    }

    fn is(&self, other: &Question) -> bool {
        self.version == other.version
            && self.path == other.path
            && self.root == other.root
            && self.engine == other.engine
            && Arc::ptr_eq(&self.settings, &other.settings)
    }
}

fn version(root: &Path, path: &ProfilePath) -> Option<FileVersion> {
    SeccompRoot::open(root).ok()?.version(path).ok()
}

/// One profile.
struct Entry {
    question: Question,
    facts: Gathered,
    filter: Arc<Filter>,
    policy: EncodedPolicy,
    weight: usize,
}

/// What is known. The profile that was asked for last is at the end.
#[derive(Default)]
pub(super) struct Known(Mutex<VecDeque<Entry>>);

impl Known {
    /// The facts for a question.
    pub(super) fn facts(&self, question: &Question) -> Option<Gathered> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = entries
            .iter()
            .position(|entry| entry.question.is(question))?;
        let entry = entries.remove(at)?;
        let facts = entry.facts.clone();
        entries.push_back(entry);
        Some(facts)
    }

    /// Remembers the facts by which a container got a filter, unless the file has changed since the
    /// question was asked.
    pub(super) fn remember(&self, question: Question, facts: Gathered, filter: &Arc<Filter>) {
        let weights = filter.syscalls.iter();
        let weights = weights.map(|rule| rule.names.len() + rule.args.len());
        let weight = 1 + weights.sum::<usize>();
        let is_all = facts.profile.is_some() && facts.engine_default.is_none();
        if !is_all
            || weight > MAX_WEIGHT
            || version(&question.root, &question.path) != Some(question.version)
        {
            return;
        }
        let entry = Entry {
            question,
            facts,
            filter: Arc::clone(filter),
            policy: EncodedPolicy::new(policy::of_filter(filter)),
            weight,
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Of each file, only the newest version is asked for.
        entries.retain(|other| other.question.path != entry.question.path);
        entries.push_back(entry);
        while entries.iter().map(|entry| entry.weight).sum::<usize>() > MAX_WEIGHT {
            entries.pop_front();
        }
    }

    /// The policy for a filter.
    pub(super) fn policy(&self, filter: &Arc<Filter>) -> EncodedPolicy {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latest = entries.iter().rev();
        match latest.find(|entry| Arc::ptr_eq(&entry.filter, filter)) {
            Some(entry) => entry.policy.clone(),
            None => EncodedPolicy::new(policy::of_filter(filter)),
        }
    }
}

#[cfg(test)]
impl Known {
    /// The paths of the profiles that are known.
    pub(super) fn paths(&self) -> Vec<String> {
        let entries = self.0.lock().unwrap();
        let path = |entry: &Entry| entry.question.path.as_str().to_owned();
        entries.iter().map(path).collect()
    }
}
