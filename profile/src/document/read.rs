//! From JSON to a document: the only validator, for both forms and for `linux.seccomp` as written
//! by an engine. It continues after a problem, so that all problems are reported at once.

use super::{
    ArchEntry, Document, Entry, Errno,
    condition::{CAPABILITIES, Condition},
    error::{DocumentError, Problem, Remark, quoted},
    json::Node,
    reader::{Form, Keys, MOST_KEYS, Members, Reader, Step},
};
use crate::{
    Action, Arch, ArgCondition, Flag, Operator,
    compose::inert::is_inert_name,
    document::kernel::KernelVersion,
    filter::errno,
    filter::nearest::nearest,
    filter::syscalls,
    filter::{ARGUMENTS, MAX_ERRNO},
};
use std::str::FromStr;

const DOCUMENT: Keys = (
    &[
        "defaultAction",
        "defaultErrnoRet",
        "architectures",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
    ],
    &["defaultErrno", "archMap"],
);
const ENTRY: Keys = (
    &["names", "action", "errnoRet", "args"],
    &["name", "errno", "comment", "includes", "excludes"],
);
const ARGUMENT: Keys = (&["index", "value", "valueTwo", "op"], &[]);
const ARCH_ENTRY: Keys = (&[], &["architecture", "subArchitectures"]);
const CONDITION: Keys = (&[], &["caps", "arches", "minKernel"]);

const _: () = {
    let objects = [DOCUMENT, ENTRY, ARGUMENT, ARCH_ENTRY, CONDITION];
    let mut index = 0;
    while index < objects.len() {
        assert!(objects[index].0.len() + objects[index].1.len() <= MOST_KEYS);
        index += 1;
    }
};

/// Everything found in a document. The document itself is there only if nothing is wrong.
pub(super) struct Reading {
    pub(super) document: Option<Document>,
    pub(super) problems: Vec<DocumentError>,
}

/// Reads and checks a whole document, and keeps the first `most` problems.
pub(super) fn read(root: &Node<'_>, form: Form, most: usize) -> Reading {
    let mut reader = Reader::new(form, most);
    let document = reader.document(root);
    let document = document
        .filter(|_| reader.problems.is_empty())
        .map(|document| Document {
            warnings: std::mem::take(&mut reader.warnings),
            ..document
        });
    Reading {
        document,
        problems: reader.problems,
    }
}

impl Reader {
    fn document(&mut self, root: &Node<'_>) -> Option<Document> {
        let members = self.members(root, DOCUMENT)?;
        let default_action = self.required(&members, "defaultAction", |reader, node| {
            let action = reader.known::<Action>(node, "action", Action::ALL, Action::as_str)?;
            if action == Action::Notify && reader.form == Form::Profile {
                reader.problem(Problem::Notify("the default action"));
            }
            Some(action)
        });
        self.default_action = default_action;
        let default_errno = self.errno(&members, "defaultErrno", "defaultErrnoRet", default_action);
        let architectures = self.list(&members, "architectures", Reader::architecture);
        let arch_map = self.list(&members, "archMap", Reader::arch_entry);
        if !architectures.is_empty() && !arch_map.is_empty() {
            self.problem(Problem::Both("architectures", "archMap"));
        }
        let flags = self.list(&members, "flags", |reader, node| {
            reader.known(node, "flag", Flag::ALL, Flag::as_str)
        });
        let flags_given = members.get("flags").is_some();
        if flags_given && flags.is_empty() && self.form == Form::Profile {
            self.warning_at("flags", || Remark::EmptyFlags);
        }
        let listener_path = self.optional(&members, "listenerPath", Reader::owned);
        let listener_metadata = self.optional(&members, "listenerMetadata", Reader::owned);
        let syscalls = self.list(&members, "syscalls", Reader::entry);
        if self.form == Form::Profile && listener_path.is_none() {
            if let Some(place) = self.notifies.take()
                && self.problems.len() < self.most
            {
                self.problems.push(DocumentError {
                    place,
                    problem: Problem::NoListener,
                });
            }
            if listener_metadata.is_some() {
                self.warning_with(|| Remark::MetadataWithoutListener);
            }
        }
        Some(Document {
            default_action: default_action?,
            default_errno,
            architectures,
            arch_map,
            flags: flags_given.then_some(flags),
            listener_path,
            listener_metadata,
            syscalls,
            warnings: Vec::new(),
        })
    }

    fn entry(&mut self, node: &Node<'_>) -> Option<Entry> {
        let members = self.members(node, ENTRY)?;
        let action = self.required(&members, "action", |reader, node| {
            reader.known(node, "action", Action::ALL, Action::as_str)
        });
        let notifies = action == Some(Action::Notify);
        if notifies && self.notifies.is_none() {
            self.notifies = Some(self.inside(Step::Key("action"), |reader| reader.place()));
        }
        let mut names = self.list(&members, "names", |reader, node| reader.call(node, action));
        let name = self.optional(&members, "name", |reader, node| reader.call(node, action));
        let single_name = name.is_some();
        match (name, members.get("names")) {
            (Some(_), Some(Node::List(list))) if !list.is_empty() => {
                self.problem(Problem::Both("name", "names"));
            }
            (Some(name), _) => names.push(name),
            (None, Some(Node::List(list))) if list.is_empty() && self.form == Form::Profile => {
                if self.protects(action) {
                    self.problem_at("names", Problem::NoNames);
                } else {
                    self.warning_at("names", || Remark::NoNames);
                }
            }
            (None, None) if !members.gives("name") => {
                if self.form == Form::Config || self.protects(action) {
                    self.problem(Problem::Missing("names"));
                } else {
                    self.warning_with(|| Remark::NoNames);
                }
            }
            (None, _) => {}
        }
        let errno = self.errno(&members, "errno", "errnoRet", action);
        let args = self.list(&members, "args", Reader::argument);
        if args.len() > usize::from(ARGUMENTS) {
            self.warning_at("args", || Remark::TooManyConditions);
        }
        if self.form == Form::Profile {
            self.optional(&members, "comment", |reader, node| {
                reader.text(node).map(drop)
            });
        }
        let includes = self.given(&members, "includes", Reader::condition);
        let excludes = self.given(&members, "excludes", Reader::condition);
        Some(Entry {
            names,
            single_name,
            action: action?,
            errno,
            args,
            includes: includes.unwrap_or_default(),
            excludes: excludes.unwrap_or_default(),
        })
    }

    /// The name of a system call in an entry with this action.
    fn call(&mut self, node: &Node<'_>, action: Option<Action>) -> Option<String> {
        let name = self.c_text(node)?;
        if !syscalls::is_known(name) && (!is_inert_name(name) || self.protects(action)) {
            // runc refuses an empty name in any rule.
            let refused = name.is_empty() || self.protects(action);
            if self.form == Form::Config {
                self.warning_with(|| Remark::UnknownCall {
                    name: quoted(name),
                    nearest: None,
                });
            } else if refused {
                self.problem_with(|| Problem::Unknown {
                    what: "system call",
                    name: quoted(name),
                    nearest: syscalls::nearest(name),
                });
                return None;
            } else {
                self.warning_with(|| Remark::UnknownCall {
                    name: quoted(name),
                    nearest: syscalls::nearest(name),
                });
            }
        }
        if action == Some(Action::Notify) && name == "write" && self.form == Form::Profile {
            self.problem(Problem::Notify("used for write"));
        }
        Some(name.to_owned())
    }

    /// A condition. A missing number is 0, because the engines are written in Go.
    fn argument(&mut self, node: &Node<'_>) -> Option<ArgCondition> {
        let members = self.members(node, ARGUMENT)?;
        let index = self.whole(&members, "index", u64::from(ARGUMENTS - 1));
        let value = self.whole(&members, "value", u64::MAX);
        let value_two = self.whole(&members, "valueTwo", u64::MAX);
        let op = self.required(&members, "op", |reader, node| {
            reader.known(node, "operator", Operator::ALL, Operator::as_str)
        });
        Some(ArgCondition {
            index: u8::try_from(index?).ok()?,
            value: value?,
            value_two: value_two?,
            op: op?,
        })
    }

    /// An entry of `archMap`; `None` if its architecture is unknown.
    fn arch_entry(&mut self, node: &Node<'_>) -> Option<ArchEntry> {
        let members = self.members(node, ARCH_ENTRY)?;
        let architecture = self.required(&members, "architecture", |reader, node| {
            let text = reader.text(node)?;
            let arch = Arch::from_str(text).ok();
            if arch.is_none() {
                reader.warning_with(|| unknown_arch(text));
            }
            arch
        });
        let mut unknown = None;
        let sub_architectures = self.list(&members, "subArchitectures", |reader, node| {
            let text = reader.text(node)?;
            let arch = Arch::from_str(text).ok();
            if arch.is_none() {
                reader.warning_with(|| unknown_arch(text));
                unknown.get_or_insert_with(|| DocumentError {
                    place: reader.place(),
                    problem: unsupported_arch(text),
                });
            }
            arch
        });
        Some(ArchEntry {
            architecture: architecture?,
            sub_architectures,
            unknown,
        })
    }

    fn architecture(&mut self, node: &Node<'_>) -> Option<Arch> {
        let text = self.text(node)?;
        let arch = Arch::from_str(text).ok();
        if arch.is_none() {
            self.problem_with(|| unsupported_arch(text));
        }
        arch
    }

    fn condition(&mut self, node: &Node<'_>) -> Option<Condition> {
        let members = self.members(node, CONDITION)?;
        let caps = self.list(&members, "caps", |reader, node| {
            let name = reader.text(node)?;
            if CAPABILITIES.binary_search(&name).is_err() {
                reader.warning_with(|| Remark::NeverMatches {
                    what: "capability",
                    name: quoted(name),
                    nearest: nearest_capability(name),
                });
            }
            Some(name.to_owned())
        });
        let arches = self.list(&members, "arches", |reader, node| {
            let name = reader.text(node)?;
            let known = || Arch::ALL.iter().filter_map(|arch| arch.go_name());
            if !known().any(|there| there == name) {
                reader.warning_with(|| Remark::NeverMatches {
                    what: "architecture",
                    name: quoted(name),
                    nearest: Arch::hinted(name)
                        .and_then(Arch::go_name)
                        .or_else(|| nearest(name, known())),
                });
            }
            Some(name.to_owned())
        });
        let min_kernel = members
            .get("minKernel")
            .and_then(|node| self.inside(Step::Key("minKernel"), |reader| reader.min_kernel(node)));
        Some(Condition {
            caps,
            arches,
            asks_for_kernel: members.gives("minKernel"),
            min_kernel,
        })
    }

    /// A key that containers/common does not have. Its value is ignored.
    fn min_kernel(&mut self, node: &Node<'_>) -> Option<KernelVersion> {
        let Node::String(text) = node else {
            self.warning_with(|| Remark::KernelVersion(node.kind().to_owned()));
            return None;
        };
        if text.is_empty() {
            return None;
        }
        let version = KernelVersion::from_str(text).ok();
        self.warning_with(|| match version {
            Some(_) => Remark::MinKernelIgnored,
            None => Remark::KernelVersion(quoted(text)),
        });
        version
    }

    /// A number that defaults to 0.
    fn whole(&mut self, members: &Members<'_, '_>, key: &'static str, largest: u64) -> Option<u64> {
        match members.get(key) {
            None => Some(0),
            Some(_) => self.given(members, key, |reader, node| reader.number(node, largest)),
        }
    }

    /// `errno` and `errnoRet`, or their defaults; the name overrides the number. There is none for
    /// an action that takes none: runc ignores it, crun refuses it.
    fn errno(
        &mut self,
        members: &Members<'_, '_>,
        name: &'static str,
        number: &'static str,
        action: Option<Action>,
    ) -> Errno {
        let largest = u64::from(MAX_ERRNO);
        let ret = self.given(members, number, |reader, node| {
            reader
                .number(node, largest)
                .and_then(|number| u16::try_from(number).ok())
        });
        let named = self.optional(members, name, |reader, node| {
            let text = reader.text(node)?;
            if text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok() {
                return reader
                    .number(&text.parse().map_or(Node::Number, Node::Whole), largest)
                    .map(|_| text.to_owned());
            }
            if !errno::is_known(text) {
                reader.problem_with(|| Problem::Unknown {
                    what: "errno",
                    name: quoted(text),
                    nearest: errno::nearest(text),
                });
                return None;
            }
            Some(text.to_owned())
        });
        if let Some(action) = action.filter(|action| !action.takes_errno()) {
            for (key, given) in [(number, ret.is_some()), (name, named.is_some())] {
                if given {
                    self.warning_at(key, || Remark::NeedlessErrno(action));
                }
            }
            return Errno::default();
        }
        Errno {
            number: ret,
            text: named,
        }
    }
}

/// Capabilities are often written without their prefix.
fn nearest_capability(name: &str) -> Option<&'static str> {
    let plain = name.strip_prefix("CAP_").unwrap_or(name);
    let found = nearest(plain, CAPABILITIES.iter().map(|cap| &cap["CAP_".len()..]))?;
    CAPABILITIES
        .iter()
        .copied()
        .find(|cap| cap.ends_with(found) && cap.len() == found.len() + 4)
}

/// The known token that an unknown one probably means.
fn nearest_arch(text: &str) -> Option<&'static str> {
    Arch::hinted(text)
        .map(Arch::as_str)
        .or_else(|| nearest(text, Arch::ALL.iter().map(|arch| arch.as_str())))
}

/// An architecture that would be passed to a runtime, which would refuse it.
fn unsupported_arch(text: &str) -> Problem {
    Problem::Unknown {
        what: "architecture",
        name: quoted(text),
        nearest: nearest_arch(text),
    }
}

fn unknown_arch(text: &str) -> Remark {
    Remark::UnknownArch {
        name: quoted(text),
        nearest: nearest_arch(text),
    }
}
