//! Whether a program does what its filter says.
//!
//! What libseccomp does by design is not a fault: 32-bit architectures compare only the low halves
//! of arguments, multiplexers hide the arguments of the calls behind them, calls of unlisted
//! architectures are killed, and runc replaces the default by ENOSYS for newer calls.

mod report;

pub use report::{CheckError, Fault, Faults, Warning};

use crate::{
    Arch, Filter,
    filter::{ARGUMENTS, Treatment, reader::Runtime},
    program::{
        bpf::Program,
        calls::{X32_BIT, audit_arch},
        expect::{Because, Expectation, Expected, OnArch, meaningless_constant},
        interpret::{ARCH, NUMBER},
        region::{Region, Word},
        walk::{Leaf, Walker},
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// How many faults are kept. More are only counted.
const KEPT: usize = 16;

/// Checks that a program treats every call as its filter says.
///
/// `runtime` says whose program it is: only runc's may contain an ENOSYS stub. The filter must be
/// as that runtime reads it ([`Filter::as_read_by`]).
///
/// # Errors
/// It treats a call differently, or can't be checked.
pub fn check(
    filter: &Filter,
    program: &Program,
    runtime: Runtime,
) -> Result<Vec<Warning>, CheckError> {
    let expected = Expected::of(filter);
    let mut checker = Checker {
        expected: &expected,
        stub: runtime != Runtime::Crun,
        faults: Faults::default(),
        seen: BTreeSet::new(),
        errnos: BTreeSet::new(),
        contradictions: BTreeSet::new(),
        multiplexed: BTreeMap::new(),
        unfiltered: BTreeMap::new(),
        unknown: BTreeSet::new(),
    };
    checker.look_at_rules(filter);
    if checker.faults.first.is_empty() {
        Walker::default().walk(program, |walker, leaf| checker.look_at(walker, leaf))?;
    }
    checker.end()
}

struct Checker<'a, 'b> {
    expected: &'b Expected<'a>,
    /// Whether runc's ENOSYS may replace the default.
    stub: bool,
    faults: Faults,
    /// What was already reported, by rule, name and architecture.
    seen: BTreeSet<(Option<usize>, &'a str, Arch)>,
    errnos: BTreeSet<(&'a str, (usize, usize))>,
    contradictions: BTreeSet<(&'a str, (usize, usize), Treatment)>,
    multiplexed: BTreeMap<(Arch, u32), BTreeSet<&'a str>>,
    unfiltered: BTreeMap<(Arch, u32), BTreeSet<&'a str>>,
    unknown: BTreeSet<&'a str>,
}

impl<'a> Checker<'a, '_> {
    fn fault(&mut self, fault: Fault) {
        if self.faults.first.len() < KEPT {
            self.faults.first.push(fault);
        } else {
            self.faults.more += 1;
        }
    }

    /// Finds faults in the rules that do not depend on their program.
    fn look_at_rules(&mut self, filter: &'a Filter) {
        for (rule, entry) in filter.syscalls.iter().enumerate() {
            for name in entry.names.iter().filter(|name| name.contains('\0')) {
                let name = format!("{name:?}");
                self.fault(Fault::Name { rule, name });
            }
            if let Some(arg) = entry.args.iter().find(|arg| arg.index >= ARGUMENTS) {
                let index = arg.index;
                self.fault(Fault::Argument { rule, index });
            }
        }
        let expected = self.expected;
        let mut named: BTreeSet<&str> = BTreeSet::new();
        for row in expected.rows.iter().filter(|row| !row.known) {
            let has_number = || crate::filter::syscalls::is_known(row.name);
            if row.treatment.action >= expected.default.action {
                self.unknown.insert(row.name);
            } else if !has_number() && named.insert(row.name) {
                let name = format!("{:?}", row.name);
                self.fault(Fault::Lost {
                    rule: row.rule,
                    name,
                });
            }
        }
        for on in &expected.arches {
            let rows: BTreeSet<usize> = on.rows().collect();
            for row in rows.into_iter().map(|row| &expected.rows[row]) {
                if let Some(value) = meaningless_constant(on.arch, row.conditions()) {
                    self.fault(Fault::Constant {
                        rule: row.rule,
                        name: row.name.to_owned(),
                        arch: on.arch,
                        value,
                    });
                }
            }
        }
    }

    /// Compares one region of the program with what the filter says about it.
    fn look_at(&mut self, walker: &mut Walker, leaf: &Leaf<'_>) -> Result<(), CheckError> {
        let found = Treatment::of_answer(leaf.returns);
        let arches = *leaf.region.word(ARCH);
        let missing = leaf.missing_arches();
        let expected = self.expected;
        let mut audits: Vec<u32> = expected.arches.iter().map(|on| on.audit).collect();
        audits.sort_unstable();
        audits.dedup();
        for audit in &audits {
            if arches.contains(*audit) && missing.binary_search(audit).is_err() {
                let region = leaf.region.with(ARCH, Word::exactly(*audit));
                self.look_at_arch(walker, leaf, &region, found)?;
            }
        }
        let listed = |arch: u32| audits.binary_search(&arch).is_ok();
        let is_there = |arch: u32| !listed(arch) && missing.binary_search(&arch).is_err();
        if let Some(arch) = first(&arches, is_there)
            && !self.kills(found)
        {
            let number = leaf.region.word(NUMBER).low;
            self.fault(Fault::Foreign {
                arch,
                number,
                found,
            });
        }
        Ok(())
    }

    fn kills(&self, found: Treatment) -> bool {
        use crate::Action::{KillProcess, KillThread};
        matches!(found.action, KillProcess | KillThread) || (self.stub && found == Treatment::STUB)
    }

    /// Checks a region of one listed architecture.
    fn look_at_arch(
        &mut self,
        walker: &mut Walker,
        leaf: &Leaf<'_>,
        region: &Region,
        found: Treatment,
    ) -> Result<(), CheckError> {
        let expected = self.expected;
        let audit = region.word(ARCH).low;
        let on = |arch: Arch| expected.arches.iter().find(|on| on.arch == arch);
        let missing = leaf.missing_numbers();
        if Some(audit) != audit_arch(Arch::X86_64) {
            if let Some(on) = expected.arches.iter().find(|on| on.audit == audit) {
                self.look_at_numbers(walker, on, region, &missing, found)?;
            }
            return Ok(());
        }
        // Two architectures share this one; -1, which a tracer leaves, belongs to neither.
        let numbers = region.word(NUMBER);
        for (arch, low, high) in [
            (Arch::X86_64, 0, X32_BIT - 1),
            (Arch::X32, X32_BIT, u32::MAX - 1),
            (Arch::X86_64, u32::MAX, u32::MAX),
        ] {
            let Some(part) = numbers.within(low, high) else {
                continue;
            };
            let either = || on(Arch::X86_64).or_else(|| on(Arch::X32));
            let on = if low == u32::MAX { either() } else { on(arch) };
            if let Some(on) = on {
                let region = region.with(NUMBER, part);
                self.look_at_numbers(walker, on, &region, &missing, found)?;
            } else if let Some(number) = first(&part, |n| missing.binary_search(&n).is_err())
                && !self.kills(found)
            {
                self.fault(Fault::Foreign {
                    arch: audit,
                    number,
                    found,
                });
            }
        }
        Ok(())
    }

    fn look_at_numbers(
        &mut self,
        walker: &mut Walker,
        on: &OnArch,
        region: &Region,
        missing: &[u32],
        found: Treatment,
    ) -> Result<(), CheckError> {
        let numbers = *region.word(NUMBER);
        let begin = on.numbers.partition_point(|number| *number < numbers.low);
        let is_there = |number: u32| missing.binary_search(&number).is_err();
        let named = on.numbers[begin..].iter().copied();
        for number in named.take_while(|number| *number <= numbers.high) {
            if numbers.contains(number) && is_there(number) {
                let region = region.with(NUMBER, Word::exactly(number));
                let expected = self.expected;
                expected.expectations(walker, on, number, &region, |_, expectation| {
                    self.compare(on, number, &expectation, found);
                })?;
            }
        }
        let is_unnamed =
            |number: u32| is_there(number) && on.numbers.binary_search(&number).is_err();
        if found == self.expected.default {
            return Ok(());
        }
        if let Some(number) = first(&numbers, is_unnamed)
            && !(self.is_stub(on, number, found))
            && self.seen.insert((None, "", on.arch))
        {
            self.fault(Fault::Default {
                number,
                name: None,
                arch: on.arch,
                expected: self.expected.default,
                found,
            });
        }
        Ok(())
    }

    /// Whether runc's stub answers a call.
    fn is_stub(&self, on: &OnArch, number: u32, found: Treatment) -> bool {
        let above = |limit: u32| number > limit;
        self.stub && found == Treatment::STUB && on.stub_above.is_some_and(above)
    }

    /// Compares what a program does with what it should do.
    fn compare(&mut self, on: &OnArch, number: u32, expectation: &Expectation, found: Treatment) {
        let rows = &self.expected.rows;
        let row = expectation.row.map(|row| &rows[row]);
        if expectation.any_of.contains(&found) {
            match expectation.because {
                Because::Exact | Because::Unknown => {}
                Because::Errnos => {
                    let mut rules = expectation.matching.iter().map(|row| &rows[*row]);
                    let other = rules.find(|other| {
                        row.is_some_and(|row| {
                            other.treatment.action == row.treatment.action
                                && other.treatment != row.treatment
                        })
                    });
                    if let (Some(row), Some(other)) = (row, other) {
                        self.errnos.insert((row.name, (row.rule, other.rule)));
                    }
                }
                Because::Contradiction => {
                    let mut rules = expectation.matching.iter().map(|row| &rows[*row]);
                    let allowing = rules.find(|other| {
                        row.is_some_and(|row| other.treatment.action > row.treatment.action)
                    });
                    if let (Some(row), Some(other)) = (row, allowing) {
                        let rules = (row.rule, other.rule);
                        self.contradictions.insert((row.name, rules, found));
                    }
                }
                Because::PerhapsLost if found == expectation.any_of[0] => {}
                Because::PerhapsLost => {
                    let names = expectation.matching.iter().map(|row| rows[*row].name);
                    let there = self.unfiltered.entry((on.arch, number)).or_default();
                    there.extend(names);
                }
                Because::Multiplexed => {
                    let names = expectation.matching.iter().map(|row| rows[*row].name);
                    let there = self.multiplexed.entry((on.arch, number)).or_default();
                    there.extend(names);
                }
            }
            return;
        }
        let expected = expectation.any_of[0];
        let name = row.map_or("", |row| row.name);
        let rule = row.map(|row| row.rule);
        if row.is_none() && self.is_stub(on, number, found) {
            return;
        }
        let fault = match row {
            Some(row) => {
                let mut matching = expectation.matching.iter().map(|row| &rows[*row]);
                let other = matching.find(|other| other.treatment == found);
                Fault::Rule {
                    rule: row.rule,
                    name: row.name.to_owned(),
                    arch: on.arch,
                    expected,
                    found,
                    other: other.map(|other| other.rule),
                    known: row.known,
                }
            }
            None => Fault::Default {
                number,
                name: on.first_row(number).map(|row| rows[row].name.to_owned()),
                arch: on.arch,
                expected,
                found,
            },
        };
        // Report once for each rule and name, and each default of other calls.
        let key = (rule, name, on.arch);
        if rule.is_none() || self.seen.insert(key) {
            self.fault(fault);
        }
    }

    fn end(self) -> Result<Vec<Warning>, CheckError> {
        if !self.faults.first.is_empty() {
            return Err(CheckError::Faults(self.faults));
        }
        let owned = |names: BTreeSet<&str>| names.into_iter().map(str::to_owned).collect();
        let mut warnings: Vec<Warning> = self
            .errnos
            .into_iter()
            .map(|(name, rules)| Warning::Errnos {
                name: name.to_owned(),
                rules,
            })
            .collect();
        let contradictions = self.contradictions.into_iter();
        warnings.extend(
            contradictions.map(|(name, rules, found)| Warning::Contradiction {
                name: name.to_owned(),
                rules,
                found,
            }),
        );
        let multiplexed = self.multiplexed.into_iter();
        warnings.extend(
            multiplexed.map(|((arch, number), names)| Warning::Multiplexed {
                arch,
                number,
                names: owned(names),
            }),
        );
        let unfiltered = self.unfiltered.into_iter();
        warnings.extend(
            unfiltered.map(|((arch, number), names)| Warning::Unfiltered {
                arch,
                number,
                names: owned(names),
            }),
        );
        if !self.unknown.is_empty() {
            warnings.push(Warning::Unknown(owned(self.unknown)));
        }
        Ok(warnings)
    }
}

/// The smallest matching member of a set.
fn first(set: &Word, wanted: impl Fn(u32) -> bool) -> Option<u32> {
    let mut next = Some(set.low);
    while let Some(member) = next {
        if wanted(member) {
            return Some(member);
        }
        next = member.checked_add(1).and_then(|from| set.from(from));
    }
    None
}

#[cfg(test)]
mod tests;
