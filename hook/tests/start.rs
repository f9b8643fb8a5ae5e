//! The shared libraries that are loaded before a verb of the gate starts: since the hook runs for
//! every container, none that only recordings need.

#![allow(clippy::unwrap_used)]

use std::process::Command;

/// The shared libraries that an executable asks for (`DT_NEEDED`).
fn needed(program: &str) -> Vec<String> {
    let output = Command::new("readelf")
        .args(["--dynamic", "--wide", program])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| Some(line.split_once('[')?.1.trim_end_matches(']').to_owned()))
        .collect()
}

#[test]
fn the_programs_need_libseccomp_and_the_c_library_alone() {
    for program in [
        env!("CARGO_BIN_EXE_portcullis-hook"),
        env!("CARGO_BIN_EXE_portcullis-runtime"),
    ] {
        let needed = needed(program);
        assert!(
            needed.iter().any(|name| name.starts_with("libseccomp.so")),
            "{needed:?}"
        );
        for name in &needed {
            let expected = ["libseccomp.so", "libc.so", "ld-linux"];
            assert!(
                expected.iter().any(|known| name.starts_with(known)),
                "{program} needs {name}"
            );
        }
    }
}
