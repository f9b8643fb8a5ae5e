//! The recorder: produces the profile of a running container.
//!
//! | question | module |
//! | --- | --- |
//! | what the annotations ask for, whether it will be recorded, who may record and how much | [`request`], [`intent`], [`limits`] |
//! | starting, ending, writing what no hook ended, inspecting running recordings | [`start`], [`finish`], [`stale`], [`live`] |
//! | what is stored about a running recording, and the lock | [`active`], [`recordings`] |
//! | the BPF program (`bpf/recorder.bpf.c`) and the contents of its maps | [`kernel`], [`layout`] |
//! | identifying a container and the runtime that started it | [`cgroup`], [`runtime`], [`boot`] |
//! | turning observations into a profile and its metadata | [`names`], [`profile`], [`base`], [`metadata`] |
//! | where files are, and how they are read and written | [`place`], [`output`] |

pub mod active;
pub mod base;
pub mod boot;
pub mod cgroup;
pub mod error;
pub mod finish;
pub mod intent;
pub mod kernel;
pub mod layout;
pub mod limits;
pub mod live;
pub mod metadata;
pub mod names;
pub mod output;
pub mod place;
pub mod profile;
pub mod recordings;
pub mod request;
pub mod runtime;
pub mod stale;
pub mod start;

pub use error::RecordError;
