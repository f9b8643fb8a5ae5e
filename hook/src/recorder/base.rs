//! The base profile of a recording (`if:` in the trace annotation): what it denies stays denied.

use super::{RecordError, output, place::Place, profile};
use portcullis_profile::{Context, Document};

/// A base profile as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its filter, in the OCI form.
    pub text: String,
    /// Warnings about it.
    pub warnings: Vec<String>,
}

/// Reads a base profile of either form, as the container's engine resolves it for the container.
///
/// # Errors
/// It is not there, can't be read, or is not valid.
pub fn read(place: &Place, max_bytes: u64, context: &Context<'_>) -> Result<Base, RecordError> {
    let text = output::read(place, max_bytes)?.ok_or_else(|| RecordError::NoBase(place.path()))?;
    let invalid = |source| RecordError::Document {
        path: place.path(),
        source,
    };
    let document = Document::parse(&text).map_err(invalid)?;
    let filter = document.resolve(context).map_err(invalid)?;
    let named = |warning| format!("{}: {warning}", place.path().display());
    Ok(Base {
        text: profile::text(&filter, &place.path())?,
        warnings: document.warnings_in(context).iter().map(named).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::{
        Action, Arch, Engine, Filter, document::kernel::KernelVersion, parse_filter,
    };
    use std::fs;

    fn context(bounding: Option<&[String]>) -> Context<'_> {
        Context {
            engine: Engine::Podman,
            native: Arch::X86_64,
            bounding,
            kernel: KernelVersion {
                version: 6,
                revision: 1,
            },
        }
    }

    fn of(text: &str) -> Result<Base, RecordError> {
        within(text, &context(None))
    }

    fn within(text: &str, context: &Context<'_>) -> Result<Base, RecordError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.json"), text).unwrap();
        read(
            &Place {
                folder: folder.path().to_owned(),
                file: "b.json".into(),
            },
            1000,
            context,
        )
    }

    #[test]
    fn a_base_that_hangs_on_the_container_is_resolved_for_it() {
        let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
            "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
            "syscalls": [{"name": "read", "action": "SCMP_ACT_ALLOW"},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW",
                 "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}"#;
        let filter = |bounding: &[String]| -> Filter {
            let base = within(text, &context(Some(bounding))).unwrap();
            parse_filter(base.text.as_bytes()).unwrap()
        };
        let plain = filter(&["CAP_CHOWN".to_owned()]);
        assert_eq!(plain.names().collect::<Vec<_>>(), ["read"]);
        assert_eq!(plain.default_action, Action::Errno);
        assert_eq!(plain.default_errno_ret, Some(38));
        assert_eq!(plain.architectures, [Arch::X86_64, Arch::X86]);
        let admin = filter(&["CAP_SYS_ADMIN".to_owned()]);
        assert_eq!(admin.names().collect::<Vec<_>>(), ["read", "mount"]);
    }

    #[test]
    fn what_is_remarkable_in_a_base_is_told_with_its_path() {
        let base = of(r#"{"defaultAction":"SCMP_ACT_ERRNO","sycalls":[]}"#).unwrap();
        assert_eq!(base.warnings.len(), 1);
        assert!(base.warnings[0].contains("b.json: ") && base.warnings[0].contains("sycalls"));
        let base = of(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#).unwrap();
        assert_eq!(base.warnings, [""; 0]);
        assert!(parse_filter(base.text.as_bytes()).is_ok());
    }

    #[test]
    fn a_base_that_is_missing_too_large_or_invalid_is_refused() {
        assert!(matches!(of("{"), Err(RecordError::Document { .. })));
        assert!(matches!(
            of(&" ".repeat(1001)),
            Err(RecordError::Read { .. })
        ));
        let folder = tempfile::tempdir().unwrap();
        let place = Place {
            folder: folder.path().to_owned(),
            file: "none.json".into(),
        };
        assert!(matches!(
            read(&place, 1, &context(None)),
            Err(RecordError::NoBase(_))
        ));
    }
}
