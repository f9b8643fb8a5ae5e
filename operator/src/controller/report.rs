//! What the controller keeps of a node's report: small, since there are as many entries as nodes
//! times profiles.

use crate::{crd::SeccompNodeSpec, stored::StoredNode};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Texts that many reports share, each kept once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: BTreeSet<Arc<str>>,
    tidy_at: usize,
}

impl Texts {
    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.all.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.all.insert(Arc::clone(&shared));
        shared
    }

    /// Forgets what no report has any more, where that may be much.
    pub(super) fn tidy(&mut self) {
        if self.all.len() > self.tidy_at {
            self.all.retain(|text| Arc::strong_count(text) > 1);
            self.tidy_at = 2 * self.all.len() + 1000;
        }
    }
}

/// What a node says of one profile.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Its file is right.
    Right,
    /// Why it has none.
    Failed(&'a str),
    /// It may have one, but its report is full: how many it leaves out.
    Full(u64),
    /// Nothing yet.
    Nothing,
}

/// A node's report.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Sorted by name.
    digests: Box<[(Arc<str>, u64)]>,
    failures: Box<[(Arc<str>, Arc<str>)]>,
    problem: Option<Arc<str>>,
    omitted: u64,
}

impl Report {
    pub(super) fn new(stored: &StoredNode, texts: &mut Texts) -> Report {
        match stored.report() {
            Ok(said) => Report::of(&said, texts),
            Err(error) => Report {
                problem: Some(texts.share(&format!("its SeccompNode: {error}"))),
                ..Report::default()
            },
        }
    }

    fn of(said: &SeccompNodeSpec, texts: &mut Texts) -> Report {
        Report {
            digests: said
                .profiles
                .iter()
                .filter_map(|(name, digest)| Some((texts.share(name), number(digest)?)))
                .collect(),
            failures: sharing(&said.failures, texts),
            problem: said.problem.as_deref().map(|text| texts.share(text)),
            omitted: said.omitted,
        }
    }

    /// What it says of a profile whose file has to have this digest.
    pub(super) fn says(&self, name: &str, digest: u64) -> Said<'_> {
        let there = find(&self.digests, name);
        if there == Some(&digest) {
            return Said::Right;
        }
        match (find(&self.failures, name), &self.problem) {
            (Some(reason), _) => Said::Failed(reason),
            // What is named is not left out.
            (None, _) if self.omitted > 0 && there.is_none() => Said::Full(self.omitted),
            (None, Some(problem)) if self.omitted == 0 => Said::Failed(problem),
            _ => Said::Nothing,
        }
    }
}

fn sharing(map: &BTreeMap<String, String>, texts: &mut Texts) -> Box<[(Arc<str>, Arc<str>)]> {
    map.iter()
        .map(|(name, text)| (texts.share(name), texts.share(text)))
        .collect()
}

fn find<'a, T>(sorted: &'a [(Arc<str>, T)], name: &str) -> Option<&'a T> {
    let at = sorted.binary_search_by(|(other, _)| (**other).cmp(name));
    at.ok().map(|at| &sorted[at].1)
}

/// A digest as a number; nothing where it is none.
pub(super) fn number(digest: &str) -> Option<u64> {
    let plain = digest.len() == 16 && !digest.starts_with('+');
    plain.then(|| u64::from_str_radix(digest, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(spec: &serde_json::Value) -> Report {
        let object = json!({"metadata": {"name": "n"}, "spec": spec});
        let stored = serde_json::from_str(&object.to_string()).unwrap();
        Report::new(&stored, &mut Texts::default())
    }

    #[test]
    fn a_report_says_what_is_right_what_failed_and_what_it_leaves_out() {
        let said = report(
            &json!({"profiles": {"a": "00000000000000ff", "b": "00000000000000fe", "odd": "ff"},
            "failures": {"c": "a foreign file"}, "omitted": 0}),
        );
        assert_eq!(said.says("a", 255), Said::Right);
        assert_eq!(said.says("b", 255), Said::Nothing);
        assert_eq!(said.says("odd", 255), Said::Nothing);
        assert_eq!(said.says("c", 255), Said::Failed("a foreign file"));
        assert_eq!(said.says("d", 255), Said::Nothing);
        let full = report(
            &json!({"profiles": {"a": "00000000000000ff", "b": "00000000000000fe"},
            "failures": {}, "omitted": 7, "problem": "its SeccompNode is full"}),
        );
        assert_eq!(full.says("a", 255), Said::Right);
        assert_eq!(full.says("b", 255), Said::Nothing);
        assert_eq!(full.says("z", 255), Said::Full(7));
    }

    #[test]
    fn a_report_that_is_not_understood_is_a_problem_of_its_node() {
        for spec in [json!(null), json!("text"), json!({"profiles": 7})] {
            let said = report(&spec);
            let Said::Failed(problem) = said.says("a", 1) else {
                panic!("{said:?}");
            };
            assert!(problem.contains("can't be read"), "{problem}");
        }
    }

    #[test]
    fn texts_that_nobody_has_are_forgotten() {
        let mut texts = Texts::default();
        let kept = texts.share("a");
        for index in 0..2000 {
            texts.share(&index.to_string());
        }
        texts.tidy();
        assert_eq!(texts.all.len(), 1);
        assert!(Arc::ptr_eq(&kept, &texts.share("a")));
    }
}
