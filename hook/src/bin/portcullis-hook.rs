//! `portcullis-hook`: the OCI hook and its helpers for people.

#![no_main]

use portcullis_hook::{
    commands::{self, Arguments},
    start,
};
use std::ffi::c_int;

// SAFETY: no other symbol of the program has this name. The C runtime calls it once, with arguments
// that may be left alone: the standard library has them from the loader.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn main() -> c_int {
    start::program(|| commands::run(&Arguments::of_process()))
}
