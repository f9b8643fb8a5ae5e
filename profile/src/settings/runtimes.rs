//! `[runtimes]` alone, for the wrapper: mistakes elsewhere in hook.toml must not change which
//! runtime a container runs under.

use super::{SettingsError, line_of, line_of_key, read};
use crate::filter::nearest::nearest;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The table's name.
const RUNTIMES: &str = "runtimes";

/// Reads the table; a missing file has none.
///
/// # Errors
/// The file can't be read, or the table's contents can't be determined.
pub fn load_runtimes(path: &Path) -> Result<BTreeMap<String, PathBuf>, SettingsError> {
    match read(path)? {
        Some(text) => parse_runtimes(path, &text),
        None => Ok(BTreeMap::new()),
    }
}

/// The table in a text; `path` is for messages only.
///
/// # Errors
/// The table's contents can't be determined.
pub fn parse_runtimes(path: &Path, text: &str) -> Result<BTreeMap<String, PathBuf>, SettingsError> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        runtimes: BTreeMap<String, PathBuf>,
        #[serde(flatten)]
        others: BTreeMap<String, toml::Value>,
    }
    let invalid = |line, reason| SettingsError::Invalid {
        path: path.to_owned(),
        line,
        reason,
    };
    let part: Part = match toml::from_str(text) {
        Ok(part) => part,
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let error = invalid(line, error.message().replace(['\n', '\r'], " "));
            // The file is not valid TOML, or the mistake is in the table itself.
            let section = runtimes_section(text).ok_or(error)?;
            toml::from_str(section).map_err(|error| {
                let at = section.as_ptr() as usize - text.as_ptr() as usize;
                let within = error.span().map_or(0, |span| span.start);
                let reason = error.message().replace(['\n', '\r'], " ");
                invalid(line_of(text, at + within), reason)
            })?
        }
    };
    if part.runtimes.is_empty() {
        if let Some(key) = part.others.keys().find(|key| is_nearly_runtimes(key)) {
            let reason = format!("unknown field `{key}`; the table is called [{RUNTIMES}]");
            return Err(invalid(line_of_key(text, key), reason));
        }
        if let Some(key) = stray(&part.others) {
            let reason =
                format!("unknown field `{key}`; a runtime's path belongs under [{RUNTIMES}]");
            return Err(invalid(line_of_key(text, key), reason));
        }
    }
    match part.runtimes.values().find(|path| !path.is_absolute()) {
        None => Ok(part.runtimes),
        Some(relative) => {
            let reason = format!(
                "runtimes must hold absolute paths, not {}",
                relative.display()
            );
            Err(invalid(line_of_key(text, RUNTIMES), reason))
        }
    }
}

/// Whether a key is probably meant to be the table's name.
fn is_nearly_runtimes(key: &str) -> bool {
    nearest(key, [RUNTIMES]).is_some()
}

/// The lines of `[runtimes]` in a text that is not valid TOML; empty if no line belongs to it.
/// `None` if that can't be determined.
fn runtimes_section(text: &str) -> Option<&str> {
    let mut section: Option<(usize, usize)> = None;
    let mut inside = false;
    let mut is_headless = false;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let (start, end) = (offset, offset + line.len());
        offset = end;
        let content = line.trim();
        if content.starts_with('[') {
            let name = content.split('#').next().unwrap_or_default();
            let name = name.trim_matches(|c: char| "[] \t\"'".contains(c));
            let header = content.split('#').next().unwrap_or_default().trim_end();
            let is_whole = header.ends_with(']') && !header.starts_with("[[");
            inside = name == RUNTIMES && is_whole && section.is_none();
            if inside {
                section = Some((start, end));
                continue;
            }
            if name.contains(RUNTIMES) || is_nearly_runtimes(name) {
                return None;
            }
        } else if inside {
            section = section.map(|(start, _)| (start, end));
        } else if !content.starts_with('#') {
            if content.contains(RUNTIMES) {
                return None;
            }
            is_headless |= is_torn(content) || is_stray_line(content);
        }
    }
    match section {
        Some((start, end)) => Some(&text[start..end]),
        None => (!is_headless).then_some(""),
    }
}

/// A line of the table that is not in it, since its header is lost: a key that is the wrapper's name
/// or the runtime's, with a path.
fn is_stray(key: &str, value: &str) -> bool {
    let runtime = Path::new(value).file_name();
    value.starts_with('/')
        && (key == "default"
            || key.starts_with("portcullis-")
            || runtime.is_some_and(|name| name == key))
}

/// The key of such a line in a text whose table is empty.
fn stray(others: &BTreeMap<String, toml::Value>) -> Option<&str> {
    let is_stray = |key: &str, value: &toml::Value| {
        let text = value.as_str();
        text.is_some_and(|text| is_stray(key, text))
    };
    others.iter().find_map(|(key, value)| match value {
        toml::Value::Table(below) => below
            .iter()
            .find_map(|(key, value)| is_stray(key, value).then_some(key.as_str())),
        value => is_stray(key, value).then_some(key.as_str()),
    })
}

/// Whether a line of a text that is not TOML as a whole is one.
fn is_stray_line(line: &str) -> bool {
    let plain = |text: &str| text.trim_matches(|c: char| " \t\"'".contains(c)).to_owned();
    let content = line.split('#').next().unwrap_or_default();
    content
        .split_once('=')
        .is_some_and(|(key, value)| is_stray(&plain(key), &plain(value)))
}

/// Whether a line may be what is left of the table's header: its name nearly, without the bracket.
fn is_torn(line: &str) -> bool {
    let end = line.find(['=', '.', ']', '#']).unwrap_or(line.len());
    is_nearly_runtimes(line[..end].trim_matches(|c: char| " \t\"'".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes(text: &str) -> Result<Vec<(String, String)>, SettingsError> {
        let map = parse_runtimes(Path::new("hook.toml"), text)?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        Ok(map.into_iter().map(|(name, at)| (name, text(at))).collect())
    }

    #[test]
    fn runtimes_survive_mistakes_elsewhere() {
        let table = "[runtimes]\n# ours\ndefault = \"/c\" # runtimes\nportcullis-g = '/g'\n";
        let both = [("default", "/c"), ("portcullis-g", "/g")];
        let both = both.map(|(name, path)| (name.to_owned(), path.to_owned()));
        for text in [
            table.to_owned(),
            format!("mod = 'warn'\n{table}"),
            format!("mode = \n{table}"),
            format!("wait_ms = 99999999\nseccomp_root = 3\n{table}[record]\nfolders = 3\n"),
            format!("mode = 'warn\n  {table}\n[record\nx\n"),
            format!("{table}[record]\nmerge = maybe\n"),
            format!("{table}[[\n"),
            format!("mode = \ndefault = '/x'\n{table}"),
        ] {
            assert_eq!(runtimes(&text).unwrap(), both, "{text}");
        }
        for text in [
            "",
            "mod = 'warn'",
            "mode = ",
            "runtime_default = '/d'\nmode",
            "secomp_root = '/x'",
            "secomp_root = '/x'\nmode",
            "# default = '/a'\nmode",
        ] {
            assert_eq!(runtimes(text).unwrap(), [], "{text}");
        }
    }

    #[test]
    fn runtimes_that_cannot_be_told_are_an_error() {
        for text in [
            "[runtimes]\ndefault = 3",
            "[runtimes]\ndefault = 'crun'",
            "[runtimes]\ndefault = \n",
            "[runtimes]\ndefault = '/a'\ndefault = '/b'",
            "[runtimes]\ndefault = '/a'\n[runtimes]\nx = '/b'",
            "runtimes = 3",
            "mode = \nruntimes.default = '/a'\n",
            "mode = \nruntimes = { default = '/a' }\n",
            "[runtimes\ndefault = '/a'",
            "[runtime]\ndefault = '/a'",
            "[Runtimes]\ndefault = '/a'",
            "mode = \n[runtime]\ndefault = '/a'",
            "mode = \n[[runtimes]]\ndefault = '/a'",
            // The header is lost, or a part of it.
            "default = '/a'",
            "mode = 'warn'\nportcullis-g = '/a'",
            "[record]\nmerge = true\ndefault = '/a'",
            "runsc = '/usr/bin/runsc'",
            "mode = \nrunsc = \"/usr/bin/runsc\" # g",
            "mode = \n'default' = '/a'",
            "runtimes]\ndefault = '/a'",
            "untimes]\nx = '/a'",
            "mode = 'warn'\n[record]\nntimes]\nx = '/a'",
        ] {
            assert!(runtimes(text).is_err(), "{text}");
        }
        assert!(load_runtimes(Path::new("/dev/null")).is_err());
        assert_eq!(
            load_runtimes(Path::new("/nonexistent/x")).unwrap(),
            BTreeMap::new()
        );
    }
}
