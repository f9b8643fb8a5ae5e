//! Seccomp policies that are encoded once and answered many times: with hundreds of rules, copying and encoding one takes
//! longer than all the rest of an answer.

use bytes::Bytes;
use prost::Message as _;

use crate::api::{
    ContainerAdjustment, CreateContainerResponse, LinuxContainerAdjustment, LinuxSeccomp,
};
use crate::plugin::Creation;

/// A seccomp policy as it is sent, for [`Creation::seccomp_policy`]. Copies of it share their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedPolicy(Bytes);

impl EncodedPolicy {
    /// Encodes a policy.
    pub fn new(policy: LinuxSeccomp) -> Self {
        let linux = LinuxContainerAdjustment {
            seccomp_policy: Some(policy),
            ..LinuxContainerAdjustment::default()
        };
        let adjust = ContainerAdjustment {
            linux: Some(linux),
            ..ContainerAdjustment::default()
        };
        let response = CreateContainerResponse {
            adjust: Some(adjust),
            ..CreateContainerResponse::default()
        };
        Self(response.encode_to_vec().into())
    }

    /// The policy that was encoded.
    pub fn policy(&self) -> LinuxSeccomp {
        let response = CreateContainerResponse::decode(self.0.clone()).unwrap_or_default();
        let linux = response.adjust.and_then(|adjust| adjust.linux);
        linux
            .and_then(|linux| linux.seccomp_policy)
            .unwrap_or_default()
    }
}

/// The encoded answer. Where a policy is encoded already, its bytes are an answer with nothing else, and the rest
/// follows as a second one: a message that comes twice is merged field by field (protobuf's encoding, "Last One Wins").
pub(crate) fn response(creation: Creation) -> Vec<u8> {
    let mut rest = CreateContainerResponse {
        adjust: creation.adjust,
        update: creation.update,
        evict: creation.evict,
    };
    let Some(EncodedPolicy(policy)) = creation.seccomp_policy else {
        return rest.encode_to_vec();
    };
    // Two policies would be merged too, and have the rules of both.
    let adjust = rest.adjust.as_mut();
    if let Some(linux) = adjust.and_then(|adjust| adjust.linux.as_mut()) {
        linux.seccomp_policy = None;
    }
    let mut bytes = Vec::with_capacity(policy.len() + rest.encoded_len());
    bytes.extend_from_slice(&policy);
    rest.encode_raw(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Hook, Hooks, LinuxSyscall, OptionalInt};

    fn policy(call: &str) -> LinuxSeccomp {
        LinuxSeccomp {
            default_action: "SCMP_ACT_ERRNO".into(),
            syscalls: vec![LinuxSyscall {
                names: vec![call.into()],
                action: "SCMP_ACT_ALLOW".into(),
                ..LinuxSyscall::default()
            }],
            ..LinuxSeccomp::default()
        }
    }

    /// Hooks, and a linux part with this policy.
    fn adjust(policy: Option<LinuxSeccomp>) -> ContainerAdjustment {
        let hooks = Hooks {
            create_runtime: vec![Hook {
                path: "/hook".into(),
                ..Hook::default()
            }],
            ..Hooks::default()
        };
        ContainerAdjustment {
            hooks: Some(hooks),
            linux: Some(LinuxContainerAdjustment {
                oom_score_adj: Some(OptionalInt { value: 7 }),
                seccomp_policy: policy,
                ..LinuxContainerAdjustment::default()
            }),
            ..ContainerAdjustment::default()
        }
    }

    #[test]
    fn an_encoded_policy_and_the_rest_are_one_answer() {
        let encoded = EncodedPolicy::new(policy("read"));
        assert_eq!(encoded.policy(), policy("read"));
        // The one that is encoded takes the place of the other.
        for other in [None, Some(policy("write"))] {
            let creation = Creation {
                adjust: Some(adjust(other)),
                seccomp_policy: Some(encoded.clone()),
                ..Creation::default()
            };
            let sent = CreateContainerResponse::decode(&*response(creation)).expect("an answer");
            assert_eq!(sent.adjust, Some(adjust(Some(policy("read")))));
        }
        let alone = Creation {
            seccomp_policy: Some(encoded.clone()),
            ..Creation::default()
        };
        assert_eq!(response(alone), encoded.0);
    }

    #[test]
    fn without_one_the_answer_is_what_it_says() {
        let creation = Creation {
            adjust: Some(adjust(Some(policy("write")))),
            ..Creation::default()
        };
        let sent = CreateContainerResponse::decode(&*response(creation)).expect("an answer");
        assert_eq!(sent.adjust, Some(adjust(Some(policy("write")))));
    }
}
