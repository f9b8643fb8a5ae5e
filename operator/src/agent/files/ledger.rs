//! Which files are ours: a log of names, each written before its file.

use crate::{
    file_name::{SUFFIX, file_name},
    resolve::check_name,
};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// The first line of a log whose names have the files that [`file_name`] gives them. Before there
/// was this line, the suffix was added to every name.
const HEAD: &str = "=2\n";

/// The names that are ours, and the log that outlives the agent.
#[derive(Debug)]
pub struct Ledger {
    names: BTreeSet<String>,
    log: File,
}

impl Ledger {
    /// Reads the log, and rewrites it without the names that are gone. An unfinished last line is
    /// ignored, because its file was not written. So is anything that can't be the name of a
    /// profile.
    ///
    /// # Errors
    /// If the log can't be read or written.
    pub fn open(folder: &Path) -> io::Result<Ledger> {
        fs::create_dir_all(folder)?;
        let path = folder.join("ledger");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let is_current = text.starts_with(HEAD);
        let mut names = BTreeSet::new();
        for line in text
            .split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
        {
            match line.split_at_checked(1) {
                Some(("+", name)) if is_name(name) => {
                    names.insert(name.to_owned());
                }
                Some(("-", name)) => {
                    names.remove(name);
                }
                _ => {}
            }
        }
        if !is_current {
            names = names.into_iter().map(current).collect();
        }
        let new = folder.join("ledger.new");
        let mut file = File::create(&new)?;
        file.write_all(HEAD.as_bytes())?;
        for name in &names {
            writeln!(file, "+{name}")?;
        }
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(folder)?.sync_all()?;
        let log = OpenOptions::new().append(true).open(&path)?;
        Ok(Ledger { names, log })
    }

    /// Whether a name is ours.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Every name that is ours.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }

    /// Adds names. Call it before writing their files.
    ///
    /// # Errors
    /// If the log can't be written; then none is added.
    pub fn add(&mut self, names: &[String]) -> io::Result<()> {
        self.write('+', names)?;
        self.names.extend(names.iter().cloned());
        Ok(())
    }

    /// Removes names. Call it after removing their files.
    ///
    /// # Errors
    /// If the log can't be written; then they stay.
    pub fn remove(&mut self, names: &[String]) -> io::Result<()> {
        self.write('-', names)?;
        for name in names {
            self.names.remove(name);
        }
        Ok(())
    }

    fn write(&mut self, sign: char, names: &[String]) -> io::Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for name in names {
            lines.push(sign);
            lines.push_str(name);
            lines.push('\n');
        }
        let before = self.log.metadata()?.len();
        let written = self.log.write_all(lines.as_bytes());
        let synced = written.and_then(|()| self.log.sync_data());
        if synced.is_err() {
            // The next line must not continue the one that a full disk cut off.
            let _ = self.log.set_len(before);
        }
        synced
    }
}

/// Whether a log may have this name: a profile's, or what [`current`] made of one.
fn is_name(name: &str) -> bool {
    check_name(name.strip_suffix(SUFFIX).unwrap_or(name)).is_ok()
}

/// The name that has the file now that an earlier agent gave to this one: `x.json` had
/// `x.json.json`, and that file is ours to remove.
fn current(name: String) -> String {
    let file = format!("{name}{SUFFIX}");
    if file_name(&name) == file { name } else { file }
}

#[cfg(test)]
impl Ledger {
    /// A ledger of `a` whose log takes no byte, as on a full disk.
    pub(super) fn full() -> Ledger {
        Ledger {
            names: ["a".to_owned()].into(),
            log: OpenOptions::new().append(true).open("/dev/full").unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outlive_the_ledger_and_an_unfinished_line_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.add(&["a".into(), "b".into()]).unwrap();
        ledger.remove(&["a".into()]).unwrap();
        ledger.log.write_all(b"+../outside\n+torn").unwrap();
        let again = Ledger::open(folder.path()).unwrap();
        assert_eq!(again.names().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn the_names_of_an_earlier_agent_lead_to_the_files_that_it_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("ledger");
        let longest = "a".repeat(245) + ".json";
        fs::write(&log, format!("+a\n+b.json\n+c.json\n-c.json\n+{longest}\n")).unwrap();
        let file = longest + ".json";
        for _ in 0..2 {
            let ledger = Ledger::open(folder.path()).unwrap();
            let names: Vec<&String> = ledger.names().collect();
            assert_eq!(names, ["a", file.as_str(), "b.json.json"]);
        }
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.add(&["b.json".into()]).unwrap();
        let again = Ledger::open(folder.path()).unwrap();
        assert!(again.has("b.json") && again.has("b.json.json"));
    }

    #[test]
    fn a_name_that_could_not_be_logged_is_not_ours() {
        let mut ledger = Ledger::full();
        ledger.add(&["b".into()]).unwrap_err();
        assert!(!ledger.has("b"));
        ledger.remove(&["a".into()]).unwrap_err();
        assert!(ledger.has("a"));
    }
}
