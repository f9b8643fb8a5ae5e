//! The exit codes, which are the evaluator's, and the table of them in `--help`.

pub use portcullis_profile::gate::Code;
use std::fmt::Write;

/// The codes as a table for `--help`.
pub fn help() -> String {
    let mut text = "Exit codes:\n  0   accepted or applied".to_owned();
    for code in Code::ALL {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {:<3} {}", code.number(), code.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of docs/exit-codes.md, from code 1 on.
    #[test]
    fn the_documented_table_has_every_code_with_its_meaning_and_remedy() {
        let page = include_str!("../../docs/exit-codes.md");
        for code in Code::ALL {
            let row = format!(
                "| {} | {} | {} |",
                code.number(),
                code.meaning(),
                code.remedy()
            );
            assert!(
                page.contains(&row),
                "docs/exit-codes.md lacks this row:\n{row}"
            );
        }
        let (_, table) = page.split_once("| code | meaning |").unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with("| "));
        assert_eq!(rows.count(), Code::ALL.len() + 1, "0 and every code");
    }

    #[test]
    fn help_lists_every_code() {
        for code in Code::ALL {
            assert!(help().contains(&format!("  {:<3} {}", code.number(), code.meaning())));
        }
    }
}
