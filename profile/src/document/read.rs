//! From JSON to a document: the one validator of both forms, and of `linux.seccomp` as an engine
//! wrote it. It goes on after a problem, so that all of them can be told at once.

use super::{
    ArchEntry, Document, Entry, Errno,
    condition::{CAPABILITIES, Condition},
    error::{DocumentError, Problem, Remark, Warning, quoted},
    json::Node,
};
use crate::{
    Action, Arch, ArgCondition, Flag, Operator, errno,
    filter::{ARGUMENTS, MAX_ERRNO},
    kernel::KernelVersion,
    nearest::nearest,
    syscalls,
};
use std::{borrow::Cow, fmt::Write as _, str::FromStr};

/// How many problems, and how many warnings, are kept.
const MOST: usize = 100;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A profile document that people wrote, in either form.
    Profile,
    /// `linux.seccomp` of a `config.json`: the OCI form only. Its engine may know newer names
    /// than this program, and what its runtime refuses by itself needs no word here.
    Config,
}

/// The keys of an object that the OCI form has, then those that only the containers form has.
type Keys = (&'static [&'static str], &'static [&'static str]);

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

/// The most keys that any object has.
const MOST_KEYS: usize = 9;

/// Everything that was found in a document: the document itself only where nothing is wrong.
pub(super) struct Reading {
    pub(super) document: Option<Document>,
    pub(super) problems: Vec<DocumentError>,
}

/// Reads and checks a whole document.
pub(super) fn read(root: &Node<'_>, form: Form) -> Reading {
    let mut reader = Reader {
        form,
        path: Vec::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
        notifies: None,
    };
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

#[derive(Clone, Copy)]
enum Step {
    Key(&'static str),
    Index(usize),
}

struct Reader {
    form: Form,
    path: Vec<Step>,
    problems: Vec<DocumentError>,
    warnings: Vec<Warning>,
    /// The place of the first `SCMP_ACT_NOTIFY` of an entry.
    notifies: Option<String>,
}

/// The known members of an object.
struct Members<'n, 'a> {
    keys: Keys,
    values: [Option<&'n Node<'a>>; MOST_KEYS],
}

impl<'n, 'a> Members<'n, 'a> {
    /// The value of a key; null counts as absent, as it does in Go.
    fn get(&self, key: &'static str) -> Option<&'n Node<'a>> {
        let position = self
            .keys
            .0
            .iter()
            .chain(self.keys.1)
            .position(|known| *known == key)?;
        self.values[position].filter(|node| !matches!(node, Node::Null))
    }

    /// Whether a key has a value: not an empty string, which is an absent one to Go.
    fn gives(&self, key: &'static str) -> bool {
        self.get(key)
            .is_some_and(|node| !matches!(node, Node::String(text) if text.is_empty()))
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
        let default_errno = self.errno(&members, "defaultErrno", "defaultErrnoRet", default_action);
        let architectures = self.list(&members, "architectures", Reader::architecture);
        let arch_map = self.list(&members, "archMap", Reader::arch_entry);
        if !architectures.is_empty() && !arch_map.is_empty() {
            self.problem(Problem::Both("architectures", "archMap"));
        }
        let flags = self.list(&members, "flags", |reader, node| {
            reader.known(node, "flag", Flag::ALL, Flag::as_str)
        });
        // An empty list is lost where an engine in Go writes it; a runtime that reads it knows.
        let flags_given =
            members.get("flags").is_some() && (self.form == Form::Config || !flags.is_empty());
        let listener_path = self.optional(&members, "listenerPath", Reader::owned);
        let listener_metadata = self.optional(&members, "listenerMetadata", Reader::owned);
        let syscalls = self.list(&members, "syscalls", Reader::entry);
        if self.form == Form::Profile && listener_path.is_none() {
            if let Some(place) = self.notifies.take() {
                self.problems.push(DocumentError {
                    place,
                    problem: Problem::NoListener,
                });
            }
            if listener_metadata.is_some() {
                self.problem(Problem::MetadataWithoutListener);
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
        let mut names = self.list(&members, "names", |reader, node| {
            reader.call(node, notifies)
        });
        let name = self.optional(&members, "name", |reader, node| reader.call(node, notifies));
        let single_name = name.is_some();
        match (name, members.get("names")) {
            (Some(_), Some(Node::List(list))) if !list.is_empty() => {
                self.problem(Problem::Both("name", "names"));
            }
            (Some(name), _) => names.push(name),
            (None, Some(Node::List(list))) if list.is_empty() && self.form == Form::Profile => {
                self.problem_at("names", Problem::NoNames);
            }
            (None, None) if !members.gives("name") => {
                self.problem(Problem::Missing("names"));
            }
            (None, _) => {}
        }
        let errno = self.errno(&members, "errno", "errnoRet", action);
        let args = self.list(&members, "args", Reader::argument);
        if args.len() > usize::from(ARGUMENTS) {
            self.problem_at("args", Problem::TooManyConditions);
        }
        let includes = self.optional(&members, "includes", Reader::condition);
        let excludes = self.optional(&members, "excludes", Reader::condition);
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

    /// A system call's name.
    fn call(&mut self, node: &Node<'_>, notifies: bool) -> Option<String> {
        let name = self.text(node)?;
        if self.form == Form::Config {
            return Some(name.to_string());
        }
        if !syscalls::is_known(name) {
            self.problem(Problem::Unknown {
                what: "system call",
                name: quoted(name),
                nearest: syscalls::nearest(name),
            });
            return None;
        }
        if notifies && name == "write" {
            self.problem(Problem::Notify("used for write"));
        }
        Some(name.to_string())
    }

    fn argument(&mut self, node: &Node<'_>) -> Option<ArgCondition> {
        let members = self.members(node, ARGUMENT)?;
        let index = self.required(&members, "index", |reader, node| {
            reader.number(node, u64::from(ARGUMENTS - 1))
        });
        let value = self.required(&members, "value", |reader, node| {
            reader.number(node, u64::MAX)
        });
        let value_two = self.optional(&members, "valueTwo", |reader, node| {
            reader.number(node, u64::MAX)
        });
        let op = self.required(&members, "op", |reader, node| {
            reader.known(node, "operator", Operator::ALL, Operator::as_str)
        });
        Some(ArgCondition {
            index: u8::try_from(index?).ok()?,
            value: value?,
            value_two: value_two.unwrap_or(0),
            op: op?,
        })
    }

    fn arch_entry(&mut self, node: &Node<'_>) -> Option<ArchEntry> {
        let members = self.members(node, ARCH_ENTRY)?;
        let architecture = self.required(&members, "architecture", Reader::architecture);
        let sub_architectures = self.list(&members, "subArchitectures", Reader::architecture);
        Some(ArchEntry {
            architecture: architecture?,
            sub_architectures,
        })
    }

    fn architecture(&mut self, node: &Node<'_>) -> Option<Arch> {
        self.known(node, "architecture", Arch::ALL, Arch::as_str)
    }

    fn condition(&mut self, node: &Node<'_>) -> Option<Condition> {
        let members = self.members(node, CONDITION)?;
        let caps = self.list(&members, "caps", |reader, node| {
            let name = reader.text(node)?;
            if CAPABILITIES.binary_search(&name).is_err() {
                reader.warning(Remark::NeverMatches {
                    what: "capability",
                    name: quoted(name),
                    nearest: nearest(name, CAPABILITIES.iter().copied()),
                });
            }
            Some(name.to_owned())
        });
        let arches = self.list(&members, "arches", |reader, node| {
            let name = reader.text(node)?;
            let known = || Arch::ALL.iter().filter_map(|arch| arch.go_name());
            if !known().any(|there| there == name) {
                let token = Arch::from_str(name).ok().and_then(Arch::go_name);
                reader.warning(Remark::NeverMatches {
                    what: "architecture",
                    name: quoted(name),
                    nearest: token.or_else(|| nearest(name, known())),
                });
            }
            Some(name.to_owned())
        });
        let min_kernel = self.optional(&members, "minKernel", |reader, node| {
            let text = reader.text(node)?;
            if let Ok(version) = KernelVersion::from_str(text) {
                reader.warning(Remark::MinKernelIgnored);
                return Some(version);
            }
            reader.problem(Problem::KernelVersion(quoted(text)));
            None
        });
        Some(Condition {
            caps,
            arches,
            min_kernel,
        })
    }

    /// `errno` and `errnoRet`, or their defaults: the name beats the number, and an action that
    /// takes none must have none. In a `config.json` the latter is runc's to ignore or crun's to
    /// refuse: no errno then.
    fn errno(
        &mut self,
        members: &Members<'_, '_>,
        name: &'static str,
        number: &'static str,
        action: Option<Action>,
    ) -> Errno {
        let largest = u64::from(MAX_ERRNO);
        let ret = self.optional(members, number, |reader, node| {
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
                reader.problem(Problem::Unknown {
                    what: "errno",
                    name: quoted(text),
                    nearest: errno::nearest(text),
                });
                return None;
            }
            Some(text.to_owned())
        });
        if let Some(action) = action.filter(|action| !action.takes_errno()) {
            if self.form == Form::Config {
                return Errno::default();
            }
            for (key, given) in [(number, ret.is_some()), (name, named.is_some())] {
                if given {
                    self.problem_at(key, Problem::NeedlessErrno(action));
                }
            }
        }
        Errno {
            number: ret,
            text: named,
        }
    }

    // What follows knows JSON and places, nothing of seccomp.

    /// The known members of an object; problems where keys are ambiguous.
    fn members<'n, 'a>(&mut self, node: &'n Node<'a>, keys: Keys) -> Option<Members<'n, 'a>> {
        let Node::Object(object) = node else {
            self.wrong_type("an object", node);
            return None;
        };
        // Keys of the containers form are unknown ones in a config.json, ignored as any other.
        let keys = if self.form == Form::Config {
            (keys.0, &[][..])
        } else {
            keys
        };
        let mut members = Members {
            keys,
            values: [None; MOST_KEYS],
        };
        for (key, value) in object {
            let mut known = keys.0.iter().chain(keys.1);
            if let Some(position) = known.clone().position(|known| known == key) {
                if members.values[position].replace(value).is_some()
                    && let Some(key) = known.nth(position)
                {
                    self.problem(Problem::DuplicateKey(key));
                }
            } else if let Some(meant) = known.clone().find(|known| equal_folded(known, key)) {
                self.problem(Problem::KeyCase {
                    written: quoted(key),
                    meant,
                });
            } else if self.form == Form::Profile {
                self.warning(Remark::UnknownKey {
                    name: quoted(key),
                    nearest: nearest(key, known.copied()),
                });
            }
        }
        Some(members)
    }

    /// The value of a key that may be absent, null or an empty string.
    fn optional<'n, 'a, T>(
        &mut self,
        members: &Members<'n, 'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'n Node<'a>) -> Option<T>,
    ) -> Option<T> {
        let node = members.get(key)?;
        if matches!(node, Node::String(text) if text.is_empty()) {
            return None;
        }
        self.inside(Step::Key(key), |reader| read(reader, node))
    }

    /// The value of a key that must be there.
    fn required<'n, 'a, T>(
        &mut self,
        members: &Members<'n, 'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'n Node<'a>) -> Option<T>,
    ) -> Option<T> {
        if !members.gives(key) {
            self.problem(Problem::Missing(key));
            return None;
        }
        self.optional(members, key, read)
    }

    /// The items of a list that may be absent; those with problems are left out.
    fn list<'n, 'a, T>(
        &mut self,
        members: &Members<'n, 'a>,
        key: &'static str,
        mut read: impl FnMut(&mut Self, &'n Node<'a>) -> Option<T>,
    ) -> Vec<T> {
        let Some(node) = members.get(key) else {
            return Vec::new();
        };
        self.inside(Step::Key(key), |reader| {
            let Node::List(list) = node else {
                reader.wrong_type("a list", node);
                return Vec::new();
            };
            let mut items = Vec::new();
            for (index, item) in list.iter().enumerate() {
                items.extend(reader.inside(Step::Index(index), |reader| read(reader, item)));
            }
            items
        })
    }

    fn text<'n>(&mut self, node: &'n Node<'_>) -> Option<&'n str> {
        if let Node::String(text) = node {
            Some(Cow::as_ref(text))
        } else {
            self.wrong_type("a string", node);
            None
        }
    }

    fn owned(&mut self, node: &Node<'_>) -> Option<String> {
        self.text(node).map(str::to_owned)
    }

    fn number(&mut self, node: &Node<'_>, largest: u64) -> Option<u64> {
        match node {
            Node::Whole(number) if *number <= largest => return Some(*number),
            Node::Whole(_) | Node::Number => self.problem(Problem::Number { largest }),
            _ => self.wrong_type("a number", node),
        }
        None
    }

    /// A name out of an enumeration's.
    fn known<T: Copy + FromStr>(
        &mut self,
        node: &Node<'_>,
        what: &'static str,
        all: &'static [T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(node)?;
        let value = T::from_str(text).ok();
        if value.is_none() {
            self.problem(Problem::Unknown {
                what,
                name: quoted(text),
                nearest: nearest(text, all.iter().map(|value| name(*value))),
            });
        }
        value
    }

    fn inside<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    fn wrong_type(&mut self, expected: &'static str, node: &Node<'_>) {
        self.problem(Problem::Type {
            expected,
            found: node.kind(),
        });
    }

    fn problem_at(&mut self, key: &'static str, problem: Problem) {
        self.inside(Step::Key(key), |reader| reader.problem(problem));
    }

    fn problem(&mut self, problem: Problem) {
        if self.problems.len() < MOST {
            let place = self.place();
            self.problems.push(DocumentError { place, problem });
        }
    }

    fn warning(&mut self, remark: Remark) {
        if self.warnings.len() < MOST {
            let place = self.place();
            self.warnings.push(Warning { place, remark });
        }
    }

    fn place(&self) -> String {
        let mut place = String::new();
        for step in &self.path {
            match step {
                Step::Key(key) if place.is_empty() => place.push_str(key),
                Step::Key(key) => {
                    place.push('.');
                    place.push_str(key);
                }
                Step::Index(index) => {
                    let _ = write!(place, "[{index}]");
                }
            }
        }
        place
    }
}

/// Whether Go's encoding/json takes `written` for the key `known`: it compares by Unicode's simple
/// folding, under which U+017F is an s and U+212A a k.
fn equal_folded(known: &str, written: &str) -> bool {
    // Each character of a key is one byte, those two are two and three.
    if written.len() < known.len() || written.len() > 3 * known.len() {
        return false;
    }
    let fold = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    known.chars().map(fold).eq(written.chars().map(fold))
}
