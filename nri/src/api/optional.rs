//! Values that can be absent, which the protocol wraps in messages.

/// `KeyValue` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `OptionalString` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalString {
    #[prost(string, tag = "1")]
    pub value: String,
}

/// `OptionalRepeatedString` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalRepeatedString {
    #[prost(string, repeated, tag = "1")]
    pub value: Vec<String>,
}

/// `OptionalInt` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalInt {
    #[prost(int64, tag = "1")]
    pub value: i64,
}

/// `OptionalInt32` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalInt32 {
    #[prost(int32, tag = "1")]
    pub value: i32,
}

/// `OptionalUInt32` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalUInt32 {
    #[prost(uint32, tag = "1")]
    pub value: u32,
}

/// `OptionalInt64` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalInt64 {
    #[prost(int64, tag = "1")]
    pub value: i64,
}

/// `OptionalUInt64` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalUInt64 {
    #[prost(uint64, tag = "1")]
    pub value: u64,
}

/// `OptionalBool` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalBool {
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// `OptionalFileMode` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct OptionalFileMode {
    #[prost(uint32, tag = "1")]
    pub value: u32,
}
