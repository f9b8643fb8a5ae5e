//! Schemas of fields that several types share.

use super::{gate::GateState, nri::NriState};
use portcullis_profile::{Action, Arch, Flag, Operator};
use schemars::{Schema, SchemaGenerator, json_schema};

fn one_of<T: std::fmt::Display>(all: &[T]) -> Schema {
    let values: Vec<String> = all.iter().map(ToString::to_string).collect();
    json_schema!({"type": "string", "enum": values})
}

pub(super) fn action(_: &mut SchemaGenerator) -> Schema {
    one_of(Action::ALL)
}

pub(super) fn gate_state(_: &mut SchemaGenerator) -> Schema {
    one_of(GateState::ALL)
}

pub(super) fn nri_state(_: &mut SchemaGenerator) -> Schema {
    one_of(NriState::ALL)
}

pub(super) fn operator(_: &mut SchemaGenerator) -> Schema {
    one_of(Operator::ALL)
}

pub(super) fn architectures(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 32, "items": one_of(Arch::ALL)})
}

pub(super) fn flags(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 8, "items": one_of(Flag::ALL), "nullable": true})
}

/// Names of system calls.
pub(super) fn names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 2048,
        "items": {"type": "string", "minLength": 1, "maxLength": 64}})
}

/// The name of a profile, or the runtime's own.
pub(super) fn profile_or_default(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 1, "maxLength": 250,
        "pattern": "^(runtime/default|[a-z0-9]([a-z0-9.-]*[a-z0-9])?)$"})
}

/// Names of containers.
pub(super) fn container_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 64, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"}})
}

/// Patterns for images.
pub(super) fn image_patterns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "maxItems": 64, "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 512, "pattern": "^[a-zA-Z0-9._/:@*-]+$"}})
}

/// The position of an argument of a system call.
pub(super) fn index(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 5})
}

/// A number that is not negative.
pub(super) fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int64", "minimum": 0})
}

/// An errno as a number or a name. A number that the type can't hold must never be stored: lists
/// of the kind could not be decoded any more.
pub(super) fn errno(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "nullable": true,
        "minimum": 0, "maximum": 4095, "maxLength": 32})
}
