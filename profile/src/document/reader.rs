//! Reads members, lists, texts, numbers and names from JSON, and reports problems with their
//! location. It knows nothing about seccomp.

use super::{
    error::{DocumentError, Problem, Remark, Warning, quoted},
    json::Node,
};
use crate::{Action, filter::nearest::nearest};
use std::{borrow::Cow, fmt::Write as _, str::FromStr};

/// How many problems or warnings of one document are reported.
pub(super) const MOST: usize = 100;

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A profile document that people wrote, in either form.
    Profile,
    /// `linux.seccomp` of a `config.json`: only the OCI form. Its engine may know newer names than
    /// this program, and what its runtime refuses need not be reported here.
    Config,
}

/// The keys of an object in the OCI form, then those that only the containers form has.
pub(super) type Keys = (&'static [&'static str], &'static [&'static str]);

/// The largest number of keys of any object: `Members` has a place for each.
pub(super) const MOST_KEYS: usize = 9;

#[derive(Clone, Copy)]
pub(super) enum Step {
    Key(&'static str),
    Index(usize),
}

/// What has been found so far, and the current location in the document.
pub(super) struct Reader {
    pub(super) form: Form,
    pub(super) most: usize,
    path: Vec<Step>,
    pub(super) problems: Vec<DocumentError>,
    pub(super) warnings: Vec<Warning>,
    /// The place of the first `SCMP_ACT_NOTIFY` of an entry.
    pub(super) notifies: Option<String>,
    /// The document's default action, once it is read.
    pub(super) default_action: Option<Action>,
}

/// The known members of an object.
pub(super) struct Members<'n, 'a> {
    keys: Keys,
    values: [Option<&'n Node<'a>>; MOST_KEYS],
}

impl<'n, 'a> Members<'n, 'a> {
    /// The value of a key. As in Go, null counts as absent.
    pub(super) fn get(&self, key: &'static str) -> Option<&'n Node<'a>> {
        let position = self
            .keys
            .0
            .iter()
            .chain(self.keys.1)
            .position(|known| *known == key)?;
        self.values[position].filter(|node| !matches!(node, Node::Null))
    }

    /// Whether a key has a value. As in Go, an empty string counts as absent.
    pub(super) fn gives(&self, key: &'static str) -> bool {
        self.get(key)
            .is_some_and(|node| !matches!(node, Node::String(text) if text.is_empty()))
    }
}

impl Reader {
    pub(super) fn new(form: Form, most: usize) -> Reader {
        Reader {
            form,
            most,
            path: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            notifies: None,
            default_action: None,
        }
    }

    /// The known members of an object. Reports ambiguous keys.
    pub(super) fn members<'n, 'a>(
        &mut self,
        node: &'n Node<'a>,
        keys: Keys,
    ) -> Option<Members<'n, 'a>> {
        let Node::Object(object) = node else {
            self.wrong_type("an object", node);
            return None;
        };
        // In a config.json, keys of the containers form are ignored like any unknown key.
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
                let before = members.values[position].replace(value);
                if let (Some(before), Some(key)) = (before, known.nth(position)) {
                    self.given_twice(key, before, value);
                }
            } else if let Some(position) = known.clone().position(|known| equal_folded(known, key))
                && let Some(meant) = known.nth(position)
            {
                let written = quoted(key);
                if self.form == Form::Config {
                    self.problem(Problem::KeyCase { written, meant });
                    continue;
                }
                self.warning_with(|| Remark::KeyCase { written, meant });
                if let Some(before) = members.values[position].replace(value) {
                    self.given_twice(meant, before, value);
                }
            } else if self.form == Form::Profile {
                let known = keys.0.iter().chain(keys.1);
                self.warning_with(|| Remark::UnknownKey {
                    name: quoted(key),
                    nearest: nearest(key, known.copied()),
                });
            }
        }
        Some(members)
    }

    /// A repeated key. The engines are written in Go, where the last text or number counts, but
    /// null leaves some values and unsets others, and the members of lists and objects get mixed.
    /// Runtimes written in C use the first one.
    fn given_twice(&mut self, key: &'static str, before: &Node<'_>, last: &Node<'_>) {
        let is_plain =
            |node: &Node<'_>| !matches!(node, Node::Null | Node::List(_) | Node::Object(_));
        let last_counts = key == "comment" || before == last || is_plain(before) && is_plain(last);
        if self.form == Form::Profile && last_counts {
            self.warning_with(|| Remark::DuplicateKey(key));
        } else {
            self.problem(Problem::DuplicateKey(key));
        }
    }

    /// Whether a rule with this action must not be lost, because it is stricter than the default
    /// action.
    pub(super) fn protects(&self, action: Option<Action>) -> bool {
        match (action, self.default_action) {
            (Some(action), Some(default)) => action.is_stricter_than(default),
            // If one of them is wrong, it is uncertain.
            _ => true,
        }
    }

    /// The value of a key that may be absent or null.
    pub(super) fn given<'n, 'a, T>(
        &mut self,
        members: &Members<'n, 'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'n Node<'a>) -> Option<T>,
    ) -> Option<T> {
        let node = members.get(key)?;
        self.inside(Step::Key(key), |reader| read(reader, node))
    }

    /// The text of a key that may be absent, null or empty.
    pub(super) fn optional<'n, 'a, T>(
        &mut self,
        members: &Members<'n, 'a>,
        key: &'static str,
        read: impl FnOnce(&mut Self, &'n Node<'a>) -> Option<T>,
    ) -> Option<T> {
        if members.gives(key) {
            self.given(members, key, read)
        } else {
            None
        }
    }

    /// The value of a required key.
    pub(super) fn required<'n, 'a, T>(
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
    pub(super) fn list<'n, 'a, T>(
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

    pub(super) fn text<'n>(&mut self, node: &'n Node<'_>) -> Option<&'n str> {
        if let Node::String(text) = node {
            Some(Cow::as_ref(text))
        } else {
            self.wrong_type("a string", node);
            None
        }
    }

    /// A text that C programs will read, in which a NUL would end it.
    pub(super) fn c_text<'n>(&mut self, node: &'n Node<'_>) -> Option<&'n str> {
        let text = self.text(node)?;
        if text.contains('\0') {
            self.problem_with(|| Problem::Nul(quoted(text)));
            return None;
        }
        Some(text)
    }

    pub(super) fn owned(&mut self, node: &Node<'_>) -> Option<String> {
        self.c_text(node).map(str::to_owned)
    }

    pub(super) fn number(&mut self, node: &Node<'_>, largest: u64) -> Option<u64> {
        match node {
            Node::Whole(number) if *number <= largest => return Some(*number),
            Node::Whole(_) | Node::Number => self.problem(Problem::Number { largest }),
            _ => self.wrong_type("a number", node),
        }
        None
    }

    /// One of an enumeration's names.
    pub(super) fn known<T: Copy + FromStr>(
        &mut self,
        node: &Node<'_>,
        what: &'static str,
        all: &'static [T],
        name: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(node)?;
        let value = T::from_str(text).ok();
        if value.is_none() {
            self.problem_with(|| Problem::Unknown {
                what,
                name: quoted(text),
                nearest: nearest(text, all.iter().map(|value| name(*value))),
            });
        }
        value
    }

    pub(super) fn inside<T>(&mut self, step: Step, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = read(self);
        self.path.pop();
        result
    }

    pub(super) fn wrong_type(&mut self, expected: &'static str, node: &Node<'_>) {
        self.problem(Problem::Type {
            expected,
            found: node.kind(),
        });
    }

    pub(super) fn problem_at(&mut self, key: &'static str, problem: Problem) {
        self.inside(Step::Key(key), |reader| reader.problem(problem));
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problem_with(|| problem);
    }

    /// Creates the problem only if it will be kept, because searching for the closest name is slow.
    pub(super) fn problem_with(&mut self, problem: impl FnOnce() -> Problem) {
        if self.problems.len() < self.most {
            let place = self.place();
            self.problems.push(DocumentError {
                place,
                problem: problem(),
            });
        }
    }

    pub(super) fn warning_with(&mut self, remark: impl FnOnce() -> Remark) {
        if self.warnings.len() < MOST {
            let place = self.place();
            self.warnings.push(Warning {
                place,
                remark: remark(),
            });
        }
    }

    pub(super) fn warning_at(&mut self, key: &'static str, remark: impl FnOnce() -> Remark) {
        self.inside(Step::Key(key), |reader| reader.warning_with(remark));
    }

    pub(super) fn place(&self) -> String {
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

/// Whether Go's encoding/json accepts `written` as the key `known`. It compares with Unicode's
/// simple case folding, in which U+017F equals s and U+212A equals k.
pub fn equal_folded(known: &str, written: &str) -> bool {
    // Each character of a key is one byte; those two have two and three.
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
