//! Profile documents, in the OCI form and in the containers (Docker) form, and the filters that the
//! engines resolve them to.
//!
//! The OCI form is `linux.seccomp` of the runtime specification. The containers form adds
//! `archMap`, `includes` and `excludes`, a single `name`, and errno names; its meaning depends on
//! the container and the host. CRI-O and Podman read both through containers/common; containerd
//! reads only the OCI form.

mod condition;
mod error;
mod json;
pub mod kernel;
mod read;
mod reader;
#[cfg(test)]
mod tests;

pub use condition::CAPABILITIES;
pub use error::{DocumentError, Problem, Remark, Warning};
pub use reader::equal_folded;

use crate::{
    Action, Arch, ArgCondition, Engine, Filter, Flag, Rule, compose::inert::without_inert_rule,
    document::kernel::KernelVersion, filter::errno,
};
use condition::Condition;
use reader::Form;

/// A document that is valid by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    default_action: Action,
    default_errno: Errno,
    architectures: Vec<Arch>,
    arch_map: Vec<ArchEntry>,
    flags: Option<Vec<Flag>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Vec<Entry>,
    warnings: Vec<Warning>,
}

/// What resolving a document depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context<'a> {
    /// The engine.
    pub engine: Engine,
    /// The host's architecture; [`Arch::Native`] stands for [`Arch::HOST`].
    pub native: Arch,
    /// `process.capabilities.bounding` of the container; `None` if its configuration has no
    /// `process.capabilities`, empty if that has no `bounding`.
    pub bounding: Option<&'a [String]>,
    /// The host's kernel. It only matters for warnings, because no engine here reads `minKernel`;
    /// see [`Document::warnings_in`].
    pub kernel: KernelVersion,
}

/// One entry of `archMap`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ArchEntry {
    architecture: Arch,
    sub_architectures: Vec<Arch>,
    /// The error if this entry applies: its first unknown sub-architecture.
    unknown: Option<DocumentError>,
}

/// One entry of `syscalls`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    names: Vec<String>,
    /// Whether the name was given by `name`.
    single_name: bool,
    action: Action,
    errno: Errno,
    args: Vec<ArgCondition>,
    includes: Condition,
    excludes: Condition,
}

/// An errno as a number, as text (a known name or decimal digits, in range), or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Errno {
    number: Option<u16>,
    text: Option<String>,
}

impl Errno {
    /// The number that containers/common uses: the text takes precedence.
    fn resolve(&self, native: Arch, key: &'static str) -> Result<Option<u16>, DocumentError> {
        let Some(text) = &self.text else {
            return Ok(self.number);
        };
        let number = text.parse().ok().or_else(|| errno::number(text, native));
        if number.is_none() {
            let problem = Problem::ErrnoNumber(error::quoted(text));
            return Err(DocumentError {
                place: key.to_owned(),
                problem,
            });
        }
        Ok(number)
    }
}

impl Document {
    /// Reads a document of either form.
    ///
    /// # Errors
    /// The first of [`Document::problems`].
    pub fn parse(text: &[u8]) -> Result<Document, DocumentError> {
        parse(text, Form::Profile)
    }

    /// Everything that is wrong with a document, in its order, at most 100 problems. Empty if
    /// [`Document::parse`] succeeds.
    pub fn problems(text: &[u8]) -> Vec<DocumentError> {
        match json::parse(text) {
            Ok(root) => read::read(&root, Form::Profile, reader::MOST).problems,
            Err(error) => vec![error],
        }
    }

    /// Probable mistakes that do not prevent the document's use, at most 100.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// All warnings about the document for a container under an engine: [`Document::warnings`], and
    /// the entries that apply despite their `minKernel`.
    pub fn warnings_in(&self, context: &Context<'_>) -> Vec<Warning> {
        let mut warnings = self.warnings.clone();
        for (index, entry) in self.syscalls.iter().enumerate() {
            if let Some((side, minimum)) =
                condition::unmet_min_kernel(&entry.includes, &entry.excludes, context.kernel)
                && condition::applies(&entry.includes, &entry.excludes, context)
            {
                warnings.push(Warning {
                    place: format!("syscalls[{index}].{side}.minKernel"),
                    remark: Remark::AppliesAgainstMinKernel {
                        engine: context.engine,
                        minimum,
                        kernel: context.kernel,
                    },
                });
            }
        }
        warnings
    }

    /// Whether the filter depends on the container's capabilities.
    pub fn depends_on_capabilities(&self) -> bool {
        let mut conditions = self.syscalls.iter();
        conditions.any(|entry| !entry.includes.caps.is_empty() || !entry.excludes.caps.is_empty())
    }

    /// The filter that the engine would make from the document for one container, without our inert
    /// rule ([`crate::compose::inert`]).
    ///
    /// # Errors
    /// [`Problem::NotRead`] if the document uses the containers form and the engine would read
    /// another filter from it; [`Problem::ErrnoNumber`] for a name on an architecture with numbers
    /// of its own; [`Problem::Unknown`] if `archMap` has an unknown architecture for this host.
    pub fn resolve(&self, context: &Context<'_>) -> Result<Filter, DocumentError> {
        if context.engine.reads_oci_form_only() {
            self.check_oci_form(context)?;
        }
        let native = context.native.concrete();
        let mut architectures = self.architectures.clone();
        if native.reads_arch_map()
            && let Some(entry) = self
                .arch_map
                .iter()
                .find(|entry| entry.architecture == native)
        {
            if let Some(unknown) = &entry.unknown {
                return Err(unknown.clone());
            }
            architectures.push(entry.architecture);
            architectures.extend(&entry.sub_architectures);
        }
        let mut syscalls = Vec::with_capacity(self.syscalls.len());
        for (index, entry) in self.syscalls.iter().enumerate() {
            if !entry.names.is_empty()
                && condition::applies(&entry.includes, &entry.excludes, context)
            {
                let errno_ret = entry.errno.resolve(native, "errno");
                syscalls.push(Rule {
                    names: entry.names.clone(),
                    action: entry.action,
                    errno_ret: errno_ret.map_err(|error| inside(index, error))?,
                    args: entry.args.clone(),
                });
            }
        }
        Ok(without_inert_rule(Filter {
            default_action: self.default_action,
            default_errno_ret: self.default_errno.resolve(native, "defaultErrno")?,
            architectures,
            flags: self
                .flags
                .clone()
                .filter(|flags| !flags.is_empty() || !context.engine.drops_empty_flags()),
            listener_path: self.listener_path.clone(),
            listener_metadata: self.listener_metadata.clone(),
            syscalls,
        }))
    }

    /// Refuses what an engine that reads only the OCI form would silently ignore, if that changes
    /// the filter: for example, conditions would be lost.
    fn check_oci_form(&self, context: &Context<'_>) -> Result<(), DocumentError> {
        self.beyond_oci(context.native).map_or(Ok(()), |beyond| {
            Err(beyond.error(|key| Problem::NotRead {
                engine: context.engine,
                key,
            }))
        })
    }

    /// The first key of the containers form that makes another filter. An errno name beside the same
    /// number does not, and neither do empty lists and objects.
    fn beyond_oci(&self, native: Arch) -> Option<BeyondOci> {
        let is_lost = |errno: &Errno| match errno.resolve(native, "") {
            Ok(number) => number != errno.number,
            Err(_) => true,
        };
        let header = [
            ("archMap", !self.arch_map.is_empty()),
            ("defaultErrno", is_lost(&self.default_errno)),
        ];
        let of_header = header
            .into_iter()
            .find_map(|(key, lost)| lost.then_some(BeyondOci { entry: None, key }));
        of_header.or_else(|| {
            self.syscalls.iter().enumerate().find_map(|(index, entry)| {
                let keys = [
                    ("name", entry.single_name),
                    ("errno", is_lost(&entry.errno)),
                    ("includes", !entry.includes.is_empty()),
                    ("excludes", !entry.excludes.is_empty()),
                ];
                keys.into_iter().find_map(|(key, lost)| {
                    lost.then_some(BeyondOci {
                        entry: Some(index),
                        key,
                    })
                })
            })
        })
    }
}

/// A key of the containers form that makes another filter than the document has without it.
struct BeyondOci {
    /// The entry of `syscalls` that has it; `None`: the document itself.
    entry: Option<usize>,
    key: &'static str,
}

impl BeyondOci {
    fn error(&self, problem: impl FnOnce(&'static str) -> Problem) -> DocumentError {
        let error = DocumentError {
            place: String::new(),
            problem: problem(self.key),
        };
        match self.entry {
            Some(index) => inside(index, error),
            None => error,
        }
    }
}

/// Reads a document that is the same filter for every engine, container and host: one of the OCI
/// form. Such a filter can be changed and written again.
///
/// # Errors
/// As [`Document::parse`]; [`Problem::Conditional`] for a document of the containers form.
pub fn parse_unconditional(text: &[u8]) -> Result<Filter, DocumentError> {
    let document = Document::parse(text)?;
    match document.beyond_oci(Arch::HOST) {
        Some(beyond) => Err(beyond.error(Problem::Conditional)),
        None => document.resolve(&Context {
            engine: Engine::Containerd,
            native: Arch::HOST,
            bounding: None,
            kernel: KernelVersion {
                version: 0,
                revision: 0,
            },
        }),
    }
}

/// Reads `linux.seccomp` from a `config.json` that an engine wrote for a runtime: the OCI form;
/// every other key is ignored. Unknown names are left to the runtime, entries without names are
/// dropped, and a rule keeps all its conditions (see [`Filter::as_read_by`]). Our inert rule is
/// left out ([`crate::compose::inert`]).
///
/// # Errors
/// [`DocumentError`] if it is not JSON, if it has a value that is out of range or that runtimes
/// don't know, or if runtimes would read it differently (a key given twice or in another case, a
/// name with a NUL).
pub fn parse_filter(text: &[u8]) -> Result<Filter, DocumentError> {
    Ok(parse_filter_with_warnings(text)?.0)
}

/// Like [`parse_filter`], and also returns warnings: unknown names, an errno for an action that
/// takes none, rules with more conditions than crun reads.
///
/// # Errors
/// See [`parse_filter`].
pub fn parse_filter_with_warnings(text: &[u8]) -> Result<(Filter, Vec<Warning>), DocumentError> {
    let document = parse(text, Form::Config)?;
    let rules = document
        .syscalls
        .into_iter()
        .filter(|entry| !entry.names.is_empty());
    let filter = Filter {
        default_action: document.default_action,
        default_errno_ret: document.default_errno.number,
        architectures: document.architectures,
        flags: document.flags,
        listener_path: document.listener_path,
        listener_metadata: document.listener_metadata,
        syscalls: rules
            .map(|entry| Rule {
                names: entry.names,
                action: entry.action,
                errno_ret: entry.errno.number,
                args: entry.args,
            })
            .collect(),
    };
    Ok((without_inert_rule(filter), document.warnings))
}

fn parse(text: &[u8], form: Form) -> Result<Document, DocumentError> {
    let reading = read::read(&json::parse(text)?, form, 1);
    match reading.document {
        Some(document) => Ok(document),
        None => Err(reading
            .problems
            .into_iter()
            .next()
            .unwrap_or(DocumentError {
                place: String::new(),
                problem: Problem::Missing("defaultAction"),
            })),
    }
}

/// The same error, located in an entry of `syscalls`.
fn inside(index: usize, error: DocumentError) -> DocumentError {
    let separator = if error.place.is_empty() { "" } else { "." };
    DocumentError {
        place: format!("syscalls[{index}]{separator}{}", error.place),
        problem: error.problem,
    }
}
