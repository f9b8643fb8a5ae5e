//! `portcullis-hook check`: whether the gate is really there.
//!
//! CRI-O skips a hook whose binary does not exist when it reads the hook's file, without a word;
//! so the files, the binaries they name, the settings and the seccomp root are looked at here.

use crate::{
    exit::Code,
    oci::config::{MAX_BYTES, is_our_hook},
    wrapper::runtime,
};
use portcullis_profile::{root::read_named, settings::Settings};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Where CRI-O (the first, by the drop-in that ships) and both engines read hook files from.
const HOOK_FOLDERS: [&str; 3] = [
    "/etc/crio/hooks.d",
    "/usr/share/containers/oci/hooks.d",
    "/etc/containers/oci/hooks.d",
];

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A folder of hook files; may be repeated. Default: the engines' own.
    #[arg(long = "hooks-dir", value_name = "DIR")]
    hooks: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One thing that was looked at.
struct Finding {
    what: String,
    wrong: Option<String>,
}

/// Looks at everything, then says everything.
#[allow(clippy::print_stdout)]
pub fn run(settings: &Path, arguments: &Arguments) -> ExitCode {
    let loaded = Settings::load(settings);
    let mut findings = vec![Finding {
        what: format!("settings {}", settings.display()),
        wrong: loaded.as_ref().err().map(ToString::to_string),
    }];
    let loaded = loaded.unwrap_or_default();
    findings.push(seccomp_root(&loaded.seccomp_root));
    findings.push(operator_folder(&loaded.seccomp_root));
    let folders: Vec<PathBuf> = if arguments.hooks.is_empty() {
        HOOK_FOLDERS.iter().map(PathBuf::from).collect()
    } else {
        arguments.hooks.clone()
    };
    let files = hook_files(&folders);
    findings.extend(hooks(&files, &folders, loaded.wait_ms));
    if loaded.record.log_denials {
        findings.push(Finding {
            what: "a hook that records before one verifies (log_denials)".to_owned(),
            wrong: unrecorded(&files),
        });
    }
    findings.extend(loaded.runtimes.iter().map(|(name, path)| Finding {
        what: format!("runtime {name} ({})", path.display()),
        wrong: runtime::not_executable(path),
    }));
    let good = findings.iter().all(|finding| finding.wrong.is_none());
    if arguments.json {
        let all: Vec<Value> = findings
            .iter()
            .map(|finding| json!({ "what": finding.what, "wrong": finding.wrong }))
            .collect();
        println!("{:#}", json!({ "good": good, "findings": all }));
    } else {
        for finding in &findings {
            match &finding.wrong {
                None => println!("ok     {}", finding.what),
                Some(wrong) => println!("WRONG  {}: {wrong}", finding.what),
            }
        }
    }
    if good {
        ExitCode::SUCCESS
    } else {
        Code::Unexpected.into()
    }
}

fn seccomp_root(root: &Path) -> Finding {
    let wrong = match fs::metadata(root) {
        Ok(data) if !data.is_dir() => Some("is not a folder".to_owned()),
        Ok(data) if data.permissions().mode() & 0o022 != 0 => Some(format!(
            "others may write there; chmod go-w {}",
            root.display()
        )),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    Finding {
        what: format!("seccomp root {}", root.display()),
        wrong,
    }
}

/// The established operator leaves a link there, which is never followed below the root.
fn operator_folder(root: &Path) -> Finding {
    let folder = root.join("operator");
    let wrong = match fs::symlink_metadata(&folder) {
        Ok(data) if data.is_symlink() => Some(format!(
            "is a link, and none is followed; rm {}",
            folder.display()
        )),
        Ok(data) if !data.is_dir() => Some("is not a folder".to_owned()),
        _ => None,
    };
    Finding {
        what: format!("folder {}", folder.display()),
        wrong,
    }
}

/// Every hook file in the order in which engines run hooks: by its name, whichever its folder.
fn hook_files(folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files
}

fn read_hook(file: &Path) -> Result<Value, String> {
    read_named(file, MAX_BYTES)
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()))
}

/// Why no denials are ever logged, with these hooks.
fn unrecorded(files: &[PathBuf]) -> Option<String> {
    let first = files
        .iter()
        .filter_map(|file| Some((file, read_hook(file).ok().filter(calls_us)?)))
        .find(|(_, hook)| has_argument(hook, "record") || has_argument(hook, "verify"));
    match first {
        Some((_, hook)) if has_argument(&hook, "record") => None,
        Some((file, _)) => Some(format!(
            "{} runs first; denials stay denials",
            file.display()
        )),
        None => Some("there is none; denials stay denials".to_owned()),
    }
}

/// Every hook file that calls us, and that there is one that verifies.
fn hooks(files: &[PathBuf], folders: &[PathBuf], wait_ms: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut verifies = false;
    for file in files {
        match read_hook(file) {
            Err(wrong) => findings.push(Finding {
                what: format!("hook file {}", file.display()),
                wrong: Some(wrong),
            }),
            Ok(hook) if calls_us(&hook) => {
                let wrong = hook_mistake(&hook, wait_ms);
                verifies |= wrong.is_none() && has_argument(&hook, "verify");
                findings.push(Finding {
                    what: format!("hook file {}", file.display()),
                    wrong,
                });
            }
            Ok(_) => {}
        }
    }
    let searched: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    findings.push(Finding {
        what: "a hook that verifies".to_owned(),
        wrong: (!verifies).then(|| {
            format!(
                "none in {}; containers start unverified",
                searched.join(", ")
            )
        }),
    });
    findings
}

fn path(hook: &Value) -> Option<&str> {
    hook.pointer("/hook/path").and_then(Value::as_str)
}

fn calls_us(hook: &Value) -> bool {
    path(hook).is_some_and(|path| is_our_hook(Path::new(path)))
}

fn has_argument(hook: &Value, argument: &str) -> bool {
    hook.pointer("/hook/args")
        .and_then(Value::as_array)
        .is_some_and(|args| args.iter().any(|arg| arg.as_str() == Some(argument)))
}

fn hook_mistake(hook: &Value, wait_ms: u64) -> Option<String> {
    let binary = Path::new(path(hook)?);
    if let Some(wrong) = runtime::not_executable(binary) {
        return Some(format!("{}: {wrong}", binary.display()));
    }
    match fs::metadata(binary) {
        Ok(data) if data.uid() != 0 || data.permissions().mode() & 0o022 != 0 => {
            return Some(format!(
                "{}: others than root may change it",
                binary.display()
            ));
        }
        _ => {}
    }
    let timeout = hook.pointer("/hook/timeout").and_then(Value::as_u64);
    timeout
        .filter(|seconds| seconds * 1000 <= 2 * wait_ms)
        .map(|seconds| {
            format!("its timeout of {seconds} s is not more than twice wait_ms = {wait_ms}")
        })
}
