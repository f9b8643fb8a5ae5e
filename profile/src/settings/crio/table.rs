//! Tables of TOML whose keys match as in CRI-O's TOML library.

use std::path::PathBuf;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Where in the text something is wrong, and what.
pub(super) type Wrong = (usize, String);

/// A value and where it stands.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

pub(super) fn mistyped(key: &str, value: &Value<'_>, wanted: &str) -> Wrong {
    let found = value.get_ref().type_str();
    (
        value.span().start,
        format!("{key} is {found}, not {wanted}"),
    )
}

/// A table whose keys match as in CRI-O's TOML library.
pub(super) struct Table<'a, 'i>(pub(super) &'a DeTable<'i>);

impl<'a, 'i> Table<'a, 'i> {
    pub(super) fn get(&self, key: &str) -> Result<Option<&'a Value<'i>>, Wrong> {
        let mut found = self
            .0
            .iter()
            .filter(|(name, _)| name.get_ref().eq_ignore_ascii_case(key));
        let first = found.next();
        if let (Some((one, _)), Some((other, _))) = (first, found.next()) {
            let later = one.span().start.max(other.span().start);
            let reason = format!("{key} is given twice, in upper and lower case; write it once");
            return Err((later, reason));
        }
        Ok(first.map(|(_, value)| value))
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Table<'a, 'i>>, Wrong> {
        self.get(key)?
            .map(|value| {
                let table = value.get_ref().as_table();
                table
                    .map(Table)
                    .ok_or_else(|| mistyped(key, value, "a table"))
            })
            .transpose()
    }

    /// The tables of a name. One file can have several if they are written in different case; all
    /// count.
    pub(super) fn tables(&self, key: &str) -> Result<Vec<Table<'a, 'i>>, Wrong> {
        self.0
            .iter()
            .filter(|(name, _)| name.get_ref().eq_ignore_ascii_case(key))
            .map(|(_, value)| {
                let table = value.get_ref().as_table();
                table
                    .map(Table)
                    .ok_or_else(|| mistyped(key, value, "a table"))
            })
            .collect()
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<&'a str>, Wrong> {
        self.get(key)?
            .map(|value| {
                let text = value.get_ref().as_str();
                text.ok_or_else(|| mistyped(key, value, "a string"))
            })
            .transpose()
    }

    pub(super) fn boolean(&self, key: &str) -> Result<Option<bool>, Wrong> {
        self.get(key)?
            .map(|value| {
                let truth = value.get_ref().as_bool();
                truth.ok_or_else(|| mistyped(key, value, "a boolean"))
            })
            .transpose()
    }

    pub(super) fn strings(&self, key: &str) -> Result<Option<Vec<String>>, Wrong> {
        let Some(value) = self.get(key)? else {
            return Ok(None);
        };
        let wrong = |value| mistyped(key, value, "a list of strings");
        let list = value.get_ref().as_array().ok_or_else(|| wrong(value))?;
        list.iter()
            .map(|item| {
                let text = item.get_ref().as_str().ok_or_else(|| wrong(item))?;
                Ok(text.to_owned())
            })
            .collect::<Result<Vec<String>, Wrong>>()
            .map(Some)
    }

    /// Sets a path if the key is present; an empty value means none.
    pub(super) fn path(&self, key: &str, into: &mut Option<PathBuf>) -> Result<(), Wrong> {
        if let Some(text) = self.string(key)? {
            *into = Some(text)
                .filter(|text| !text.is_empty())
                .map(PathBuf::from);
        }
        Ok(())
    }
}
