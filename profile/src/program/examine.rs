//! Examines what the program of a filter does, only once: within a decision, programs are kept;
//! across decisions, the memo keeps the findings.

use crate::{
    Filter,
    compare::{
        equality::{equal_by, same_effect},
        subset::{Excess, excess_by},
    },
    filter::{digest::FilterDigest, reader::Runtime},
    program::{
        bpf::Program,
        check::check,
        compile::{CompileError, compiled_for},
        layout::{Programs, may_be_a_tree},
        limits::Limits,
        memo::{Finding, Memo},
    },
};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, sync::Arc};

/// Why a filter can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It does not compile.
    #[error("libseccomp can't build the filter: {0}")]
    NotBuilt(String),
    /// It did not compile this time.
    #[error("libseccomp can't build the filter: {0}")]
    NotBuiltNow(String),
    /// Its program does something else than the filter asks for, or that can't be told.
    #[error("the compiled filter would not do what the profile says: {0}")]
    OtherEffect(String),
}

impl Unusable {
    /// Whether the next attempt would fail as well.
    pub const fn is_lasting(&self) -> bool {
        !matches!(self, Unusable::NotBuiltNow(_))
    }
}

/// Why a filter can't be used under [`Limits`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeds {
    /// It does what they exclude.
    #[error("{0}")]
    NotAllowed(String),
    /// What it does can't be determined.
    #[error(transparent)]
    Unchecked(#[from] Unusable),
}

/// Examines filters, each only once.
#[derive(Debug)]
pub struct Examiner<'a> {
    memo: &'a Memo,
    /// With the filter's digest, and whether a tree is looked at too.
    programs: Vec<(FilterDigest, bool, Arc<Programs>)>,
}

impl<'a> Examiner<'a> {
    /// An examiner that uses the findings in a memo.
    pub const fn new(memo: &'a Memo) -> Examiner<'a> {
        Examiner {
            memo,
            programs: Vec::new(),
        }
    }

    /// Checks that a filter's program does what the filter says, whichever runtime reads it.
    /// Returns warnings for its author.
    ///
    /// # Errors
    /// It does not, it does not compile, or that can't be determined.
    pub fn effect(&mut self, filter: &Filter, runtime: Runtime) -> Result<Vec<String>, Unusable> {
        let mut notes = Vec::new();
        for (runtime, filter) in readings(filter, runtime) {
            let digest = FilterDigest::of(&filter);
            let about = [digest.as_bytes(), word(runtime).as_bytes()];
            let found =
                self.remembered("effect", &about, |own| own.find_effect(&filter, runtime))?;
            let found = usable(found)?;
            for note in found {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        Ok(notes)
    }

    /// Checks that a filter does nothing that the limits exclude, whichever runtime reads it.
    ///
    /// # Errors
    /// It does, or that can't be determined.
    pub fn within(
        &mut self,
        filter: &Filter,
        limits: &Limits,
        runtime: Runtime,
    ) -> Result<(), Exceeds> {
        if limits.is_empty() {
            return Ok(());
        }
        let of_limits = limits.digest();
        for (runtime, filter) in readings(filter, runtime) {
            let digest = FilterDigest::of(&filter);
            let about = [digest.as_bytes(), &of_limits, word(runtime).as_bytes()];
            let found = self.remembered("limits", &about, |own| {
                own.find_excess(&filter, limits, runtime)
            })?;
            match found {
                Finding::OtherEffect(excess) => return Err(Exceeds::NotAllowed(excess)),
                other => drop(usable(other)?),
            }
        }
        Ok(())
    }

    fn find_excess(
        &mut self,
        filter: &Filter,
        limits: &Limits,
        runtime: Runtime,
    ) -> Result<Finding, Unusable> {
        let programs = match self.programs(filter, runtime) {
            Ok(programs) => programs,
            Err(error) if error.is_lasting() => return Ok(Finding::NotBuilt(error.to_string())),
            Err(error) => return Err(Unusable::NotBuiltNow(error.to_string())),
        };
        match limits.excess(filter, &programs) {
            Ok(None) => Ok(Finding::Good(Vec::new())),
            Ok(Some(excess)) => Ok(Finding::OtherEffect(excess.to_string())),
            Err(error) => Err(Unusable::OtherEffect(error.to_string())),
        }
    }

    /// The finding about these things: the remembered one, or what `find` finds. An error of `find`
    /// is not remembered, because the next attempt may succeed.
    fn remembered<E>(
        &mut self,
        what: &str,
        about: &[&[u8]],
        find: impl FnOnce(&mut Self) -> Result<Finding, E>,
    ) -> Result<Finding, E> {
        let key = self.memo.key(what, about);
        if let Some(found) = self.memo.get(&key) {
            return Ok(found);
        }
        let found = find(self)?;
        self.memo.put(&key, &found);
        Ok(found)
    }

    fn find_effect(&mut self, filter: &Filter, runtime: Runtime) -> Result<Finding, Unusable> {
        let programs = match self.programs(filter, runtime) {
            Ok(programs) => programs,
            Err(error) if error.is_lasting() => return Ok(Finding::NotBuilt(error.to_string())),
            Err(error) => return Err(Unusable::NotBuiltNow(error.to_string())),
        };
        let mut notes: Vec<String> = Vec::new();
        for program in programs.each() {
            match check(filter, program, runtime) {
                Ok(warnings) => notes.extend(warnings.iter().map(ToString::to_string)),
                Err(error) => return Ok(Finding::OtherEffect(error.to_string())),
            }
        }
        Ok(Finding::Good(notes))
    }

    /// Whether two filters are equal, whichever runtime reads them.
    ///
    /// # Errors
    /// See [`crate::equal`].
    pub fn equal(
        &mut self,
        a: &Filter,
        b: &Filter,
        runtime: Runtime,
    ) -> Result<bool, CompileError> {
        for runtime in readers(is_long(a) || is_long(b), runtime) {
            let (a, b) = (a.as_read_by(*runtime), b.as_read_by(*runtime));
            if !equal_by(&a, &b, &mut |a, b| self.do_the_same(a, b, *runtime))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the programs of two filters do the same, as the memo or the programs say.
    fn do_the_same(
        &mut self,
        a: &Filter,
        b: &Filter,
        runtime: Runtime,
    ) -> Result<bool, CompileError> {
        let digests = [FilterDigest::of(a), FilterDigest::of(b)];
        let found = self.remembered("equal", &about(&digests, runtime), |own| {
            let (a, b) = (own.programs(a, runtime)?, own.programs(b, runtime)?);
            Ok::<_, CompileError>(if same_effect(&a, &b) {
                Finding::Good(Vec::new())
            } else {
                Finding::OtherEffect(String::new())
            })
        })?;
        Ok(matches!(found, Finding::Good(_)))
    }

    /// Checks that a filter allows no more than another, whichever runtime reads the other one.
    ///
    /// # Errors
    /// The excess, or why it can't be determined.
    pub fn allows_no_more_than(
        &mut self,
        a: &Filter,
        b: &Filter,
        runtime: Runtime,
    ) -> Result<(), Excess> {
        readings(b, runtime).iter().try_for_each(|(runtime, b)| {
            let a = a.as_read_by(*runtime);
            let digests = [FilterDigest::of(&a), FilterDigest::of(b)];
            // An excess is looked for again, so that all of it can be said.
            let found = self.remembered("no more", &about(&digests, *runtime), |own| {
                excess_by(&a, b, &mut |filter| own.programs(filter, *runtime))?;
                Ok(Finding::Good(Vec::new()))
            });
            found.map(drop)
        })
    }

    /// Checks that a foreign program does what a filter says, as read by crun, or is exactly what the
    /// filter is compiled to: then it is no other filter's, whatever it is worth. Depending on its
    /// version, crun reads only six conditions of a rule or all of them.
    ///
    /// # Errors
    /// It is neither, or that can't be determined.
    pub fn is_compiled(&mut self, filter: &Filter, program: &[u8]) -> Result<(), Unusable> {
        let (program_digest, digest) = (Sha256::digest(program), FilterDigest::of(filter));
        let about = [&program_digest[..], digest.as_bytes()];
        let found =
            self.remembered("compiled", &about, |own| own.find_compiled(filter, program))?;
        usable(found).map(drop)
    }

    fn find_compiled(&mut self, filter: &Filter, program: &[u8]) -> Result<Finding, Unusable> {
        let program = match Program::parse(program) {
            Ok(program) => program,
            Err(error) => return Ok(Finding::NotBuilt(error.to_string())),
        };
        let readings = readings(filter, Runtime::Either);
        let mut said = String::new();
        for (_, filter) in &readings {
            match check(filter, &program, Runtime::Crun) {
                Ok(_) => return Ok(Finding::Good(Vec::new())),
                Err(error) => said = error.to_string(),
            }
        }
        for (_, filter) in &readings {
            match self.programs(filter, Runtime::Crun) {
                Ok(own) if own.each().any(|own| *own == program) => {
                    return Ok(Finding::Good(vec![said]));
                }
                Err(error) if !error.is_lasting() => {
                    return Err(Unusable::NotBuiltNow(error.to_string()));
                }
                _ => {}
            }
        }
        Ok(Finding::OtherEffect(said))
    }

    fn programs(
        &mut self,
        filter: &Filter,
        runtime: Runtime,
    ) -> Result<Arc<Programs>, CompileError> {
        let digest = FilterDigest::of(filter);
        let tree = may_be_a_tree(filter, runtime);
        let mut known = self.programs.iter();
        if let Some((_, _, programs)) = known.find(|(of, with, _)| *of == digest && *with == tree) {
            return Ok(Arc::clone(programs));
        }
        let programs = Arc::new(compiled_for(filter, runtime)?);
        self.programs.push((digest, tree, Arc::clone(&programs)));
        Ok(programs)
    }
}

/// What a finding about two filters is about.
fn about(digests: &[FilterDigest; 2], runtime: Runtime) -> [&[u8]; 3] {
    [
        digests[0].as_bytes(),
        digests[1].as_bytes(),
        word(runtime).as_bytes(),
    ]
}

/// The warnings of a good finding.
fn usable(found: Finding) -> Result<Vec<String>, Unusable> {
    match found {
        Finding::Good(notes) => Ok(notes),
        Finding::NotBuilt(why) => Err(Unusable::NotBuilt(why)),
        Finding::OtherEffect(what) => Err(Unusable::OtherEffect(what)),
    }
}

/// Whether crun reads a filter differently from runc.
fn is_long(filter: &Filter) -> bool {
    filter.rules_beyond_crun().next().is_some()
}

const fn word(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Crun => "crun",
        Runtime::Runc => "runc",
        Runtime::Either => "either",
    }
}

/// The runtimes that have to be asked one by one: two where it is not known which one it is and they
/// read a filter differently.
const fn readers(is_long: bool, runtime: Runtime) -> &'static [Runtime] {
    match runtime {
        Runtime::Either if is_long => &[Runtime::Crun, Runtime::Runc],
        Runtime::Either => &[Runtime::Either],
        Runtime::Crun => &[Runtime::Crun],
        Runtime::Runc => &[Runtime::Runc],
    }
}

/// The ways in which a runtime may read a filter.
fn readings(filter: &Filter, runtime: Runtime) -> Vec<(Runtime, Cow<'_, Filter>)> {
    readers(is_long(filter), runtime)
        .iter()
        .map(|runtime| (*runtime, filter.as_read_by(*runtime)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, Arch, ArgCondition, Operator,
        fixtures::{is, rule},
        program::compile::compile,
    };
    use std::fs;

    /// libseccomp 2.5.4 applies no native rule of it.
    fn lost() -> Filter {
        let mode = ArgCondition {
            op: Operator::Ne,
            ..is(1, 0)
        };
        Filter {
            architectures: vec![Arch::X86_64, Arch::X32],
            syscalls: vec![
                rule(&["mkdir"], Action::Errno, &[mode]),
                rule(&["umount"], Action::Errno, &[]),
            ],
            ..Filter::new(Action::Allow)
        }
    }

    fn denying(name: &str) -> Filter {
        Filter {
            syscalls: vec![rule(&[name], Action::Errno, &[])],
            ..Filter::new(Action::Allow)
        }
    }

    #[test]
    fn a_finding_is_the_same_from_the_memo_good_or_bad() {
        let folder = tempfile::tempdir().unwrap();
        let memo = Memo::at(&folder.path().join("checked"), "gate");
        let look = |filter: &Filter| Examiner::new(&memo).effect(filter, Runtime::Crun);
        let remembered = || fs::read_dir(folder.path().join("checked")).unwrap().count();
        for (filter, is_good) in [(denying("mkdir"), true), (lost(), false)] {
            let first = look(&filter);
            assert_eq!(first.is_ok(), is_good, "{first:?}");
            assert_eq!(look(&filter), first);
        }
        assert_eq!(remembered(), 2);
        // The remembered finding is used: nothing is compiled again.
        for file in fs::read_dir(folder.path().join("checked")).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let turned = text.replace("\"good\":[]", "\"other-effect\":\"turned\"");
            fs::write(&path, turned).unwrap();
        }
        let turned = Unusable::OtherEffect("turned".to_owned());
        assert_eq!(look(&denying("mkdir")), Err(turned));
        // Another runtime or filter has another finding.
        let runc = Examiner::new(&memo).effect(&denying("mkdir"), Runtime::Runc);
        assert_eq!(runc, Ok(vec![]));
        assert_eq!(look(&denying("rmdir")), Ok(vec![]));
        assert_eq!(remembered(), 4);
    }

    /// libseccomp 2.5.4 gets it right in one layout and wrong in the other: on x32 its binary tree
    /// compares the third argument of `truncate` where it should be the second.
    fn wrong_as_a_tree() -> Filter {
        let more_than = |value| ArgCondition {
            op: Operator::Gt,
            ..is(1, value)
        };
        let names: Vec<String> = (0..32)
            .map(|number| format!("not_a_call_{number}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Filter {
            architectures: vec![Arch::X86_64, Arch::X32],
            syscalls: vec![
                rule(&["truncate", "kill"], Action::Errno, &[more_than(1)]),
                rule(&["truncate"], Action::Errno, &[is(1, 1), is(2, 1)]),
                rule(&["kill"], Action::Errno, &[is(1, 6)]),
                // runc counts what it then leaves out.
                rule(&names, Action::Allow, &[]),
            ],
            ..Filter::new(Action::Allow)
        }
    }

    #[test]
    fn a_filter_is_looked_at_in_every_layout_that_its_runtime_may_choose() {
        let memo = Memo::none();
        let look = |filter: &Filter, runtime| Examiner::new(&memo).effect(filter, runtime);
        let filter = wrong_as_a_tree();
        for runtime in [Runtime::Crun, Runtime::Either] {
            assert_eq!(look(&filter, runtime), Ok(vec![]));
        }
        let Err(Unusable::OtherEffect(said)) = look(&filter, Runtime::Runc) else {
            panic!("it is taken");
        };
        assert!(said.contains("(truncate) on SCMP_ARCH_X32"), "{said}");
        let mut short = filter.clone();
        short.syscalls.truncate(3);
        assert_eq!(look(&short, Runtime::Runc), Ok(vec![]));
        // And so does equality: under crun they are.
        let equal = |runtime| {
            Examiner::new(&memo)
                .equal(&filter, &short, runtime)
                .unwrap()
        };
        assert!(equal(Runtime::Crun) && equal(Runtime::Either));
        assert!(!equal(Runtime::Runc));
    }

    #[test]
    fn each_program_from_elsewhere_is_looked_at_for_each_filter() {
        let folder = tempfile::tempdir().unwrap();
        let memo = Memo::at(&folder.path().join("checked"), "gate");
        let names = ["mkdir", "rmdir"];
        let programs = names.map(|name| compile(&denying(name)).unwrap());
        for _ in 0..2 {
            for (of_filter, name) in names.iter().enumerate() {
                for (of_program, program) in programs.iter().enumerate() {
                    let found = Examiner::new(&memo).is_compiled(&denying(name), program);
                    assert_eq!(found.is_ok(), of_filter == of_program, "{found:?}");
                }
            }
        }
        let remembered = fs::read_dir(folder.path().join("checked")).unwrap();
        assert_eq!(remembered.count(), 4);
    }

    #[test]
    fn a_program_is_a_filters_by_what_it_does_or_by_being_what_the_filter_is_compiled_to() {
        let folder = tempfile::tempdir().unwrap();
        let remembered = Memo::at(&folder.path().join("checked"), "gate");
        let lost_too = Filter {
            syscalls: vec![
                lost().syscalls[0].clone(),
                rule(&["vm86"], Action::Errno, &[]),
                rule(&["rmdir"], Action::Errno, &[is(1, 3)]),
            ],
            ..lost()
        };
        for memo in [&Memo::none(), &remembered, &remembered] {
            let is_of = |filter: &Filter, other: &Filter| {
                let program = compile(other).unwrap();
                Examiner::new(memo).is_compiled(filter, &program).is_ok()
            };
            for filter in [denying("mkdir"), lost()] {
                assert!(is_of(&filter, &filter));
            }
            assert!(!is_of(&denying("mkdir"), &denying("rmdir")));
            assert!(!is_of(&denying("mkdir"), &lost()));
            assert!(!is_of(&lost_too, &lost()));
        }
    }

    #[test]
    fn one_program_serves_comparing_and_the_check() {
        let memo = Memo::none();
        let mut examiner = Examiner::new(&memo);
        let twice = |value| Filter {
            syscalls: vec![
                rule(&["socket"], Action::Errno, &[is(0, value)]),
                rule(&["socket"], Action::Errno, &[is(0, 2)]),
            ],
            ..Filter::new(Action::Allow)
        };
        let (a, mut b) = (twice(1), twice(1));
        b.syscalls.reverse();
        assert!(examiner.equal(&a, &b, Runtime::Crun).unwrap());
        assert_eq!(examiner.programs.len(), 2);
        examiner.effect(&a, Runtime::Crun).unwrap();
        examiner.effect(&b, Runtime::Runc).unwrap();
        assert_eq!(examiner.programs.len(), 2);
    }

    #[test]
    fn filters_are_compared_by_their_programs_once_and_each_pair_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let memo = Memo::at(&folder.path().join("checked"), "gate");
        let twice = |name: &str| Filter {
            syscalls: vec![
                rule(&[name], Action::Errno, &[is(0, 1)]),
                rule(&[name], Action::Errno, &[is(0, 1)]),
                rule(&["unlink"], Action::Errno, &[]),
            ],
            ..Filter::new(Action::Allow)
        };
        let once = |name: &str| Filter {
            syscalls: twice(name).syscalls[1..].to_vec(),
            ..twice(name)
        };
        for round in 0..2 {
            for (a, b, same) in [
                (twice("mkdir"), once("mkdir"), true),
                (twice("mkdir"), once("rmdir"), false),
                (twice("rmdir"), once("rmdir"), true),
            ] {
                let mut examiner = Examiner::new(&memo);
                assert_eq!(examiner.equal(&a, &b, Runtime::Crun).unwrap(), same);
                assert_eq!(examiner.programs.is_empty(), round > 0);
                let mut examiner = Examiner::new(&memo);
                let excess = examiner.allows_no_more_than(&a, &b, Runtime::Crun);
                assert_eq!(excess.is_ok(), same, "{excess:?}");
                // What is refused is looked at again, so that all of it can be said.
                assert_eq!(examiner.programs.is_empty(), round > 0 && same);
            }
        }
    }

    #[test]
    fn what_may_be_otherwise_the_next_time_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let memo = Memo::at(&folder.path().join("checked"), "gate");
        let find = |found: Result<Finding, &'static str>| {
            Examiner::new(&memo).remembered("x", &[b"a"], |_| found)
        };
        assert_eq!(find(Err("too busy")), Err("too busy"));
        let bad = || Ok(Finding::OtherEffect("said".to_owned()));
        assert_eq!(find(bad()), bad());
        assert_eq!(find(Err("never asked")), bad());
    }
}
