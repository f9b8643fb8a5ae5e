//! The recorder: from a running container to the profile that it needs.
//!
//! | question | module |
//! | --- | --- |
//! | what do the annotations ask for, will it be recorded, who may and how much | [`request`], [`intent`], [`limits`] |
//! | starting, ending, writing out what nobody ended, looking at what runs | [`start`], [`finish`], [`stale`], [`live`] |
//! | what is known of a recording while it runs, and the lock | [`active`], [`recordings`] |
//! | the BPF program (`bpf/recorder.bpf.c`) and what lies in its maps | [`kernel`], [`layout`] |
//! | by what a container is recognised, what started it | [`cgroup`], [`runtime`], [`boot`] |
//! | from what was observed to a profile and its metadata | [`names`], [`profile`], [`base`], [`metadata`] |
//! | where files go, and how they are read and written | [`place`], [`output`] |

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
