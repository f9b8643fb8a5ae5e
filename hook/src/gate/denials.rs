//! Denials that are logged instead of enforced, `[record] log_denials` of hook.toml: for which
//! container the filter is relaxed, and that none starts so without being recorded.
//!
//! What applies the filter marks `config.json`. The mark gives nothing: it makes `record` and
//! `verify` refuse a container that is not being recorded, so whoever forges it harms himself.

use super::{Passed, Refusal, Running};
use crate::{
    oci::config::{OciConfig, OciError},
    recorder::{
        intent::RecordingIntent,
        live::is_recorded,
        request::{MARK, is_marked},
    },
};
use portcullis_profile::{
    Engine, Filter,
    compose::relax::{allowing_all, relax},
    parse_filter,
    select::identity::{Annotations, Identity},
    settings::Settings,
};

/// Whether the denials of a container's filter are in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denials {
    /// They are.
    Enforced,
    /// They are, though the container asks for a recording and settings would have them logged.
    Kept(String),
    /// They are logged.
    Logged,
}

impl Denials {
    /// As they may be when a filter is applied.
    pub fn to_apply(
        config: &OciConfig<'_>,
        annotations: &Annotations,
        identity: &Identity,
        engine: Engine,
        settings: &Settings,
    ) -> Denials {
        if !settings.record.log_denials {
            return Denials::Enforced;
        }
        let intent = RecordingIntent::of(engine, identity, annotations, settings);
        if intent == RecordingIntent::NotRequested {
            return Denials::Enforced;
        }
        if !config.is_recorded_before_it_is_verified() {
            return Denials::Kept("no hook in config.json records it before verify".to_owned());
        }
        match intent {
            RecordingIntent::NotRequested => Denials::Enforced,
            RecordingIntent::WillRecord => Denials::Logged,
            RecordingIntent::Unrecorded(why) | RecordingIntent::Impossible(why) => {
                Denials::Kept(why)
            }
        }
    }

    /// As they may be when a filter is verified.
    ///
    /// # Errors
    /// The filter was relaxed for a recording that is not there.
    pub fn to_verify(
        annotations: &Annotations,
        running: Option<Running<'_>>,
        settings: &Settings,
    ) -> Result<Denials, Refusal> {
        if !is_marked(annotations) {
            return Ok(Denials::Enforced);
        }
        let running = running
            .and_then(|running| Some((running.id, running.init?)))
            .ok_or_else(|| Refusal::Unrecorded("no running container is known here".to_owned()))?;
        match is_recorded(running.0, running.1, &settings.record) {
            Ok(()) if settings.record.log_denials => Ok(Denials::Logged),
            Ok(()) => Ok(Denials::Enforced),
            Err(why) => Err(Refusal::Unrecorded(why)),
        }
    }

    /// The other form in which a selected filter may be there.
    pub fn relaxed_form(&self, selected: &Filter) -> Option<Filter> {
        match self {
            Denials::Logged => relax(selected),
            _ => None,
        }
    }
}

/// What passed at the gate with its filter relaxed, the one that is to be set or the one that is
/// there; unchanged where that denies nothing. A container without a filter gets one that allows
/// everything: the recorder then sees where the runtime's own set-up ends.
pub(super) fn relaxed(passed: Passed, config: &OciConfig<'_>) -> Passed {
    let filter = match (&passed, config.seccomp()) {
        (Passed::Set(filter), _) => relax(filter),
        // A filter that can't be read is the runtime's to refuse.
        (_, Some(text)) => parse_filter(text.as_bytes())
            .ok()
            .and_then(|filter| relax(&filter)),
        (_, None) => Some(allowing_all()),
    };
    filter.map_or(passed, |filter| Passed::Relaxed(Box::new(filter)))
}

/// The changed text of `config.json`; `None` where it stays as it is.
///
/// # Errors
/// It can't be written as JSON.
pub fn applied(passed: &Passed, config: &OciConfig<'_>) -> Result<Option<String>, OciError> {
    match passed {
        Passed::Set(filter) => config.with_filter(filter).map(Some),
        Passed::Relaxed(filter) => {
            let text = config.with_filter(filter)?;
            OciConfig::parse(&text)?
                .with_annotation(MARK, "true")
                .map(Some)
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use portcullis_profile::{
        Action,
        settings::{Record, ReplaceDefault, Require},
    };
    use std::fs;

    const STRICT: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":61}]}"#;
    const LAX: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["mkdir"],"action":"SCMP_ACT_LOG"}]}"#;
    const OTHER: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#;
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

    /// What the gate does with a container of this filter that selects STRICT or nothing.
    fn rules(
        stage: Stage<'_>,
        denials: Denials,
        there: Option<&str>,
        selects: bool,
        marked: bool,
        change: fn(&mut Settings),
    ) -> Result<Passed, Refusal> {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("p.json"), STRICT).unwrap();
        let mut settings = Settings {
            seccomp_root: root.path().to_owned(),
            wait_ms: 0,
            ..Settings::default()
        };
        change(&mut settings);
        let text = there.map_or("{}".to_owned(), |there| {
            format!(r#"{{"linux":{{"seccomp":{there}}}}}"#)
        });
        let mut annotations = Annotations::new();
        if marked {
            annotations.insert(MARK.to_owned(), "x".to_owned());
        }
        let reference = "localhost/p.json".parse().unwrap();
        Container {
            engine: Engine::Podman,
            config: &OciConfig::parse(&text).unwrap(),
            settings: &settings,
            annotations,
            denials,
        }
        .rule(stage, selects.then_some(&reference))
    }

    fn logs(passed: &Result<Passed, Refusal>, default: Action) -> bool {
        matches!(passed, Ok(Passed::Relaxed(filter)) if filter.default_action == default
            && relax(filter).is_none())
    }

    const VERIFY: Stage<'static> = Stage::Verify(None);

    #[test]
    fn the_filter_that_a_container_would_have_is_relaxed_and_no_other() {
        let apply =
            |there, selects| rules(Stage::Apply, Denials::Logged, there, selects, false, |_| {});
        assert!(logs(&apply(None, true), Action::Allow));
        assert!(logs(&apply(Some(STRICT), true), Action::Allow));
        assert!(logs(&apply(Some(OTHER), false), Action::Log));
        assert!(logs(&apply(None, false), Action::Allow));
        // What denies nothing stays.
        assert_eq!(apply(Some(LAX), false).unwrap(), Passed::Nothing);
        // A conflict is one as before.
        assert!(matches!(
            apply(Some(OTHER), true),
            Err(Refusal::Conflict(_))
        ));
        assert!(matches!(apply(Some(LAX), true), Err(Refusal::Conflict(_))));
    }

    #[test]
    fn settings_that_refuse_do_so_before_anything_is_relaxed() {
        let apply = |there, selects, change| {
            rules(Stage::Apply, Denials::Logged, there, selects, false, change)
        };
        let required = |settings: &mut Settings| settings.require = Require::AnyFilter;
        assert!(matches!(
            apply(None, false, required),
            Err(Refusal::Required)
        ));
        assert!(logs(&apply(Some(OTHER), false, required), Action::Log));
        let default = |settings: &mut Settings| {
            let path = settings.seccomp_root.join("default.json");
            fs::write(&path, OTHER).unwrap();
            settings.runtime_default = Some(path);
            settings.replace_default = ReplaceDefault::Never;
        };
        assert!(matches!(
            apply(Some(OTHER), true, default),
            Err(Refusal::NeverReplaced)
        ));
        let replaced = |settings: &mut Settings| {
            let path = settings.seccomp_root.join("default.json");
            fs::write(&path, OTHER).unwrap();
            settings.runtime_default = Some(path);
            settings.replace_default = ReplaceDefault::Any;
        };
        assert!(logs(&apply(Some(OTHER), true, replaced), Action::Allow));
    }

    #[test]
    fn a_relaxed_filter_passes_only_where_denials_are_logged() {
        let passes =
            |stage, denials, marked| rules(stage, denials, Some(LAX), true, marked, |_| {}).is_ok();
        assert!(passes(VERIFY, Denials::Logged, true));
        assert!(passes(Stage::Apply, Denials::Logged, true));
        for stage in [VERIFY, Stage::Apply] {
            assert!(!passes(stage, Denials::Enforced, true));
            assert!(!passes(stage, Denials::Kept(String::new()), true));
            assert!(!passes(stage, Denials::Logged, false));
        }
        // The relaxed form of another filter is another filter.
        let other = r#"{"defaultAction":"SCMP_ACT_LOG"}"#;
        let verified = rules(VERIFY, Denials::Logged, Some(other), true, true, |_| {});
        assert!(matches!(verified, Err(Refusal::Conflict(_))));
    }

    /// How denials may be applied for a container of CRI-O in a namespace.
    fn may_log(namespace: &str, hooks: &str, record: Record) -> Denials {
        let text = format!(
            r#"{{"hooks":{{"createRuntime":[{hooks}]}},"annotations":{{
                "io.kubernetes.pod.namespace":"{namespace}","io.kubernetes.container.name":"app",
                "portcullis.dev/record":"true","{POD}":"localhost/p.json"}}}}"#
        );
        let config = OciConfig::parse(&text).unwrap();
        let annotations = config.annotations();
        let settings = Settings {
            record,
            ..Settings::default()
        };
        let identity = Identity::of(Engine::CriO, &annotations);
        Denials::to_apply(&config, &annotations, &identity, Engine::CriO, &settings)
    }

    #[test]
    fn only_the_nodes_owner_has_denials_logged() {
        let hooks = r#"{"path":"/x/portcullis-hook","args":["portcullis-hook","record"]}"#;
        let record = |log_denials| Record {
            log_denials,
            namespaces: vec!["shop".to_owned()],
            folders: vec!["/nonexistent/recordings".into()],
            ..Record::default()
        };
        let kept = |denials, why: &str| {
            assert!(
                matches!(&denials, Denials::Kept(text) if text.contains(why)),
                "{denials:?}"
            );
        };
        assert_eq!(may_log("shop", hooks, record(false)), Denials::Enforced);
        kept(may_log("other", hooks, record(true)), "namespaces");
        kept(may_log("shop", "", record(true)), "no hook");
        kept(
            may_log("shop", hooks, record(true)),
            "/nonexistent/recordings",
        );
    }

    #[test]
    fn a_mark_without_a_recording_is_refused_whatever_settings_say() {
        let marked = Annotations::from([(MARK.to_owned(), String::new())]);
        let mut settings = Settings::default();
        settings.record.folders = vec!["/nonexistent/recordings".into()];
        for log_denials in [false, true] {
            settings.record.log_denials = log_denials;
            for running in [
                None,
                Some(Running {
                    id: "x",
                    init: Some(1),
                }),
            ] {
                let refusal = Denials::to_verify(&marked, running, &settings).unwrap_err();
                assert!(refusal.is_absolute() && refusal.code() == Code::Recording);
            }
        }
        let unmarked = Denials::to_verify(&Annotations::new(), None, &settings);
        assert_eq!(unmarked.unwrap(), Denials::Enforced);
    }

    #[test]
    fn exempt_namespaces_and_sandboxes_are_left_alone() {
        let text = r#"{"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO"}},"annotations":{
            "io.kubernetes.pod.namespace":"kube-system","portcullis.dev/record":"true"}}"#;
        let mut settings = Settings::default();
        settings.record.log_denials = true;
        settings.record.namespaces = vec!["kube-system".to_owned()];
        let config = OciConfig::parse(text).unwrap();
        let ruling = decide(Stage::Apply, &config, &Ok(settings), Some(Engine::CriO));
        assert_eq!(ruling.result.unwrap(), Passed::Exempt);
    }
}
