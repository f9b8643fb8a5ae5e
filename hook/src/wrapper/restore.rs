//! `restore`: the filters come out of a checkpoint's image that nobody checked, so what selects a
//! filter or needs one is not restored.

use crate::{
    gate::{Passed, Refusal, Ruling},
    oci::config::OciConfig,
};
use portcullis_profile::{
    Engine,
    select::{
        identity::Identity,
        reference::Reference,
        selection::{Selection, select},
    },
    settings::{Require, Settings, SettingsError},
};

/// Decides on a container that is to be restored.
pub(super) fn decide(
    config: &OciConfig<'_>,
    settings: &Result<Settings, SettingsError>,
    engine: Option<Engine>,
) -> Ruling {
    let fallback = Settings::default();
    let usable = settings.as_ref().unwrap_or(&fallback);
    let engine = engine.unwrap_or(usable.engine);
    let annotations = config.annotations();
    let identity = Identity::of(engine, &annotations);
    let mut annotation = None;
    let mut reference = None;
    let result = match select(engine, &identity, &annotations, usable) {
        Err(error) => {
            annotation = Some(error.annotation().to_owned());
            reference = error.value().map(str::to_owned);
            Err(Refusal::from(error))
        }
        Ok(Selection::Sandbox) => Ok(Passed::Sandbox),
        Ok(Selection::Exempt) => Ok(Passed::Exempt),
        Ok(selection) => {
            let mut asks = false;
            if let Selection::Selected {
                annotation: key,
                reference: wanted,
            } = selection
            {
                reference = annotations.get(&key).cloned();
                annotation = Some(key);
                asks = wanted != Reference::Unconfined;
            }
            match settings {
                Err(error) if asks => Err(Refusal::Settings(error.to_string())),
                _ if asks || usable.require == Require::AnyFilter => Err(Refusal::Restored),
                _ => Ok(Passed::Nothing),
            }
        }
    };
    Ruling {
        engine,
        identity,
        annotation,
        reference,
        result,
        kept: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decides(annotations: &str, settings: &Result<Settings, SettingsError>) -> Ruling {
        let text = format!(r#"{{"annotations":{{{annotations}}}}}"#);
        let config = OciConfig::parse(&text).unwrap();
        decide(&config, settings, Some(Engine::CriO))
    }

    const POD: &str = r#""seccomp.security.alpha.kubernetes.io/pod":"#;

    #[test]
    fn what_selects_or_needs_a_filter_is_not_restored() {
        let free = Ok(Settings::default());
        let strict = Ok(Settings {
            require: Require::AnyFilter,
            ..Settings::default()
        });
        let refuses = |annotations: &str, settings| {
            matches!(
                decides(annotations, settings).result,
                Err(Refusal::Restored)
            )
        };
        assert!(refuses(&format!(r#"{POD}"localhost/p""#), &free));
        assert!(refuses(&format!(r#"{POD}"runtime/default""#), &free));
        assert!(!refuses(&format!(r#"{POD}"unconfined""#), &free));
        assert!(!refuses("", &free));
        assert!(refuses("", &strict));
        assert!(refuses(&format!(r#"{POD}"unconfined""#), &strict));
        assert!(!refuses(
            r#""io.kubernetes.cri-o.ContainerType":"sandbox""#,
            &strict
        ));
    }

    #[test]
    fn what_can_not_be_told_is_not_restored() {
        let broken = Err(SettingsError::TooLarge {
            path: "hook.toml".into(),
        });
        let refuses = |annotations: &str| decides(annotations, &broken).result.is_err();
        assert!(refuses(&format!(r#"{POD}"localhost/p""#)));
        assert!(refuses(&format!(r#"{POD}"../x""#)));
        assert!(refuses(r#""run.oci.hooks.stderr":"/x""#));
        assert!(!refuses(""));
    }
}
