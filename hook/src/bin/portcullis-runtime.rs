//! `portcullis-runtime`: the OCI runtime wrapper.

#![no_main]

use portcullis_hook::{start, wrapper};
use std::{env, ffi::c_int};

// SAFETY: no other symbol of the program has this name. The C runtime calls it once, with arguments
// that may be left alone: the standard library has them from the loader.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    start::program(|| Err(wrapper::run(env::args_os().collect())))
}
