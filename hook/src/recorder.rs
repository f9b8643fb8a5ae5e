//! The recorder: from a running container to the profile that it needs.
//!
//! [`request`] says what a container's annotations ask for, [`session`] begins and ends
//! recordings, [`active`] is what is known of one while it runs, [`kernel`] holds the BPF program
//! (`bpf/recorder.bpf.c`), [`layout`] what lies in its maps, [`cgroup`] by what a container is
//! recognised; [`recorded`] makes a profile of what was seen and [`output`] writes it.

pub mod active;
pub mod cgroup;
pub mod error;
pub mod kernel;
pub mod layout;
pub mod output;
pub mod recorded;
pub mod request;
pub mod session;

pub use error::RecordError;
