//! What is known of a runtime, and what it can do.

use std::time::Duration;

use crate::api::{ConfigureRequest, Event};
use crate::events::Events;

/// What a runtime says of itself when it configures a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// Its name, such as `containerd` or `cri-o`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of NRI, or the lowest that it can be: said since 0.12, else inferred from name and version; `None` if
    /// neither is possible.
    pub nri: Option<NriVersion>,
    /// How long the runtime waits for a plugin to register, if it says so.
    pub registration_timeout: Option<Duration>,
    /// How long the runtime waits for an answer, if it says so. A plugin that is late is dropped.
    pub request_timeout: Option<Duration>,
}

impl RuntimeInfo {
    pub(crate) fn from_request(request: &ConfigureRequest) -> Self {
        let name = request.runtime_name.clone();
        let version = request.runtime_version.clone();
        let nri = if request.nri_version.is_empty() {
            NriVersion::infer(&name, &version)
        } else {
            // Some runtimes are built without knowing it and say 0.0.0. Only those since 0.12 say anything.
            NriVersion::parse(&request.nri_version).max(Some(NriVersion::FIRST_SAID))
        };
        Self {
            name,
            version,
            nri,
            registration_timeout: milliseconds(request.registration_timeout),
            request_timeout: milliseconds(request.request_timeout),
        }
    }

    /// What the runtime can do.
    pub fn capabilities(&self) -> Capabilities {
        let since = |minor, patch| {
            self.nri.map(|version| {
                version
                    >= NriVersion {
                        major: 0,
                        minor,
                        patch,
                    }
            })
        };
        Capabilities {
            seccomp_policy: since(10, 0),
            validation: since(10, 0),
            pod_updates: since(10, 0),
            dedicated_events: since(12, 0),
            failure_policy: since(12, 4),
        }
    }
}

fn milliseconds(value: i64) -> Option<Duration> {
    u64::try_from(value)
        .ok()
        .filter(|value| *value > 0)
        .map(Duration::from_millis)
}

/// A version of NRI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct NriVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl NriVersion {
    /// The first in which runtimes say their version.
    const FIRST_SAID: Self = Self {
        major: 0,
        minor: 12,
        patch: 0,
    };

    /// Reads `v0.12.5`, with or without the `v` and what follows the patch level.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim_start_matches('v').splitn(3, '.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.parse().ok()?;
        let patch = parts.next().unwrap_or("0");
        let end = patch
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(patch.len());
        Some(Self {
            major,
            minor,
            patch: patch[..end].parse().ok()?,
        })
    }

    /// Whether seccomp policies exist is what matters, and is all that can be told: the lowest version that fits.
    fn infer(name: &str, version: &str) -> Option<Self> {
        let runtime = Self::parse(version)?;
        let with_policies = match name {
            "containerd" => (runtime.major, runtime.minor) >= (2, 2),
            "cri-o" | "crio" => (runtime.major, runtime.minor) >= (1, 34),
            _ => return None,
        };
        Some(Self {
            major: 0,
            minor: if with_policies { 10 } else { 6 },
            patch: 0,
        })
    }
}

/// What a runtime can do; `None` where its version of NRI is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Takes a seccomp policy. Without it one **vanishes silently**; injected hooks and refusals still work.
    pub seccomp_policy: Option<bool>,
    /// Asks validators.
    pub validation: Option<bool>,
    /// Tells of changes to a pod's resources.
    pub pod_updates: Option<bool>,
    /// Sends each event as a call of its own, not as `StateChange`.
    pub dedicated_events: Option<bool>,
    /// Honours [`crate::Plugin::failure_policy`].
    pub failure_policy: Option<bool>,
}

impl Capabilities {
    /// The events that the runtime is known to lack. It would refuse a plugin that asks for them, so they are left
    /// out; where the version is not known they are asked for, and the refusal is the error.
    pub fn unsupported_events(&self) -> Events {
        let mut lacks = Events::NONE;
        if self.validation == Some(false) {
            lacks = lacks | Event::ValidateContainerAdjustment.into();
        }
        if self.pod_updates == Some(false) {
            lacks = lacks | Event::UpdatePodSandbox.into() | Event::PostUpdatePodSandbox.into();
        }
        lacks
    }
}

impl Capabilities {
    /// What the runtime is known to lack, one line each, for a log or a status. Empty where its version is not known.
    pub fn lacking(&self) -> Vec<&'static str> {
        [
            (
                self.seccomp_policy,
                "it drops seccomp policies silently (before NRI 0.10)",
            ),
            (self.validation, "it asks no validators (before NRI 0.10)"),
            (
                self.pod_updates,
                "it does not tell of changes to pods (before NRI 0.10)",
            ),
            (
                self.failure_policy,
                "it ignores failure policies (before NRI 0.12.4)",
            ),
        ]
        .into_iter()
        .filter(|(has, _)| *has == Some(false))
        .map(|(_, line)| line)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(name: &str, version: &str, nri: &str) -> RuntimeInfo {
        RuntimeInfo::from_request(&ConfigureRequest {
            runtime_name: name.into(),
            runtime_version: version.into(),
            nri_version: nri.into(),
            ..Default::default()
        })
    }

    #[test]
    fn a_said_version_counts_more_than_an_inferred_one() {
        let said = info("containerd", "v2.4.2", "v0.12.5-rc1");
        assert_eq!(
            said.nri,
            Some(NriVersion {
                major: 0,
                minor: 12,
                patch: 5
            })
        );
        assert_eq!(said.capabilities().failure_policy, Some(true));
    }

    #[test]
    fn a_runtime_that_says_any_version_is_not_older_than_those_that_do() {
        for said in ["0.0.0-unknown", "(devel)", "v0.11.9"] {
            let told = info("containerd", "v2.4.2", said);
            assert_eq!(told.nri, Some(NriVersion::FIRST_SAID), "{said}");
        }
    }

    #[test]
    fn policies_are_inferred_from_the_runtime() {
        for (name, version, policies) in [
            ("containerd", "v2.1.4", Some(false)),
            ("containerd", "v2.2.0", Some(true)),
            ("cri-o", "1.33.1", Some(false)),
            ("cri-o", "1.34.0", Some(true)),
            ("other", "1.0.0", None),
        ] {
            assert_eq!(
                info(name, version, "").capabilities().seccomp_policy,
                policies,
                "{name} {version}"
            );
        }
    }

    #[test]
    fn what_is_lacking_is_told_where_the_version_is_known() {
        let lacking = |version| info("containerd", version, "").capabilities().lacking();
        assert!(lacking("v2.1.4")[0].contains("drops seccomp policies"));
        assert_eq!(lacking("v2.1.4").len(), 4);
        assert_eq!(lacking("v2.2.0").len(), 1);
        assert!(
            info("containerd", "v2.5.0", "v0.12.5")
                .capabilities()
                .lacking()
                .is_empty()
        );
        assert!(info("other", "1", "").capabilities().lacking().is_empty());
    }

    #[test]
    fn an_old_runtime_is_not_asked_for_what_it_lacks() {
        let lacks = info("containerd", "v2.1.4", "")
            .capabilities()
            .unsupported_events();
        assert!(lacks.contains(Event::ValidateContainerAdjustment));
        assert_eq!(
            info("other", "1", "").capabilities().unsupported_events(),
            Events::NONE
        );
    }
}
