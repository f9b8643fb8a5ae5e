//! Which rules find a place in a policy. A long rule never takes the place of others, and a namespace
//! with many rules never that of another namespace.

use super::{Rule, RuleSet, Shards, cel};
use std::collections::{BTreeMap, BTreeSet};

/// How many code points the rules of all namespaces may have.
pub(super) const ALL: usize = 900_000;
/// How many those of one namespace may have.
const ONE_NAMESPACE: usize = 20_000;
/// How many one rule may have.
const ONE_RULE: usize = 4_000;

/// Why a rule found no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is too long itself.
    TooLarge,
    /// Its namespace, or the cluster, has too many.
    TooMany,
}

/// The rules of a rule set that found a place, as texts by namespace, and those that did not.
pub(super) struct Places<'a> {
    pub(super) texts: BTreeMap<&'a str, String>,
    pub(super) cut: BTreeMap<String, BTreeMap<String, Cut>>,
}

impl Places<'_> {
    /// Where there is no place for all, each namespace gets its first rule before any gets a second one,
    /// and so on.
    pub(super) fn of(rules: &RuleSet) -> Places<'_> {
        let all = rules.namespaces.iter();
        let mut all: Vec<Namespace<'_>> = all
            .map(|(name, rules)| Namespace::of(name, rules))
            .collect();
        let rounds = all.iter().map(|it| it.order.len()).max().unwrap_or(0);
        let mut left = ALL;
        for round in 0..rounds {
            for namespace in &mut all {
                namespace.take(round, &mut left);
            }
        }
        let mut places = Places {
            texts: BTreeMap::new(),
            cut: BTreeMap::new(),
        };
        for namespace in all {
            if !namespace.kept.is_empty() {
                places.texts.insert(namespace.name, namespace.text());
            }
            if !namespace.cut.is_empty() {
                places.cut.insert(namespace.name.to_owned(), namespace.cut);
            }
        }
        places
    }
}

/// The rules of a namespace.
struct Namespace<'a> {
    name: &'a str,
    rules: &'a [Rule],
    /// Those that find a place in the namespace, in the order in which they get one in the policy, with
    /// their lengths.
    order: Vec<(usize, usize)>,
    kept: BTreeSet<usize>,
    cut: BTreeMap<String, Cut>,
}

impl<'a> Namespace<'a> {
    /// Those that enforce come before others, and short ones before long ones.
    fn of(name: &'a str, rules: &'a [Rule]) -> Namespace<'a> {
        // With the line's end instead of the quotes.
        let lengths = rules.iter().map(|rule| cel::string(&rule.text()).len());
        let mut order: Vec<(usize, usize)> = lengths.enumerate().collect();
        order.sort_by_key(|(place, length)| (rules[*place].is_default(), *length, *place));
        let (mut cut, mut size) = (BTreeMap::new(), 0);
        order.retain(|(place, length)| {
            let why = if *length > ONE_RULE {
                Cut::TooLarge
            } else if size + length > ONE_NAMESPACE {
                Cut::TooMany
            } else {
                size += length;
                return true;
            };
            cut.insert(rules[*place].name.clone(), why);
            false
        });
        Namespace {
            name,
            rules,
            order,
            kept: BTreeSet::new(),
            cut,
        }
    }

    /// Gives a place to a rule, if enough is left.
    fn take(&mut self, round: usize, left: &mut usize) {
        let Some((place, mut length)) = self.order.get(round).copied() else {
            return;
        };
        if self.kept.is_empty() {
            length += Shards::size_of(self.name, "");
        }
        if length <= *left {
            *left -= length;
            self.kept.insert(place);
        } else {
            let name = self.rules[place].name.clone();
            self.cut.insert(name, Cut::TooMany);
        }
    }

    /// Those that have a place, in the order in which they decide.
    fn text(&self) -> String {
        let kept = self.kept.iter().map(|place| self.rules[*place].text());
        kept.collect::<Vec<_>>().join("\n")
    }
}
