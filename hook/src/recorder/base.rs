//! The base profile of a recording (`if:` in the trace annotation): what it denies stays denied.

use super::{RecordError, output, place::Place, profile};
use portcullis_profile::{Document, parse_filter};

/// A base profile as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// Its filter, in the OCI form.
    pub text: String,
    /// Warnings about it.
    pub warnings: Vec<String>,
}

/// Reads a base profile. It has to be in the OCI form, which needs no container to be resolved.
///
/// # Errors
/// It does not exist, can't be read, or is not valid.
pub fn read(place: &Place, max_bytes: u64) -> Result<Base, RecordError> {
    let text = output::read(place, max_bytes)?.ok_or_else(|| RecordError::NoBase(place.path()))?;
    let invalid = |source| RecordError::Document {
        path: place.path(),
        source,
    };
    let document = Document::parse(&text).map_err(invalid)?;
    let filter = parse_filter(&text).map_err(invalid)?;
    let named = |warning| format!("{}: {warning}", place.path().display());
    Ok(Base {
        text: profile::text(&filter, &place.path())?,
        warnings: document.warnings().iter().map(named).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn of(text: &str) -> Result<Base, RecordError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.json"), text).unwrap();
        read(
            &Place {
                folder: folder.path().to_owned(),
                file: "b.json".into(),
            },
            1000,
        )
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
        assert!(matches!(read(&place, 1), Err(RecordError::NoBase(_))));
    }
}
