//! The metrics of `ConfigMap` objects as a source of profiles.

use super::{Gauge, labels};
use crate::words::words;
use prometheus_client::{encoding::EncodeLabelSet, metrics::family::Family, registry::Registry};

words! {
    /// What became of a profile of a `ConfigMap`, or of a key that gives none.
    pub enum KeyState {
        /// The profile is as the key says.
        Applied = "applied",
        /// The key gives no profile.
        Invalid = "invalid",
        /// The profile of that name is somebody else's.
        NameTaken = "name-taken",
        /// It can't be written.
        Failed = "failed",
    }
}

labels! {
    /// Labels of what keys of `ConfigMap` objects give.
    KeyLabels { state: KeyState }
}

/// Registers the counts of profiles and keys.
pub(super) fn register(to: &mut Registry) -> Family<KeyLabels, Gauge> {
    let keys = super::register(
        to,
        "portcullis_controller_config_map_keys",
        "Profiles in ConfigMaps and keys that give none, by what became of them",
        Family::<KeyLabels, Gauge>::default(),
    );
    // Every series is there from the start.
    for state in KeyState::ALL {
        drop(keys.get_or_create(&KeyLabels { state: *state }));
    }
    keys
}
