//! A seccomp policy, in the form of the OCI runtime specification.

use super::OptionalUInt32;

/// `SecurityProfile` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SecurityProfile {
    #[prost(enumeration = "ProfileType", tag = "1")]
    pub profile_type: i32,
    #[prost(string, tag = "2")]
    pub localhost_ref: String,
}

/// `LinuxSeccomp` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxSeccomp {
    #[prost(string, tag = "1")]
    pub default_action: String,
    #[prost(message, optional, tag = "2")]
    pub default_errno: Option<OptionalUInt32>,
    #[prost(string, repeated, tag = "3")]
    pub architectures: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub flags: Vec<String>,
    #[prost(string, tag = "5")]
    pub listener_path: String,
    #[prost(string, tag = "6")]
    pub listener_metadata: String,
    #[prost(message, repeated, tag = "7")]
    pub syscalls: Vec<LinuxSyscall>,
}

/// `LinuxSyscall` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxSyscall {
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
    #[prost(string, tag = "2")]
    pub action: String,
    #[prost(message, optional, tag = "3")]
    pub errno_ret: Option<OptionalUInt32>,
    #[prost(message, repeated, tag = "4")]
    pub args: Vec<LinuxSeccompArg>,
}

/// `LinuxSeccompArg` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LinuxSeccompArg {
    #[prost(uint32, tag = "1")]
    pub index: u32,
    #[prost(uint64, tag = "2")]
    pub value: u64,
    #[prost(uint64, tag = "3")]
    pub value_two: u64,
    #[prost(string, tag = "4")]
    pub op: String,
}

/// `ProfileType` of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ProfileType {
    RuntimeDefault = 0,
    Unconfined = 1,
    Localhost = 2,
}
