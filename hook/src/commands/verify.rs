//! `portcullis-hook verify`: the OCI hook that refuses a container without its selected filter.

use super::{ended, plugin::PluginArguments};
use crate::{
    exit::Code,
    gate::{Maker, Moment, Running, Told, evaluate_told},
    oci::{
        bundle,
        config::{OciConfig, OciError, read_text},
        parent::{ParentRuntime, as_crun_makes_it},
        state::HookState,
    },
    report,
};
use portcullis_profile::{Engine, filter::reader::Runtime, settings::Settings};
use std::{io, path::Path};

/// Arguments of `verify`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    plugin: PluginArguments,
    /// The plugin set the container's filter, so the profile's default errno may be missing.
    #[arg(long, requires = "nri")]
    nri_set_filter: bool,
    /// The container's field asked for the engine's default profile.
    #[arg(long, requires = "nri")]
    runtime_default: bool,
    /// The annotation that selects a profile.
    #[arg(long, requires_all = ["nri", "reference"])]
    annotation: Option<String>,
    /// Its value.
    #[arg(long, requires = "annotation")]
    reference: Option<String>,
}

impl Arguments {
    fn told(&self) -> Option<Told> {
        Some(Told {
            identity: self.plugin.identity()?,
            selection: self.annotation.clone().zip(self.reference.clone()),
            set_filter: self.nri_set_filter,
            says_default: self.runtime_default,
        })
    }
}

/// Reads the state, decides, and reports the decision.
pub(crate) fn run(
    settings: &Path,
    engine: Option<Engine>,
    arguments: &Arguments,
) -> Result<(), Code> {
    ended(verify(settings, engine, arguments.told().as_ref()))
}

fn verify(
    settings: &Path,
    engine: Option<Engine>,
    told: Option<&Told>,
) -> Result<Option<Code>, OciError> {
    let text = read_text(io::stdin().lock(), "the state on stdin", Path::new("stdin"))?;
    let state = HookState::parse(&text)?;
    let text = bundle::read(&state)?;
    let config = OciConfig::parse(&text)?;
    let settings = Settings::load(settings);
    let running = Running {
        id: &state.id,
        init: state.pid,
    };
    let moment = Moment::Verify(Some(running));
    let parent = ParentRuntime::of(&state.id);
    let reader = parent
        .as_ref()
        .map_or(Runtime::Either, |parent| parent.kind.reader());
    let crun = as_crun_makes_it(parent.as_ref(), &state.id);
    let executed = parent
        .as_ref()
        .and_then(|parent| parent.executed.as_deref());
    let maker = Maker {
        reader,
        crun: crun.as_ref(),
        executed,
    };
    let evaluation = evaluate_told(moment, &config, &settings, engine, maker, told);
    let settings = settings.unwrap_or_default();
    report::evaluation("verify", Some(&state.id), &evaluation, &settings);
    Ok(evaluation.code())
}

#[cfg(test)]
mod tests {
    use crate::{
        gate::{Maker, Moment, Told, evaluate_told},
        oci::config::OciConfig,
    };
    use clap::Parser;
    use portcullis_profile::{
        Engine,
        gate::{Code, Evaluation},
        settings::Settings,
    };

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        own: super::Arguments,
    }

    fn told(words: &[&str]) -> Option<Told> {
        let words = std::iter::once("verify").chain(words.iter().copied());
        Line::try_parse_from(words).unwrap().own.told()
    }

    const KEY: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const PLUGIN: [&str; 9] = [
        "--nri",
        "--namespace=shop",
        "--pod=web",
        "--pod-uid=u",
        "--container=c",
        "--annotation",
        KEY,
        "--reference",
        "localhost/p.json",
    ];

    #[test]
    fn options_of_the_plugin_belong_together() {
        assert_eq!(told(&[]), None);
        let all = told(&PLUGIN).unwrap();
        assert_eq!(all.identity.to_string(), "pod shop/web, container c");
        let selection = (KEY.to_owned(), "localhost/p.json".to_owned());
        assert_eq!((all.selection, all.set_filter), (Some(selection), false));
        for wrong in [
            &["--nri"][..],
            &["--pod=web"],
            &["--nri-set-filter"],
            &["--nri", "--container=c"],
            &["--nri", "--pod=web", "--annotation=a"],
        ] {
            let words = std::iter::once(&"verify").chain(wrong);
            assert!(Line::try_parse_from(words).is_err(), "{wrong:?}");
        }
    }

    /// `config.json` has another annotation, which only counts without the plugin's word.
    fn evaluated(seccomp: &str, told: Option<&Told>) -> Evaluation {
        let root = tempfile::tempdir().unwrap();
        let profile = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
        std::fs::write(root.path().join("p.json"), profile).unwrap();
        let text = format!(
            r#"{{"annotations":{{"{KEY}":"unconfined"}},"linux":{{"seccomp":{seccomp}}}}}"#
        );
        let config = OciConfig::parse(&text).unwrap();
        let settings = Ok(Settings {
            seccomp_root: root.path().to_owned(),
            wait_ms: 0,
            ..Settings::default()
        });
        let engine = Some(Engine::Containerd);
        let moment = Moment::Verify(None);
        evaluate_told(moment, &config, &settings, engine, Maker::UNKNOWN, told)
    }

    #[test]
    fn only_where_the_plugin_set_the_filter_its_default_errno_may_be_missing() {
        let rules = r#""syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]"#;
        let with = |errno: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{errno}{rules}}}"#);
        let (whole, dropped, other) = (
            with(r#""defaultErrnoRet":38,"#),
            with(""),
            with(r#""defaultErrnoRet":5,"#),
        );
        let plain = told(&PLUGIN).unwrap();
        let set = Told {
            set_filter: true,
            ..plain.clone()
        };
        let code = |seccomp: &str, told| evaluated(seccomp, told).code();
        assert_eq!(code(&whole, Some(&plain)), None);
        assert_eq!(code(&whole, Some(&set)), None);
        assert_eq!(code(&dropped, Some(&set)), None);
        assert_eq!(code(&dropped, Some(&plain)), Some(Code::Conflict));
        assert_eq!(code(&other, Some(&set)), Some(Code::Conflict));
        assert_eq!(code("null", Some(&set)), Some(Code::FilterMissing));
        assert_eq!(code(&other, None), None);
    }

    #[test]
    fn the_nodes_own_default_is_required_of_what_asked_for_the_engines() {
        let told = told(&[
            "--nri",
            "--pod=web",
            "--nri-set-filter",
            "--runtime-default",
        ]);
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own.json");
        let settings = Ok(Settings {
            runtime_default: Some(own.clone()),
            ..Settings::default()
        });
        let rule = |errno| {
            format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
                {{"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":{errno}}}]}}"#
            )
        };
        std::fs::write(&own, rule(61)).unwrap();
        let code = |seccomp: &str| {
            let text = format!(r#"{{"linux":{{"seccomp":{seccomp}}}}}"#);
            let config = OciConfig::parse(&text).unwrap();
            let (engine, told) = (Some(Engine::Containerd), told.as_ref());
            let moment = Moment::Verify(None);
            evaluate_told(moment, &config, &settings, engine, Maker::UNKNOWN, told).code()
        };
        assert_eq!(code(&rule(61)), None);
        assert_eq!(code(&rule(1)), Some(Code::Conflict));
        assert_eq!(code("null"), Some(Code::FilterMissing));
    }
}
