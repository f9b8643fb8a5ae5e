//! Many texts as constants of a policy: no expression may be too long.

use crate::admission::cel;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many code points an expression may have: the API server takes 100,000.
const SHARD: usize = 90_000;

/// Texts by key, in as many constant maps as they need. Each holds a range of the sorted keys.
#[derive(Debug)]
pub(super) struct Shards {
    parts: Vec<Shard>,
    size: usize,
    limit: usize,
}

#[derive(Debug, Default)]
struct Shard {
    entries: BTreeMap<String, String>,
    size: usize,
}

impl Shards {
    pub(super) fn of_at_most(limit: usize) -> Shards {
        Shards {
            parts: Vec::new(),
            size: 0,
            limit,
        }
    }

    /// How much an entry takes.
    pub(super) fn size_of(key: &str, text: &str) -> usize {
        cel::entry((key, text)).len() + 2
    }

    /// Adds a text; its key sorts after all others. Returns whether there was room.
    pub(super) fn add(&mut self, key: &str, text: &str) -> bool {
        let size = Shards::size_of(key, text);
        if self.size + size > self.limit || size > SHARD {
            return false;
        }
        if self
            .parts
            .last()
            .is_none_or(|last| last.size + size > SHARD)
        {
            self.parts.push(Shard::default());
        }
        if let Some(last) = self.parts.last_mut() {
            last.entries.insert(key.to_owned(), text.to_owned());
            last.size += size;
            self.size += size;
        }
        true
    }

    /// The variables that hold them.
    pub(super) fn variables(&self, name: &str) -> impl Iterator<Item = Value> {
        self.parts.iter().enumerate().map(move |(number, shard)| {
            let entries = shard.entries.iter();
            let entries = entries.map(|(key, text)| (key.as_str(), text.as_str()));
            json!({"name": format!("{name}{number}"), "expression": cel::map(entries)})
        })
    }

    /// The expression for the text of a key; the empty text if there is none.
    pub(super) fn lookup(&self, name: &str, key: &str) -> String {
        let Some(last) = self.parts.len().checked_sub(1) else {
            return cel::string("");
        };
        let shards = self.parts.iter().enumerate().map(|(number, shard)| {
            let text = format!("variables.{name}{number}[?{key}].orValue('')");
            match shard.entries.last_key_value() {
                Some((end, _)) if number < last => {
                    format!("{key} <= {} ? {text} : ", cel::string(end))
                }
                _ => text,
            }
        });
        shards.collect()
    }
}
