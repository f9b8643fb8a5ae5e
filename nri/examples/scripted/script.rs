//! What the plugin is told to do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_nri::api::{
    Container, ContainerAdjustment, Event, FailurePolicy, Hook, Hooks, LinuxContainerAdjustment,
    LinuxSeccomp, LinuxSyscall, OptionalUInt32,
};
use portcullis_nri::{Creation, Events};

/// Every event of the protocol.
const ALL: std::ops::RangeInclusive<i32> = 1..=14;

pub(crate) struct Script {
    /// `log=PATH`: where to write what happens, instead of standard output.
    pub(crate) log: Option<PathBuf>,
    /// `events=none`, `events=all`, or names such as `CreateContainer,RunPodSandbox`. Default: all but validation.
    pub(crate) events: Events,
    /// `policy=echo`: a container's present policy is its adjusted one; `policy=RULES`: one of that many rules.
    policy: Policy,
    /// `annotation=BYTES`: an annotation of that length.
    annotation: usize,
    /// `hooks=BYTES`: an OCI hook with an argument of that length.
    hooks: usize,
    /// `delay=MS`: how long creating takes.
    pub(crate) delay: Option<Duration>,
    /// `refuse=REASON`: no container is created.
    pub(crate) refuse: Option<String>,
    /// `reject=REASON`: no adjustment is valid.
    pub(crate) reject: Option<String>,
    /// `update=ID`: asks for an update of that container at synchronization.
    pub(crate) update: Option<String>,
    /// `panic=yes`: panics when a container is created.
    pub(crate) panic: bool,
    /// `quiet=yes`: creations are not written to the log.
    pub(crate) quiet: bool,
    /// `fail=yes`: a request fails if the plugin dies or is late.
    pub(crate) failure_policy: Option<FailurePolicy>,
}

enum Policy {
    None,
    Echo,
    Made(Box<LinuxSeccomp>),
}

impl Default for Script {
    fn default() -> Self {
        let validation = Event::ValidateContainerAdjustment;
        Self {
            log: None,
            events: all().without(validation.into()),
            policy: Policy::None,
            annotation: 0,
            hooks: 0,
            delay: None,
            refuse: None,
            reject: None,
            update: None,
            panic: false,
            quiet: false,
            failure_policy: None,
        }
    }
}

impl Script {
    pub(crate) fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut script = Self::default();
        for line in lines {
            let (key, value) = line
                .split_once('=')
                .ok_or_else(|| format!("{line:?} is not KEY=VALUE"))?;
            let number = || {
                value
                    .parse()
                    .map_err(|error| format!("{key}: {value:?}: {error}"))
            };
            let milliseconds = || number().map(|value: u64| Duration::from_millis(value));
            let length = || {
                number().and_then(|value: u64| {
                    usize::try_from(value).map_err(|error| error.to_string())
                })
            };
            match key {
                "log" => script.log = Some(value.into()),
                "events" => script.events = events(value)?,
                "policy" if value == "echo" => script.policy = Policy::Echo,
                "policy" => script.policy = Policy::Made(Box::new(policy(length()?))),
                "annotation" => script.annotation = length()?,
                "hooks" => script.hooks = length()?,
                "delay" => script.delay = Some(milliseconds()?),
                "refuse" => script.refuse = Some(value.into()),
                "reject" => script.reject = Some(value.into()),
                "update" => script.update = Some(value.into()),
                "panic" => script.panic = value == "yes",
                "quiet" => script.quiet = value == "yes",
                "fail" => {
                    script.failure_policy = Some(FailurePolicy {
                        fail_request: value == "yes",
                        keep_connected: false,
                    });
                }
                _ => return Err(format!("unknown key {key:?}")),
            }
        }
        Ok(script)
    }

    pub(crate) fn creation(&self, container: &Container) -> Creation {
        let policy = match &self.policy {
            Policy::None => None,
            Policy::Echo => container
                .linux
                .as_ref()
                .and_then(|linux| linux.seccomp_policy.clone()),
            Policy::Made(policy) => Some((**policy).clone()),
        };
        let mut adjust = ContainerAdjustment::default();
        if self.annotation > 0 {
            adjust.annotations =
                BTreeMap::from([("scripted/annotation".into(), "a".repeat(self.annotation))]);
        }
        if self.hooks > 0 {
            adjust.hooks = Some(Hooks {
                create_runtime: vec![Hook {
                    path: "/bin/true".into(),
                    args: vec!["true".into(), "h".repeat(self.hooks)],
                    ..Hook::default()
                }],
                ..Hooks::default()
            });
        }
        adjust.linux = policy.map(|policy| LinuxContainerAdjustment {
            seccomp_policy: Some(policy),
            ..LinuxContainerAdjustment::default()
        });
        let adjust = (adjust != ContainerAdjustment::default()).then_some(adjust);
        Creation {
            adjust,
            ..Creation::default()
        }
    }
}

fn all() -> Events {
    ALL.filter_map(|number| Event::try_from(number).ok())
        .collect()
}

fn events(names: &str) -> Result<Events, String> {
    match names {
        "all" => return Ok(all()),
        "none" => return Ok(Events::NONE),
        _ => {}
    }
    let event = |name: &str| {
        ALL.filter_map(|number| Event::try_from(number).ok())
            .find(|event| format!("{event:?}") == name)
            .ok_or_else(|| format!("unknown event {name:?}"))
    };
    names.split(',').map(event).collect()
}

/// A policy of one rule for each call, as profiles that were recorded have it.
fn policy(rules: usize) -> LinuxSeccomp {
    let syscalls = (0..rules)
        .map(|number| LinuxSyscall {
            names: vec![format!("call_{number:06}")],
            action: "SCMP_ACT_ALLOW".into(),
            ..LinuxSyscall::default()
        })
        .collect();
    LinuxSeccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno: Some(OptionalUInt32 { value: 38 }),
        architectures: vec!["SCMP_ARCH_X86_64".into()],
        syscalls,
        ..LinuxSeccomp::default()
    }
}
