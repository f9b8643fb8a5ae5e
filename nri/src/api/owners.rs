//! Which plugin set which field, as validators are told.

use std::collections::BTreeMap;

/// `CompoundFieldOwners` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CompoundFieldOwners {
    #[prost(btree_map = "string, string", tag = "1")]
    pub owners: BTreeMap<String, String>,
}

/// `FieldOwners` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FieldOwners {
    #[prost(btree_map = "int32, string", tag = "1")]
    pub simple: BTreeMap<i32, String>,
    #[prost(btree_map = "int32, message", tag = "2")]
    pub compound: BTreeMap<i32, CompoundFieldOwners>,
}

/// `OwningPlugins` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OwningPlugins {
    #[prost(btree_map = "string, message", tag = "1")]
    pub owners: BTreeMap<String, FieldOwners>,
}

/// `Field` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Field {
    None = 0,
    Annotations = 1,
    Mounts = 2,
    OciHooks = 3,
    Devices = 4,
    CdiDevices = 5,
    Env = 6,
    Args = 7,
    MemLimit = 8,
    MemReservation = 9,
    MemSwapLimit = 10,
    MemKernelLimit = 11,
    MemTCPLimit = 12,
    MemSwappiness = 13,
    MemDisableOomKiller = 14,
    MemUseHierarchy = 15,
    CPUShares = 16,
    CPUQuota = 17,
    CPUPeriod = 18,
    CPURealtimeRuntime = 19,
    CPURealtimePeriod = 20,
    CPUSetCPUs = 21,
    CPUSetMems = 22,
    PidsLimit = 23,
    HugepageLimits = 24,
    BlockioClass = 25,
    RdtClass = 26,
    CgroupsUnified = 27,
    CgroupsPath = 28,
    OomScoreAdj = 29,
    Rlimits = 30,
    IoPriority = 31,
    SeccompPolicy = 32,
    Namespace = 33,
    Sysctl = 34,
    LinuxNetDevices = 35,
    LinuxSched = 36,
    RdtClosID = 37,
    RdtSchemata = 38,
    RdtEnableMonitoring = 39,
    MemoryPolicy = 40,
}
