//! Limits, scheduling and classes of a container or pod.

use std::collections::BTreeMap;

use super::{OptionalBool, OptionalInt64, OptionalRepeatedString, OptionalString, OptionalUInt64};

/// `LinuxDeviceCgroup` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxDeviceCgroup {
    #[prost(bool, tag = "1")]
    pub allow: bool,
    #[prost(string, tag = "2")]
    pub r#type: String,
    #[prost(message, optional, tag = "3")]
    pub major: Option<OptionalInt64>,
    #[prost(message, optional, tag = "4")]
    pub minor: Option<OptionalInt64>,
    #[prost(string, tag = "5")]
    pub access: String,
}

/// `LinuxResources` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxResources {
    #[prost(message, optional, tag = "1")]
    pub memory: Option<LinuxMemory>,
    #[prost(message, optional, tag = "2")]
    pub cpu: Option<LinuxCpu>,
    #[prost(message, repeated, tag = "3")]
    pub hugepage_limits: Vec<HugepageLimit>,
    #[prost(message, optional, tag = "4")]
    pub blockio_class: Option<OptionalString>,
    #[prost(message, optional, tag = "5")]
    pub rdt_class: Option<OptionalString>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub unified: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "7")]
    pub devices: Vec<LinuxDeviceCgroup>,
    #[prost(message, optional, tag = "8")]
    pub pids: Option<LinuxPids>,
}

/// `LinuxMemory` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxMemory {
    #[prost(message, optional, tag = "1")]
    pub limit: Option<OptionalInt64>,
    #[prost(message, optional, tag = "2")]
    pub reservation: Option<OptionalInt64>,
    #[prost(message, optional, tag = "3")]
    pub swap: Option<OptionalInt64>,
    #[prost(message, optional, tag = "4")]
    pub kernel: Option<OptionalInt64>,
    #[prost(message, optional, tag = "5")]
    pub kernel_tcp: Option<OptionalInt64>,
    #[prost(message, optional, tag = "6")]
    pub swappiness: Option<OptionalUInt64>,
    #[prost(message, optional, tag = "7")]
    pub disable_oom_killer: Option<OptionalBool>,
    #[prost(message, optional, tag = "8")]
    pub use_hierarchy: Option<OptionalBool>,
}

/// `LinuxCPU` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxCpu {
    #[prost(message, optional, tag = "1")]
    pub shares: Option<OptionalUInt64>,
    #[prost(message, optional, tag = "2")]
    pub quota: Option<OptionalInt64>,
    #[prost(message, optional, tag = "3")]
    pub period: Option<OptionalUInt64>,
    #[prost(message, optional, tag = "4")]
    pub realtime_runtime: Option<OptionalInt64>,
    #[prost(message, optional, tag = "5")]
    pub realtime_period: Option<OptionalUInt64>,
    #[prost(string, tag = "6")]
    pub cpus: String,
    #[prost(string, tag = "7")]
    pub mems: String,
}

/// `HugepageLimit` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HugepageLimit {
    #[prost(string, tag = "1")]
    pub page_size: String,
    #[prost(uint64, tag = "2")]
    pub limit: u64,
}

/// `POSIXRlimit` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PosixRlimit {
    #[prost(string, tag = "1")]
    pub r#type: String,
    #[prost(uint64, tag = "2")]
    pub hard: u64,
    #[prost(uint64, tag = "3")]
    pub soft: u64,
}

/// `LinuxPids` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxPids {
    #[prost(int64, tag = "1")]
    pub limit: i64,
}

/// `LinuxIOPriority` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxIoPriority {
    #[prost(enumeration = "IoPrioClass", tag = "1")]
    pub class: i32,
    #[prost(int32, tag = "2")]
    pub priority: i32,
}

/// `LinuxScheduler` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxScheduler {
    #[prost(enumeration = "LinuxSchedulerPolicy", tag = "1")]
    pub policy: i32,
    #[prost(int32, tag = "2")]
    pub nice: i32,
    #[prost(int32, tag = "3")]
    pub priority: i32,
    #[prost(enumeration = "LinuxSchedulerFlag", repeated, tag = "4")]
    pub flags: Vec<i32>,
    #[prost(uint64, tag = "5")]
    pub runtime: u64,
    #[prost(uint64, tag = "6")]
    pub deadline: u64,
    #[prost(uint64, tag = "7")]
    pub period: u64,
}

/// `LinuxMemoryPolicy` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxMemoryPolicy {
    #[prost(enumeration = "MpolMode", tag = "1")]
    pub mode: i32,
    #[prost(string, tag = "2")]
    pub nodes: String,
    #[prost(enumeration = "MpolFlag", repeated, tag = "3")]
    pub flags: Vec<i32>,
}

/// `LinuxRdt` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxRdt {
    #[prost(message, optional, tag = "1")]
    pub clos_id: Option<OptionalString>,
    #[prost(message, optional, tag = "2")]
    pub schemata: Option<OptionalRepeatedString>,
    #[prost(message, optional, tag = "3")]
    pub enable_monitoring: Option<OptionalBool>,
    #[prost(bool, tag = "4")]
    pub remove: bool,
}

/// `IOPrioClass` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum IoPrioClass {
    None = 0,
    Rt = 1,
    Be = 2,
    Idle = 3,
}

/// `LinuxSchedulerPolicy` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum LinuxSchedulerPolicy {
    None = 0,
    Other = 1,
    Fifo = 2,
    Rr = 3,
    Batch = 4,
    Iso = 5,
    Idle = 6,
    Deadline = 7,
}

/// `LinuxSchedulerFlag` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum LinuxSchedulerFlag {
    ResetOnFork = 0,
    Reclaim = 1,
    DlOverrun = 2,
    KeepPolicy = 3,
    KeepParams = 4,
    UtilClampMin = 5,
    UtilClampMax = 6,
}

/// `MpolMode` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MpolMode {
    Default = 0,
    Preferred = 1,
    Bind = 2,
    Interleave = 3,
    Local = 4,
    PreferredMany = 5,
    WeightedInterleave = 6,
}

/// `MpolFlag` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MpolFlag {
    StaticNodes = 0,
    RelativeNodes = 1,
    NumaBalancing = 2,
}
