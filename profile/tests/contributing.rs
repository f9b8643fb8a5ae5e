//! The files and folders that CONTRIBUTING.md names exist.

use std::path::Path;

#[test]
fn the_files_that_contributing_names_exist() {
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let text = include_str!("../../CONTRIBUTING.md");
    // Every other part of a line is in backticks; a path among them starts at a folder of ours.
    let named: Vec<&str> = text
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split(' ').next())
        .filter(|path| {
            path.split_once('/')
                .is_some_and(|(folder, _)| repository.join(folder).is_dir() && folder != "target")
        })
        .collect();
    assert!(named.len() > 40, "{named:?}");
    for path in named {
        assert!(repository.join(path).exists(), "{path} is not there");
    }
}
