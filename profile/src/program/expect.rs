//! What a filter says: the expected treatment of each call, by architecture, number and arguments,
//! in terms that can be compared with what a program does.

use crate::{
    Arch, ArgCondition, Filter, Operator,
    filter::Treatment,
    program::{
        calls::{Entry, Multiplexer, audit_arch, compares_low_halves, entry, library_knows},
        interpret::Call,
        region::{Region, lower, upper},
        walk::{WalkError, Walker},
    },
};
use std::{cmp::Ordering, collections::BTreeSet};

/// One rule for one name under one set of conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// Which entry of [`Filter::syscalls`].
    pub(crate) rule: usize,
    pub(crate) name: &'a str,
    pub(crate) treatment: Treatment,
    /// All of them must hold.
    conditions: &'a [ArgCondition],
    /// Whether the library that compiles knows the name on any architecture.
    pub(crate) known: bool,
}

/// A row on one architecture.
#[derive(Clone, Copy, Debug)]
struct Placed {
    number: u32,
    row: usize,
    /// Whether the library that compiles knows the number.
    in_library: bool,
}

/// A row behind a multiplexer.
#[derive(Clone, Copy, Debug)]
struct Behind {
    multiplexer: u32,
    call: u32,
    row: usize,
}

/// What is expected on one architecture.
#[derive(Debug)]
pub(crate) struct OnArch {
    pub(crate) arch: Arch,
    pub(crate) audit: u32,
    /// Sorted by number; those with the same number are in the order of the rules.
    placed: Vec<Placed>,
    /// Every number that has a rule, sorted.
    pub(crate) numbers: Vec<u32>,
    behind: Vec<Behind>,
    /// The highest number that any rule names; above it runc answers ENOSYS. `None` if it
    /// has no stub.
    pub(crate) stub_above: Option<u32>,
}

/// What a filter says.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    pub(crate) default: Treatment,
    pub(crate) rows: Vec<Row<'a>>,
    pub(crate) arches: Vec<OnArch>,
}

/// What is right for the calls of a region that no condition distinguishes.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    /// Any of these.
    pub(crate) any_of: Vec<Treatment>,
    /// The row for the first of them; `None` for the default.
    pub(crate) row: Option<usize>,
    /// The rows that match.
    pub(crate) matching: Vec<usize>,
    pub(crate) because: Because,
}

/// Why several treatments of a region are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Because {
    /// Only one is.
    Exact,
    /// Rules give different errnos.
    Errnos,
    /// A multiplexer does not show its calls' arguments, or its rules differ.
    Multiplexed,
    /// libseccomp may create no rule for this call behind a multiplexer.
    PerhapsLost,
    /// See [`CONTRADICTED_BY_DEFAULTS`].
    Contradiction,
    /// The library does not know a name in rules that are no stricter than the default.
    Unknown,
}

/// The call that the defaults of Podman and CRI-O (containers/common, all versions so far) allow to
/// everyone and, by a later rule, deny as their default action does, but with EPERM, to containers
/// without `CAP_SYS_ADMIN`. libseccomp keeps the first rule; the kernel asks for the capability
/// itself. Any other such pair of rules is a fault.
const CONTRADICTED_BY_DEFAULTS: &str = "setns";

fn matches(op: Operator, order: Ordering) -> bool {
    match op {
        Operator::Ne => order.is_ne(),
        Operator::Lt => order.is_lt(),
        Operator::Le => order.is_le(),
        Operator::Eq | Operator::MaskedEq => order.is_eq(),
        Operator::Ge => order.is_ge(),
        Operator::Gt => order.is_gt(),
    }
}

/// What is compared: `argument & mask` with a value.
fn compared(condition: &ArgCondition) -> (u64, u64) {
    match condition.op {
        Operator::MaskedEq => (condition.value, condition.value_two & condition.value),
        _ => (u64::MAX, condition.value),
    }
}

fn holds(condition: &ArgCondition, arch: Arch, call: &Call) -> bool {
    let (mut mask, mut value) = compared(condition);
    if compares_low_halves(arch) {
        (mask, value) = (u64::from(lower(mask)), u64::from(lower(value)));
    }
    let there = call.arguments.get(usize::from(condition.index));
    let order = there.map(|there| (there & mask).cmp(&value));
    order.is_some_and(|order| matches(condition.op, order))
}

/// A constant of a condition that has no meaning where only low halves are compared.
pub(crate) fn meaningless_constant(arch: Arch, conditions: &[ArgCondition]) -> Option<u64> {
    let is_meaningless = |value: &u64| !matches!(upper(*value), 0 | u32::MAX);
    let mut constants = conditions.iter().flat_map(|condition| {
        let second = (condition.op == Operator::MaskedEq).then_some(condition.value_two);
        [Some(condition.value), second].into_iter().flatten()
    });
    compares_low_halves(arch)
        .then(|| constants.find(is_meaningless))
        .flatten()
}

impl<'a> Expected<'a> {
    pub(crate) fn of(filter: &'a Filter) -> Expected<'a> {
        let default = Treatment::default_of(filter);
        let mut rows = Vec::new();
        for (rule, entry) in filter.syscalls.iter().enumerate() {
            let treatment = Treatment::of(entry.action, entry.errno_ret);
            // The runtimes leave it out.
            if treatment == default {
                continue;
            }
            let branches = entry.branches();
            for name in &entry.names {
                let known = library_knows(name);
                rows.extend(branches.iter().map(|conditions| Row {
                    rule,
                    name,
                    treatment,
                    conditions,
                    known,
                }));
            }
        }
        let listed: BTreeSet<Arch> = filter.architectures.iter().map(|a| a.concrete()).collect();
        // The runtimes always add the native one.
        let all: BTreeSet<Arch> = listed.iter().copied().chain([Arch::HOST]).collect();
        let stub = !filter.default_action.is_permissive_default();
        let arches = all.into_iter().filter_map(|arch| {
            let stub = stub && listed.contains(&arch);
            OnArch::of(filter, &rows, arch, stub)
        });
        Expected {
            default,
            arches: arches.collect(),
            rows,
        }
    }

    /// Splits a region of one number into parts in which no condition of that number's rules tells
    /// calls apart, and says of each what is right.
    pub(crate) fn expectations(
        &self,
        walker: &mut Walker,
        on: &OnArch,
        number: u32,
        region: &Region,
        mut visit: impl FnMut(&Region, Expectation),
    ) -> Result<(), WalkError> {
        let placed = on.placed_at(number);
        let behind: Vec<&Behind> = on
            .behind
            .iter()
            .filter(|b| b.multiplexer == number)
            .collect();
        if behind.is_empty() {
            return self.split(walker, on, placed, region, |part| {
                visit(part, self.direct(on, placed, part));
            });
        }
        let mut calls: Vec<u32> = behind.iter().map(|behind| behind.call).collect();
        calls.sort_unstable();
        calls.dedup();
        // Parts whose first argument is none of the calls so far.
        let mut rest = vec![*region];
        for call in calls {
            let mut others = Vec::new();
            for part in rest {
                on.split_argument(&part, 0, (u64::MAX, u64::from(call)), |order, part| {
                    if order.is_eq() {
                        let rows = || behind.iter().filter(|b| b.call == call).map(|b| b.row);
                        visit(&part, self.multiplexed(on, placed, rows, &part));
                    } else {
                        others.push(part);
                    }
                });
            }
            rest = others;
        }
        for part in rest {
            self.split(walker, on, placed, &part, |part| {
                visit(part, self.direct(on, placed, part));
            })?;
        }
        Ok(())
    }

    /// Splits a region by the conditions of rows, each only as far as it matters.
    fn split(
        &self,
        walker: &mut Walker,
        on: &OnArch,
        placed: &[Placed],
        region: &Region,
        mut visit: impl FnMut(&Region),
    ) -> Result<(), WalkError> {
        // A region, and the row and the condition of it that come next.
        let mut waiting = vec![(*region, 0, 0)];
        while let Some((region, mut at, mut next)) = waiting.pop() {
            let condition = loop {
                let Some(placed) = placed.get(at) else {
                    break None;
                };
                if let Some(condition) = self.rows[placed.row].conditions.get(next) {
                    break Some(condition);
                }
                (at, next) = (at + 1, 0);
            };
            let Some(condition) = condition else {
                walker.count_region(&region)?;
                visit(&region);
                continue;
            };
            on.split_argument(
                &region,
                condition.index,
                compared(condition),
                |order, part| {
                    waiting.push(if matches(condition.op, order) {
                        (part, at, next + 1)
                    } else {
                        (part, at + 1, 0)
                    });
                },
            );
        }
        Ok(())
    }

    fn is_met(&self, on: &OnArch, row: usize, call: &Call) -> bool {
        let mut conditions = self.rows[row].conditions.iter();
        conditions.all(|condition| holds(condition, on.arch, call))
    }

    /// The strictest of the matching rows, or else the default.
    fn direct(&self, on: &OnArch, placed: &[Placed], part: &Region) -> Expectation {
        let call = part.sample();
        let met = |known_only: bool| {
            let met = placed
                .iter()
                .filter(move |placed| placed.in_library || !known_only)
                .map(|placed| placed.row);
            met.filter(|row| self.is_met(on, *row, &call))
        };
        let matching: Vec<usize> = met(false).collect();
        let mut expectation = self.strictest(matching);
        // Also accept what a library does that does not know a name, if that is no looser.
        let without = self.strictest(met(true).collect());
        if without.any_of[0].action <= expectation.any_of[0].action
            && without
                .any_of
                .iter()
                .any(|t| !expectation.any_of.contains(t))
        {
            expectation.any_of.extend(without.any_of);
            expectation.because = Because::Unknown;
        }
        expectation
    }

    fn strictest(&self, matching: Vec<usize>) -> Expectation {
        let treatment = |row: &usize| self.rows[*row].treatment;
        let Some(first) = matching
            .iter()
            .min_by_key(|row| treatment(row).action)
            .copied()
        else {
            return Expectation {
                any_of: vec![self.default],
                row: None,
                matching,
                because: Because::Exact,
            };
        };
        let action = treatment(&first).action;
        let mut any_of = vec![treatment(&first)];
        for other in matching.iter().map(treatment) {
            if other.action == action && !any_of.contains(&other) {
                any_of.push(other);
            }
        }
        let mut because = match any_of.len() {
            1 => Because::Exact,
            _ => Because::Errnos,
        };
        let is_tolerated = |row: &usize| {
            let row = &self.rows[*row];
            row.name == CONTRADICTED_BY_DEFAULTS && row.conditions.is_empty()
        };
        if action == self.default.action && matching.iter().all(is_tolerated) {
            let looser = matching.iter().map(treatment);
            for looser in looser.filter(|looser| looser.action > action) {
                if !any_of.contains(&looser) {
                    any_of.push(looser);
                }
                because = Because::Contradiction;
            }
        }
        Expectation {
            any_of,
            row: Some(first),
            matching,
            because,
        }
    }

    /// Any treatment of the calls behind a multiplexer, of the multiplexer itself, or the default.
    fn multiplexed<I: Iterator<Item = usize>>(
        &self,
        on: &OnArch,
        placed: &[Placed],
        behind: impl Fn() -> I,
        part: &Region,
    ) -> Expectation {
        let call = part.sample();
        let own = placed.iter().map(|placed| placed.row);
        let own = own.filter(|row| self.is_met(on, *row, &call));
        let matching: Vec<usize> = behind().chain(own).collect();
        let mut any_of: Vec<Treatment> = Vec::new();
        for treatment in matching.iter().map(|row| self.rows[*row].treatment) {
            if !any_of.contains(&treatment) {
                any_of.push(treatment);
            }
        }
        let conditional = behind().any(|row| !self.rows[row].conditions.is_empty());
        let because = if conditional || any_of.len() > 1 {
            Because::Multiplexed
        } else {
            Because::PerhapsLost
        };
        any_of.push(self.default);
        Expectation {
            any_of,
            row: matching.first().copied(),
            matching,
            because,
        }
    }
}

impl OnArch {
    fn of(filter: &Filter, rows: &[Row<'_>], arch: Arch, stub: bool) -> Option<OnArch> {
        let audit = audit_arch(arch)?;
        let mut placed = Vec::new();
        let mut behind = Vec::new();
        let multiplexers = Multiplexer::ALL.map(|by| (by, entry(by.name(), arch).number()));
        let mut last: Option<(&str, Entry)> = None;
        for (index, row) in rows.iter().enumerate() {
            let entry = match last {
                Some((name, found)) if name == row.name => found,
                _ => entry(row.name, arch),
            };
            last = Some((row.name, entry));
            placed.extend(entry.number().map(|number| Placed {
                number,
                row: index,
                in_library: entry.is_in_library(),
            }));
            let multiplexer = entry.behind.and_then(|(by, call)| {
                let (_, number) = multiplexers.iter().find(|(there, _)| *there == by)?;
                Some(((*number)?, call))
            });
            behind.extend(multiplexer.map(|(multiplexer, call)| Behind {
                multiplexer,
                call,
                row: index,
            }));
        }
        placed.sort_by_key(|placed| placed.number);
        let mut numbers: Vec<u32> = placed.iter().map(|placed| placed.number).collect();
        numbers.extend(behind.iter().map(|behind| behind.multiplexer));
        numbers.sort_unstable();
        numbers.dedup();
        let named = || {
            filter
                .names()
                .filter_map(|name| entry(name, arch).in_library)
        };
        Some(OnArch {
            arch,
            audit,
            placed,
            numbers,
            behind,
            stub_above: stub.then(|| named().max().unwrap_or(0)),
        })
    }

    fn placed_at(&self, number: u32) -> &[Placed] {
        let begin = self.placed.partition_point(|placed| placed.number < number);
        let end = self
            .placed
            .partition_point(|placed| placed.number <= number);
        &self.placed[begin..end]
    }

    /// The first rule for a number.
    pub(crate) fn first_row(&self, number: u32) -> Option<usize> {
        self.placed_at(number).first().map(|placed| placed.row)
    }

    /// The rows that are here, by a number or behind a multiplexer.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> {
        let placed = self.placed.iter().map(|placed| placed.row);
        placed.chain(self.behind.iter().map(|behind| behind.row))
    }

    fn split_argument(
        &self,
        region: &Region,
        argument: u8,
        (mask, value): (u64, u64),
        part: impl FnMut(Ordering, Region),
    ) {
        if compares_low_halves(self.arch) {
            region.split_low_half(argument, mask, value, part);
        } else {
            region.split_argument(argument, mask, value, part);
        }
    }
}

impl Row<'_> {
    pub(crate) const fn conditions(&self) -> &[ArgCondition] {
        self.conditions
    }
}
