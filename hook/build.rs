//! Compiles the recorder's BPF program with clang, which the library embeds, and what loads libelf
//! late, which the programs are linked with.
//!
//! `CLANG` names another compiler of BPF programs, `CC` one of C.
use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    process::Command,
};

include!("bpf/flags.rs");

const FOLDER: &str = "bpf";

const LIBELF: &str = "native/libelf.c";

fn main() -> Result<(), Box<dyn Error>> {
    compile_bpf()?;
    link_libelf_late();
    link_unwinder();
    Ok(())
}

/// An object of the program itself: its functions come before those of the libraries, which
/// nothing then needs.
fn link_libelf_late() {
    println!("cargo:rerun-if-changed={LIBELF}");
    let mut build = cc::Build::new();
    build.file(LIBELF).extra_warnings(true);
    build.flag("-fvisibility=hidden");
    for object in build.compile_intermediates() {
        println!("cargo:rustc-link-arg-bins={}", object.display());
    }
}

/// The unwinder out of GCC's static library, before the standard library asks for the shared one.
fn link_unwinder() {
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}

fn compile_bpf() -> Result<(), Box<dyn Error>> {
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
