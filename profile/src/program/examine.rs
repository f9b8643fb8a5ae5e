//! What a filter's program does, found out once: within one decision by keeping the programs, over
//! all of them by the memo.

use crate::{
    Filter,
    compare::{
        equality::equal_by,
        subset::{Excess, excess_by},
    },
    filter::{digest::FilterDigest, reader::Runtime},
    program::{
        bpf::Program,
        check::check,
        compile::{CompileError, compiled},
        memo::{Finding, Memo},
    },
};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, sync::Arc};

/// Why a filter can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is no program.
    #[error("libseccomp can't build the filter: {0}")]
    NotBuilt(String),
    /// There was none this time.
    #[error("libseccomp can't build the filter: {0}")]
    NotBuiltNow(String),
    /// Its program does something else than the filter asks for, or that can't be told.
    #[error("the filter would not do what it says: {0}")]
    OtherEffect(String),
}

impl Unusable {
    /// Whether it will be the same the next time.
    pub const fn is_lasting(&self) -> bool {
        !matches!(self, Unusable::NotBuiltNow(_))
    }
}

/// Examines filters, each of them once.
#[derive(Debug)]
pub struct Examiner<'a> {
    memo: &'a Memo,
    programs: Vec<(FilterDigest, Arc<Program>)>,
}

impl<'a> Examiner<'a> {
    /// One that goes by what is remembered.
    pub const fn new(memo: &'a Memo) -> Examiner<'a> {
        Examiner {
            memo,
            programs: Vec::new(),
        }
    }

    /// Whether a filter's program does what the filter asks for, whichever runtime reads it; what its
    /// author should know.
    ///
    /// # Errors
    /// It does not, there is none, or that can't be told.
    pub fn effect(&mut self, filter: &Filter, runtime: Runtime) -> Result<Vec<String>, Unusable> {
        let mut notes = Vec::new();
        for filter in readings(filter, runtime) {
            let digest = FilterDigest::of(&filter);
            let about = [digest.as_bytes(), word(runtime).as_bytes()];
            let key = self.memo.key("effect", &about);
            let found = if let Some(found) = self.memo.get(&key) {
                found
            } else {
                let found = self.find_effect(&filter, digest, runtime)?;
                self.memo.put(&key, &found);
                found
            };
            let found = match found {
                Finding::Good(notes) => notes,
                Finding::NotBuilt(why) => return Err(Unusable::NotBuilt(why)),
                Finding::OtherEffect(what) => return Err(Unusable::OtherEffect(what)),
            };
            for note in found {
                if !notes.contains(&note) {
                    notes.push(note);
                }
            }
        }
        Ok(notes)
    }

    /// What is found and will be found again.
    fn find_effect(
        &mut self,
        filter: &Filter,
        digest: FilterDigest,
        runtime: Runtime,
    ) -> Result<Finding, Unusable> {
        let program = match self.program(filter, digest) {
            Ok(program) => program,
            Err(error) if error.is_lasting() => return Ok(Finding::NotBuilt(error.to_string())),
            Err(error) => return Err(Unusable::NotBuiltNow(error.to_string())),
        };
        Ok(match check(filter, &program, runtime) {
            Ok(warnings) => Finding::Good(warnings.iter().map(ToString::to_string).collect()),
            Err(error) => Finding::OtherEffect(error.to_string()),
        })
    }

    /// Whether two filters are equal, whichever runtime reads them.
    ///
    /// # Errors
    /// As [`crate::equal`].
    pub fn equal(
        &mut self,
        a: &Filter,
        b: &Filter,
        runtime: Runtime,
    ) -> Result<bool, CompileError> {
        let runtimes: &[Runtime] = match runtime {
            Runtime::Either => &[Runtime::Crun, Runtime::Runc],
            Runtime::Crun => &[Runtime::Crun],
            Runtime::Runc => &[Runtime::Runc],
        };
        let most = if is_long(a) || is_long(b) { 2 } else { 1 };
        for runtime in runtimes.iter().take(most) {
            let (a, b) = (a.as_read_by(*runtime), b.as_read_by(*runtime));
            if !equal_by(&a, &b, &mut |filter| {
                self.program(filter, FilterDigest::of(filter))
            })? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What a filter allows in excess of another, whichever runtime reads the other.
    ///
    /// # Errors
    /// The excess, or why it can't be told.
    pub fn allows_no_more_than(
        &mut self,
        a: &Filter,
        b: &Filter,
        runtime: Runtime,
    ) -> Result<(), Excess> {
        readings(b, runtime).iter().try_for_each(|b| {
            excess_by(a, b, &mut |filter| {
                self.program(filter, FilterDigest::of(filter))
            })
        })
    }

    /// Whether a program from elsewhere does what a filter asks for, as crun reads it, or else is the
    /// one that the filter is compiled to: then it is no other filter's, whatever it is worth. crun
    /// may read the conditions of a rule to the sixth or all of them, depending on its version.
    ///
    /// # Errors
    /// It is neither, or that can't be told.
    pub fn is_compiled(&mut self, filter: &Filter, program: &[u8]) -> Result<(), Unusable> {
        let (program_digest, digest) = (Sha256::digest(program), FilterDigest::of(filter));
        let about = [&program_digest[..], digest.as_bytes()];
        let key = self.memo.key("compiled", &about);
        let found = if let Some(found) = self.memo.get(&key) {
            found
        } else {
            let found = match find_compiled(filter, program) {
                Finding::OtherEffect(what) if self.compiles_to(filter, program) => {
                    Finding::Good(vec![what])
                }
                found => found,
            };
            self.memo.put(&key, &found);
            found
        };
        match found {
            Finding::Good(_) => Ok(()),
            Finding::NotBuilt(why) => Err(Unusable::NotBuilt(why)),
            Finding::OtherEffect(what) => Err(Unusable::OtherEffect(what)),
        }
    }

    /// Whether this is what a filter is compiled to, as crun reads it.
    fn compiles_to(&mut self, filter: &Filter, program: &[u8]) -> bool {
        let Ok(program) = Program::parse(program) else {
            return false;
        };
        readings(filter, Runtime::Either).iter().any(|filter| {
            self.program(filter, FilterDigest::of(filter))
                .is_ok_and(|own| *own == program)
        })
    }

    fn program(
        &mut self,
        filter: &Filter,
        digest: FilterDigest,
    ) -> Result<Arc<Program>, CompileError> {
        if let Some((_, program)) = self.programs.iter().find(|(there, _)| *there == digest) {
            return Ok(Arc::clone(program));
        }
        let program = Arc::new(compiled(filter)?);
        self.programs.push((digest, Arc::clone(&program)));
        Ok(program)
    }
}

fn find_compiled(filter: &Filter, program: &[u8]) -> Finding {
    let program = match Program::parse(program) {
        Ok(program) => program,
        Err(error) => return Finding::NotBuilt(error.to_string()),
    };
    let mut found = Finding::Good(Vec::new());
    for filter in readings(filter, Runtime::Either) {
        match check(&filter, &program, Runtime::Crun) {
            Ok(_) => return Finding::Good(Vec::new()),
            Err(error) => found = Finding::OtherEffect(error.to_string()),
        }
    }
    found
}

/// Whether crun reads a filter otherwise than runc.
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

/// The ways in which a runtime may read a filter: two where it is not known which runtime it is and
/// they read it differently.
fn readings(filter: &Filter, runtime: Runtime) -> Vec<Cow<'_, Filter>> {
    match runtime {
        Runtime::Either if is_long(filter) => vec![
            filter.as_read_by(Runtime::Crun),
            filter.as_read_by(Runtime::Runc),
        ],
        known => vec![filter.as_read_by(known)],
    }
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
        // What is remembered is what counts: nothing is compiled again.
        for file in fs::read_dir(folder.path().join("checked")).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let turned = text.replace("\"good\":[]", "\"other-effect\":\"turned\"");
            fs::write(&path, turned).unwrap();
        }
        let turned = Unusable::OtherEffect("turned".to_owned());
        assert_eq!(look(&denying("mkdir")), Err(turned));
        // Another runtime or filter is another finding.
        let runc = Examiner::new(&memo).effect(&denying("mkdir"), Runtime::Runc);
        assert_eq!(runc, Ok(vec![]));
        assert_eq!(look(&denying("rmdir")), Ok(vec![]));
        assert_eq!(remembered(), 4);
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
}
