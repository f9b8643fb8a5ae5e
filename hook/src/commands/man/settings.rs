//! The page hook.toml(5), made from the shipped settings file, which documents every key.

use clap_mangen::roff::{Roff, bold, roman};

/// The file, as it is installed.
const SHIPPED: &str = include_str!("../../../../crio.d/hook.toml");

/// A part of the file: a comment and the keys below it.
#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    /// A comment without keys.
    Text(String),
    /// A table's header, with the comment before it.
    Table(&'a str, String),
    /// Keys with their values, and the comment that documents them all.
    Keys(Vec<&'a str>, String),
}

/// The page.
pub(super) fn page() -> String {
    let mut roff = Roff::new();
    let version = env!("CARGO_PKG_VERSION");
    roff.control(
        "TH",
        ["hook.toml", "5", "", &format!("portcullis {version}")],
    );
    roff.control("SH", ["NAME"]);
    roff.text([roman("hook.toml - settings of Portcullis's node parts")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("/etc/portcullis/hook.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut is_in_keys = false;
    for part in parts(SHIPPED) {
        match part {
            Part::Text(text) => {
                roff.control("PP", []);
                roff.text([roman(text)]);
            }
            Part::Table(name, text) => {
                roff.control("SH", [format!("THE TABLE [{name}]").as_str()]);
                roff.text([roman(text)]);
                is_in_keys = true;
            }
            Part::Keys(keys, text) => {
                if !is_in_keys {
                    roff.control("SH", ["KEYS"]);
                    is_in_keys = true;
                }
                for (index, key) in keys.iter().enumerate() {
                    roff.control(if index == 0 { "TP" } else { "TQ" }, []);
                    roff.text([bold(*key)]);
                }
                roff.text([roman(text)]);
            }
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    let others = "portcullis-hook(1), portcullis-runtime(1)";
    roff.text([roman(others)]);
    roff.render()
}

/// The parts in their order. A comment begins with `# `; a key or a table that is commented out has
/// no space there.
fn parts(file: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut lines = file.lines().peekable();
    while lines.peek().is_some() {
        let mut text: Vec<&str> = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("# ")) {
            text.push(line.trim_start_matches("# "));
        }
        let mut keys = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with('#') && !is_comment(line)) {
            let line = &line[1..];
            match line
                .strip_prefix('[')
                .and_then(|name| name.strip_suffix(']'))
            {
                Some(name) => parts.push(Part::Table(name, std::mem::take(&mut text).join(" "))),
                None => keys.push(line),
            }
        }
        if !keys.is_empty() {
            parts.push(Part::Keys(keys, text.join(" ")));
        } else if !text.is_empty() {
            parts.push(Part::Text(text.join(" ")));
        }
        lines.next_if(|line| line.is_empty());
    }
    parts
}

fn is_comment(line: &str) -> bool {
    line.starts_with("# ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_belongs_to_the_keys_and_the_table_below_it() {
        let file = "# About\n# this.\n\n# One.\n#a = 1\n\n# Table.\n#[t]\n# Two.\n#b = 2\n#c = 3\n";
        let expected = vec![
            Part::Text("About this.".into()),
            Part::Keys(vec!["a = 1"], "One.".into()),
            Part::Table("t", "Table.".into()),
            Part::Keys(vec!["b = 2", "c = 3"], "Two.".into()),
        ];
        assert_eq!(parts(file), expected);
    }

    #[test]
    fn every_line_of_the_shipped_file_is_in_a_part_and_every_key_has_a_text() {
        let mut words = String::new();
        for part in parts(SHIPPED) {
            match part {
                Part::Text(text) => words += &text,
                Part::Table(name, text) => {
                    assert!(!text.is_empty(), "[{name}]");
                    words += &text;
                    words += &["[", name, "]"].concat();
                }
                Part::Keys(keys, text) => {
                    // The keys of [runtimes] are examples of what its own text says.
                    let is_example = keys[0].starts_with("default = ");
                    assert!(is_example || !text.is_empty(), "{keys:?}");
                    words += &text;
                    words += &keys.concat();
                }
            }
        }
        let bare = |text: &str| text.replace([' ', '\n', '#'], "");
        assert_eq!(bare(&words), bare(SHIPPED));
    }
}
