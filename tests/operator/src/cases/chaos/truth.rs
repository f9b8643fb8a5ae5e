//! What the objects say must be on the disk, and what status and report must say about it.

use crate::objects::file_name;
use anyhow::{Context, Result, bail, ensure};
use kube::api::DynamicObject;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// A system call for each profile, by which its rules are known in its file and in those of what is
/// based on it.
pub(super) const CALLS: [&str; 7] = [
    "acct", "chroot", "mkdir", "reboot", "rmdir", "swapoff", "swapon",
];
/// A name that makes a profile invalid.
pub(super) const UNKNOWN: &str = "mkdri";

/// The name of a profile.
pub(super) fn name_of(number: usize) -> String {
    format!("p{number}")
}

/// The profiles that there are, by name.
#[derive(Debug)]
pub(super) struct Profiles(BTreeMap<String, DynamicObject>);

/// What the file of a profile has to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// One with these calls and errnos.
    Rules(BTreeMap<String, u64>),
    /// None, unless it is used.
    Disabled,
    /// The last good one, if there was one.
    Invalid,
}

impl Profiles {
    pub(super) fn new(listed: Vec<DynamicObject>) -> Profiles {
        let named = listed
            .into_iter()
            .filter_map(|object| Some((object.metadata.name.clone()?, object)));
        Profiles(named.collect())
    }

    pub(super) fn is_going(&self, name: &str) -> bool {
        let profile = self.0.get(name);
        profile.is_some_and(|it| it.metadata.deletion_timestamp.is_some())
    }

    fn spec(&self, name: &str) -> &Value {
        self.0.get(name).map_or(&Value::Null, |it| &it.data["spec"])
    }

    /// A profile and its bases; `None` if there is no end to them, or one is missing.
    fn chain(&self, name: &str) -> Option<Vec<String>> {
        let mut chain = vec![name.to_owned()];
        loop {
            let last = chain.last()?;
            if !self.0.contains_key(last) {
                return None;
            }
            let Some(base) = self.spec(last)["baseProfileName"].as_str() else {
                return Some(chain);
            };
            if chain.iter().any(|it| it == base) {
                return None;
            }
            chain.push(base.to_owned());
        }
    }

    /// What a profile's file has to be.
    pub(super) fn expected(&self, name: &str) -> Expected {
        let mut rules = BTreeMap::new();
        let Some(chain) = self.chain(name) else {
            return Expected::Invalid;
        };
        for member in &chain {
            for rule in self.spec(member)["syscalls"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let call = rule["names"][0].as_str().unwrap_or_default();
                if call == UNKNOWN {
                    return Expected::Invalid;
                }
                rules.insert(call.to_owned(), rule["errnoRet"].as_u64().unwrap_or(0));
            }
        }
        if self.spec(name)["state"] == "Disabled" {
            return Expected::Disabled;
        }
        Expected::Rules(rules)
    }

    /// Whether a pod can start with a profile now: it stays, and its file is that of its present
    /// specification.
    pub(super) fn can_be_used(&self, name: &str, file: &Path) -> bool {
        let Expected::Rules(rules) = self.expected(name) else {
            return false;
        };
        !self.is_going(name) && rules_in(file).is_ok_and(|found| found == rules)
    }

    /// Whether a profile is in use by a pod that selects `selected`.
    fn is_used_by(&self, name: &str, selected: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = Some(selected);
        while let Some(member) = next.filter(|member| seen.insert(*member)) {
            if member == name {
                return true;
            }
            next = self.spec(member)["baseProfileName"].as_str();
        }
        false
    }

    /// Compares everything that is said with what is there. `pods` are those that run, each with the
    /// profile that it selects.
    pub(super) fn check(
        &self,
        folder: &Path,
        report: &DynamicObject,
        pods: &BTreeMap<String, String>,
    ) -> Result<()> {
        let mut files = files(folder)?;
        for (name, profile) in &self.0 {
            let file = file_name(name);
            let has_file = files.remove(&file);
            self.check_profile(name, profile, &folder.join(file), has_file, pods)
                .with_context(|| format!("{name}: {}", profile.data))?;
            let listed = listed(report, "installed", name);
            let failed = listed_failure(report, name);
            ensure!(
                has_file == (listed || failed.is_some_and(|it| it["generation"].is_i64())),
                "{name}: it has a file: {has_file}; its node says {}",
                report.data["spec"]
            );
        }
        ensure!(files.is_empty(), "files without a profile: {files:?}");
        let problem = &report.data["spec"]["problem"];
        ensure!(problem.is_null(), "the node has a problem: {problem}");
        Ok(())
    }

    fn check_profile(
        &self,
        name: &str,
        profile: &DynamicObject,
        file: &Path,
        has_file: bool,
        pods: &BTreeMap<String, String>,
    ) -> Result<()> {
        let status = &profile.data["status"];
        let generation = json!(profile.metadata.generation);
        ensure!(status["observedGeneration"] == generation, "an old status");
        let condition = |kind: &str| -> (String, String, String) {
            let all = status["conditions"].as_array().into_iter().flatten();
            let mut all = all.filter(|condition| condition["type"] == kind);
            all.next().map_or_else(Default::default, |it| {
                let part = |key: &str| it[key].as_str().unwrap_or_default().to_owned();
                (part("status"), part("reason"), part("message"))
            })
        };
        let (ready, reason, message) = condition("Ready");
        let selecting = pods.values().filter(|it| *it == name).count();
        let using = pods.values().filter(|it| self.is_used_by(name, it));
        let using = using.count();
        ensure!(status["pods"] == json!(using), "{using} pods use it");
        let says_in_use = condition("InUse").0 == "True";
        ensure!(says_in_use == (using > 0), "{using} pods use it");
        if self.is_going(name) {
            ensure!(using > 0, "no pod uses it, and it is still there");
            ensure!(
                ready == "False" && reason == "Deleting",
                "it is being deleted"
            );
            return Ok(());
        }
        match self.expected(name) {
            Expected::Rules(rules) => {
                let found = rules_in(file)?;
                ensure!(
                    found == rules,
                    "the file has {found:?} instead of {rules:?}"
                );
                ensure!(ready == "True" && status["nodes"] == "1/1", "it is ready");
            }
            Expected::Disabled => {
                ensure!(ready == "False" && reason == "Disabled", "it is disabled");
                let says = if selecting > 0 {
                    "its file stays, because it waits for"
                } else {
                    "no node has its file"
                };
                ensure!(message.contains(says), "{selecting} pods select it");
                ensure!(!has_file || selecting > 0, "it has a file for nobody");
            }
            Expected::Invalid => {
                ensure!(ready == "False" && reason == "Invalid", "it is not valid");
                ensure!(condition("Valid").0 == "False", "it is not valid");
                let says = if has_file {
                    "stays on 1 of 1 nodes"
                } else {
                    "no node has a file of it"
                };
                ensure!(message.contains(says), "it has a file: {has_file}");
            }
        }
        Ok(())
    }
}

fn listed(report: &DynamicObject, list: &str, name: &str) -> bool {
    let all = report.data["spec"][list].as_array();
    all.into_iter().flatten().any(|it| it["name"] == name)
}

fn listed_failure<'a>(report: &'a DynamicObject, name: &str) -> Option<&'a Value> {
    let all = report.data["spec"]["failed"].as_array();
    all.into_iter().flatten().find(|it| it["name"] == name)
}

/// The names of the files in a folder. The operator's own temporary ones do not count.
pub(super) fn files(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}

/// The rules of our calls in a file: the errno of each.
fn rules_in(file: &Path) -> Result<BTreeMap<String, u64>> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    let document: Value = serde_json::from_slice(&text)?;
    let Some(rules) = document["syscalls"].as_array() else {
        bail!("no rules: {document}");
    };
    let mut found = BTreeMap::new();
    for rule in rules {
        for name in rule["names"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            if CALLS.contains(&name) {
                found.insert(name.to_owned(), rule["errnoRet"].as_u64().unwrap_or(0));
            }
        }
    }
    Ok(found)
}
