//! Compiles the recorder's BPF program with clang; the library embeds the object.
//!
//! `CLANG` names another compiler.
use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

include!("bpf/flags.rs");

const FOLDER: &str = "bpf";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={FOLDER}");
    println!("cargo:rerun-if-env-changed=CLANG");
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    let flags = clang_flags(&arch).ok_or_else(|| format!("the recorder knows no {arch}"))?;
    let clang = env::var_os("CLANG").unwrap_or_else(|| "clang".into());
    let object = PathBuf::from(env::var("OUT_DIR")?).join("recorder.bpf.o");
    let status = Command::new(&clang)
        .args(flags)
        .arg(Path::new(FOLDER).join("recorder.bpf.c"))
        .arg("-o")
        .arg(&object)
        .status()
        .map_err(|error| format!("{}: {error}; install clang", clang.display()))?;
    if !status.success() {
        return Err(format!("{} failed with {status}", clang.display()).into());
    }
    Ok(())
}
