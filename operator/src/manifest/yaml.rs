//! YAML and JSON as kubectl reads them: a text becomes a list of JSON values.
//!
//! kubectl separates documents by lines, and parses each with go-yaml's second version: scalars
//! have the meaning that they have there ([`super::scalar`]), and anchors and merge keys are
//! supported. What kubectl would drop silently is refused: a repeated key, and text after `...`. So
//! are non-standard tags, and documents that need more memory than any API object.

use super::{
    json,
    scalar::{self, Tag},
};
use granit_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};

/// How many values a document may have, including those that aliases stand for.
const MAX_VALUES: usize = 250_000;
/// How many bytes of text the aliases in a document may stand for.
const MAX_ALIASED_BYTES: usize = 4 << 20;
/// How deeply collections may be nested, including through aliases.
const MAX_DEPTH: usize = 64;

/// Why a document can't be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct YamlError {
    /// The line, counted from 1.
    pub(super) line: usize,
    /// What is wrong there.
    pub(super) problem: String,
}

impl YamlError {
    fn new(line: usize, problem: impl Into<String>) -> YamlError {
        YamlError {
            line,
            problem: problem.into(),
        }
    }
}

/// The non-empty documents of a text. Those that can't be parsed are errors.
pub(super) fn documents(text: &str) -> Vec<Result<Value, YamlError>> {
    if text.trim_start().starts_with('{') {
        match json::documents(text) {
            Ok(values) => return values.into_iter().map(Ok).collect(),
            Err(error) if json::is_repeated_key(&error) => {
                return vec![Err(YamlError::new(error.line(), error.to_string()))];
            }
            // It may be YAML, such as {a: b}.
            Err(_) => {}
        }
    }
    chunks(text)
        .into_iter()
        .filter_map(|(first, chunk)| match chunk {
            Ok(chunk) => document(first, &chunk).transpose(),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

/// The parts between lines that begin with `---`, each with the number of its first line.
fn chunks(text: &str) -> Vec<(usize, Result<String, YamlError>)> {
    let mut chunks = vec![(1, Ok(String::new()))];
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if let Some(rest) = line.strip_prefix("---") {
            let rest = rest.trim();
            if rest.is_empty() || rest.starts_with('#') {
                chunks.push((index + 2, Ok(String::new())));
            } else {
                let error = YamlError::new(index + 1, "only a comment may follow `---`");
                chunks.push((index + 1, Err(error)));
            }
        } else if let Some((_, Ok(chunk))) = chunks.last_mut() {
            chunk.push_str(line);
        }
    }
    chunks
}

/// The characters that end a line, and thus a comment, for go-yaml but not for the parser used
/// here.
const OTHER_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// A node of a document, by its place among all nodes.
type Id = usize;

struct Node {
    line: usize,
    kind: Kind,
}

enum Kind {
    Scalar {
        text: String,
        is_plain: bool,
        tag: Option<Tag>,
    },
    List(Vec<Id>),
    Mapping(Vec<(Id, Id)>),
    Alias(Id),
}

/// The value of a part's only document; `None` if it is empty.
fn document(first: usize, text: &str) -> Result<Option<Value>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find(OTHER_BREAKS) {
        let line = first + text[..at].matches('\n').count();
        let problem = "has a line break that only YAML 1.1 knows (U+0085, U+2028 or U+2029)";
        return Err(YamlError::new(line, problem));
    }
    let options = granit_parser::options! {
        block_scalar_eof_without_line_feed: true,
        disallow_directives: true,
        emit_comments: false,
    };
    let mut reader = Reader {
        parser: Parser::new_from_str_with_options(text, options),
        before: first - 1,
        nodes: Vec::new(),
        anchors: HashMap::new(),
    };
    let Some(root) = reader.document()? else {
        return Ok(None);
    };
    let mut tree = Tree {
        nodes: &reader.nodes,
        values: 0,
        aliased_bytes: 0,
    };
    let value = tree.value(root, At::default())?;
    Ok((!value.is_null()).then_some(value))
}

/// Builds nodes from a document's events.
struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// The line before the first one.
    before: usize,
    nodes: Vec<Node>,
    /// Nodes by the parser's numbers of their anchors, once they are complete.
    anchors: HashMap<usize, Id>,
}

impl<'a> Reader<'a> {
    /// The root; `None` if there is none.
    fn document(&mut self) -> Result<Option<Id>, YamlError> {
        let mut root = None;
        loop {
            let (event, line) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if root.is_some() => {
                    let problem = "only a line `---` may separate documents";
                    return Err(YamlError::new(line, problem));
                }
                event => root = Some(self.node(event, line, 0)?),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, usize), YamlError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.before + span.start.line())),
            Some(Err(error)) => Err(YamlError::new(
                self.before + error.marker().line(),
                error.info().replace('\n', " "),
            )),
            None => Ok((Event::StreamEnd, self.before)),
        }
    }

    fn node(&mut self, event: Event<'a>, line: usize, depth: usize) -> Result<Id, YamlError> {
        let wrong = |problem: &str| YamlError::new(line, problem);
        if depth > MAX_DEPTH {
            return Err(wrong(TOO_DEEP));
        }
        if self.nodes.len() >= MAX_VALUES {
            return Err(wrong(TOO_LARGE));
        }
        let tag = tag(&event).map_err(wrong)?;
        let anchor = event.anchor_id();
        let kind = match event {
            Event::Scalar(text, style, ..) => Kind::Scalar {
                text: text.into_owned(),
                is_plain: style == ScalarStyle::Plain,
                tag,
            },
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Kind::List(items),
                        (event, line) => items.push(self.node(event, line, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut members = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, _) => break Kind::Mapping(members),
                        (event, line) => {
                            let key = self.node(event, line, depth + 1)?;
                            let (event, line) = self.next()?;
                            members.push((key, self.node(event, line, depth + 1)?));
                        }
                    }
                }
            }
            Event::Alias(anchor) => {
                let target = self.anchors.get(&anchor);
                Kind::Alias(*target.ok_or_else(|| wrong("this alias is inside its own anchor"))?)
            }
            _ => return Err(wrong("a value is missing")),
        };
        self.nodes.push(Node { line, kind });
        let id = self.nodes.len() - 1;
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, id);
        }
        Ok(id)
    }
}

const TOO_DEEP: &str = "collections are nested too deeply";
const TOO_LARGE: &str = "this document has too many values, aliases included";

/// The tag of a scalar.
fn tag(event: &Event) -> Result<Option<Tag>, &'static str> {
    let Some(tag) = event.tag() else {
        return Ok(None);
    };
    let own = "only YAML's standard tags, such as !!str, are supported";
    let suffix = tag.core_suffix().ok_or(own)?;
    match event {
        Event::Scalar(..) => Tag::named(suffix)
            .map(Some)
            .ok_or("this tag does not apply to a scalar"),
        Event::MappingStart(..) if suffix == "map" => Ok(None),
        Event::SequenceStart(..) if suffix == "seq" => Ok(None),
        _ => Err("this tag does not apply to a collection of this kind"),
    }
}

/// From where a node is looked at.
#[derive(Clone, Copy, Default)]
struct At {
    depth: usize,
    /// The line of the alias that led there.
    alias: Option<usize>,
}

impl At {
    fn below(self) -> At {
        At {
            depth: self.depth + 1,
            ..self
        }
    }
}

/// The nodes of a document, and what has been made of them so far.
struct Tree<'a> {
    nodes: &'a [Node],
    values: usize,
    aliased_bytes: usize,
}

impl<'a> Tree<'a> {
    /// A node, as long as it is not one too many.
    fn node(&mut self, id: Id, at: At) -> Result<(&'a Node, usize), YamlError> {
        let node = &self.nodes[id];
        let line = at.alias.unwrap_or(node.line);
        if at.depth > MAX_DEPTH {
            return Err(YamlError::new(line, TOO_DEEP));
        }
        self.values += 1;
        if let (Kind::Scalar { text, .. }, Some(_)) = (&node.kind, at.alias) {
            self.aliased_bytes += text.len();
        }
        if self.values > MAX_VALUES || self.aliased_bytes > MAX_ALIASED_BYTES {
            return Err(YamlError::new(line, TOO_LARGE));
        }
        Ok((node, line))
    }

    /// A node as JSON.
    fn value(&mut self, id: Id, at: At) -> Result<Value, YamlError> {
        let (node, line) = self.node(id, at)?;
        match &node.kind {
            Kind::Alias(target) => {
                let alias = Some(line);
                self.value(
                    *target,
                    At {
                        alias,
                        ..at.below()
                    },
                )
            }
            Kind::Scalar {
                text,
                is_plain,
                tag,
            } => {
                if *is_plain || tag.is_some() {
                    scalar::resolve(text, *tag).map_err(|problem| YamlError::new(line, problem))
                } else {
                    Ok(Value::String(text.clone()))
                }
            }
            Kind::List(items) => items
                .iter()
                .map(|item| self.value(*item, at.below()))
                .collect(),
            Kind::Mapping(_) => {
                let mut members = Map::new();
                self.merge(id, at, &mut members)?;
                Ok(Value::Object(members))
            }
        }
    }

    /// Puts a mapping's members into others, over those of the same key. As in go-yaml, what a
    /// merge key brings overrides what stands before it, and what comes after it overrides that.
    fn merge(&mut self, id: Id, at: At, into: &mut Map<String, Value>) -> Result<(), YamlError> {
        const WANTED: &str = "`<<` takes a mapping or a list of mappings";
        let (node, line) = self.node(id, at)?;
        let Kind::Mapping(members) = &node.kind else {
            return Err(YamlError::new(line, WANTED));
        };
        let mut own = HashSet::new();
        for (key, member) in members {
            if self.is_merge_key(*key) {
                let (source, at) = self.followed(*member, at.below());
                match (&self.nodes[*member].kind, &self.nodes[source].kind) {
                    // Of several the first one counts most. The list itself is no alias.
                    (Kind::List(items), _) => {
                        for item in items.iter().rev() {
                            let (item, at) = self.followed(*item, at.below());
                            self.merge(item, at, into)?;
                        }
                    }
                    (_, Kind::List(_)) => return Err(YamlError::new(line, WANTED)),
                    _ => self.merge(source, at, into)?,
                }
                continue;
            }
            let name = self.name(*key, at)?;
            if !own.insert(name.clone()) {
                let line = at.alias.unwrap_or(self.nodes[*key].line);
                return Err(YamlError::new(line, json::repeated_key(&name)));
            }
            let member = self.value(*member, at.below())?;
            into.insert(name, member);
        }
        Ok(())
    }

    fn is_merge_key(&self, key: Id) -> bool {
        matches!(&self.nodes[key].kind,
            Kind::Scalar { text, is_plain: true, tag: None } if text == "<<")
    }

    /// What an alias stands for.
    fn followed(&self, id: Id, at: At) -> (Id, At) {
        match &self.nodes[id] {
            Node {
                line,
                kind: Kind::Alias(target),
            } => {
                let alias = at.alias.or(Some(*line));
                (*target, At { alias, ..at })
            }
            _ => (id, at),
        }
    }

    /// A key: a text, or a whole number or truth value as text.
    fn name(&mut self, key: Id, at: At) -> Result<String, YamlError> {
        match self.value(key, at.below())? {
            Value::String(text) => Ok(text),
            Value::Bool(value) => Ok(value.to_string()),
            Value::Number(number) if number.is_i64() => Ok(number.to_string()),
            _ => Err(YamlError::new(
                at.alias.unwrap_or(self.nodes[key].line),
                "a key must be a text: quote it",
            )),
        }
    }
}

#[cfg(test)]
mod tests;
