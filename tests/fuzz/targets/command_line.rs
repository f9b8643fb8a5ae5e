//! The command lines of runtimes: every line is read or refused with one plain line, and what is
//! read where the runtime is not known is what crun and runc would each read, or no container.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_hook::oci::command_line::{Command, CommandLine, Runtime};
use std::ffi::OsString;

fuzz_target!(|text: &str| {
    let words: Vec<OsString> = text.split('\n').map(OsString::from).collect();
    let read = |runtime| CommandLine::read(runtime, &words);
    if let Ok(line) = read(Runtime::Other)
        && let Command::Makes(either) = line.command
    {
        for runtime in [Runtime::Crun, Runtime::Runc] {
            if let Ok(line) = read(runtime)
                && let Command::Makes(one) = line.command
            {
                assert_eq!(one, either, "{runtime:?}: {words:?}");
            }
        }
    }
    for runtime in [Runtime::Crun, Runtime::Runc, Runtime::Other] {
        match read(runtime) {
            // Without such a word no container comes of a line.
            Ok(line) => assert!(
                !matches!(line.command, Command::Makes(_))
                    || words.iter().any(|word| ["create", "run", "restore"]
                        .map(OsString::from)
                        .contains(&OsString::from(word.to_string_lossy().trim()))),
                "{words:?}"
            ),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
