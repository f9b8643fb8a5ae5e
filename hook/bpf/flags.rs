// How the recorder's BPF program is compiled; build.rs and tests/bpf.rs include it.

/// clang's flags for an architecture of the kernel that the program is loaded into; `None` if
/// the recorder does not know it.
fn clang_flags(arch: &str) -> Option<Vec<&'static str>> {
    let target = match arch {
        "x86_64" => "-D__TARGET_ARCH_x86",
        "aarch64" => "-D__TARGET_ARCH_arm64",
        _ => return None,
    };
    let mut flags = vec!["-g", "-O2", "-target", "bpf", "-mcpu=v3", target];
    flags.extend(["-Wall", "-Wextra", "-Werror", "-c"]);
    Some(flags)
}
