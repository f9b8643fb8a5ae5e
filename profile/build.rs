//! Sets the version of the check, a hash of its sources, so that old findings are not used after a
//! change of these.

use std::{env, fs, io, path::Path};

/// The sources that findings depend on.
const SOURCES: [&str; 4] = ["src/compare", "src/compose", "src/filter", "src/program"];

/// Continues an FNV-1a hash.
fn add(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn add_all(mut hash: u64, folder: &Path) -> io::Result<u64> {
    let mut paths: Vec<_> = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths {
        hash = if path.is_dir() {
            add_all(hash, &path)?
        } else {
            add(hash, &fs::read(&path)?)
        };
    }
    Ok(hash)
}

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        hash = add_all(hash, &Path::new(&root).join(source))?;
    }
    println!("cargo::rustc-env=PORTCULLIS_CHECK={hash:016x}");
    Ok(())
}
