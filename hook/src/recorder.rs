//! The recorder: from a running container to the profile that it needs.
//!
//! [`kernel`] holds the BPF program (`bpf/recorder.bpf.c`), [`layout`] what lies in its maps,
//! [`cgroup`] says by what a container is recognised.

pub mod cgroup;
pub mod kernel;
pub mod layout;
