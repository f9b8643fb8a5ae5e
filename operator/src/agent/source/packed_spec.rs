//! Specifications as the agent keeps them in memory. As JSON, most of one is names of system calls, which all have in
//! common: packed, hundreds of profiles take less than a tenth.

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use portcullis_profile::{Action, Arch, filter::syscalls};
use std::{
    fmt,
    sync::{Arc, LazyLock},
};

/// What a specification probably contains, as JSON writes it.
static LIKELY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let quoted = |names: Vec<&str>| format!(r#""{}""#, names.join(r#"",""#));
    let arches = quoted(Arch::ALL.iter().map(|arch| arch.as_str()).collect());
    let action = |it: &Action| format!(r#""action":"{it}","args":[],"errnoRet":1"#);
    let actions = Action::ALL.iter().map(action).collect::<Vec<_>>().join(",");
    let calls = quoted(syscalls::names().to_vec());
    format!(
        r#""architectures":[{arches}],{actions},"defaultAction":"SCMP_ACT_ERRNO","names":[{calls}]"#
    )
    .into_bytes()
});

/// A profile's specification. Copies share their bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedSpec(Arc<[u8]>);

impl PackedSpec {
    /// Packs a specification, which is JSON.
    pub fn of(text: &str) -> PackedSpec {
        PackedSpec(compress_prepend_size_with_dict(text.as_bytes(), &LIKELY).into())
    }

    /// The specification as JSON.
    pub fn text(&self) -> String {
        let text = decompress_size_prepended_with_dict(&self.0, &LIKELY);
        // What was packed here can be unpacked; nothing would be no valid specification.
        text.ok()
            .and_then(|text| String::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

impl fmt::Debug for PackedSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_profile_of_400_names_takes_a_tenth() {
        let names = &syscalls::names()[20..420];
        let text = serde_json::json!({"allow": names}).to_string();
        let packed = PackedSpec::of(&text);
        assert_eq!(packed.text(), text);
        assert!(
            packed.0.len() < text.len() / 10,
            "{} of {}",
            packed.0.len(),
            text.len()
        );
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(text in ".*|([a-z\",:]{0,4}SCMP_ACT_)*") {
            let packed = PackedSpec::of(&text);
            prop_assert_eq!(packed.text(), text.clone());
            prop_assert_eq!(packed, PackedSpec::of(&text));
        }
    }
}
