//! The names of profiles' files: the one place that maps profiles to files and back.
//!
//! If a profile's name ends in `.json`, its file has just that name, as with the Security Profiles
//! Operator. So two profiles, such as `web` and `web.json`, can want the same file; the older one
//! gets it.

use portcullis_profile::select::reference::ProfilePath;

/// The operator's folder in the seccomp root.
pub const FOLDER: &str = "operator";
/// How the name of every file ends.
pub const SUFFIX: &str = ".json";

/// The name of a profile's file.
pub fn file_name(profile: &str) -> String {
    if profile.ends_with(SUFFIX) {
        profile.to_owned()
    } else {
        format!("{profile}{SUFFIX}")
    }
}

/// The path of a profile's file relative to the seccomp root, as in a pod's `localhostProfile`.
pub fn localhost_profile(profile: &str) -> String {
    format!("{FOLDER}/{}", file_name(profile))
}

/// The name of the file at a path below the seccomp root; `None` if it is not in the operator's
/// folder.
pub fn file_of(path: &ProfilePath) -> Option<&str> {
    let (folder, file) = path.as_str().split_once('/')?;
    (folder == FOLDER && !file.contains('/')).then_some(file)
}

/// The names that a profile with this file can have.
pub fn profiles_of(file: &str) -> impl Iterator<Item = &str> {
    let short = file.strip_suffix(SUFFIX);
    [short, short.map(|_| file)]
        .into_iter()
        .flatten()
        .filter(move |name| file_name(name) == file)
}

/// The other profile that has the file that this one wants, if there is one. `created` returns when
/// a profile was created, or `None` if there is no such profile. Of two with the same time, the one
/// whose name sorts first has the file.
pub fn holder<T: Ord>(profile: &str, created: impl Fn(&str) -> Option<T>) -> Option<String> {
    let file = file_name(profile);
    let other = profiles_of(&file).find(|name| *name != profile)?;
    let before = (created(other)?, other);
    let here = created(profile).map(|here| (here, profile));
    here.is_none_or(|here| before < here)
        .then(|| other.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_whose_name_ends_in_json_has_a_file_of_just_that_name() {
        for (profile, file) in [
            ("web", "web.json"),
            ("web.json", "web.json"),
            ("web.json.json", "web.json.json"),
            ("web.yaml", "web.yaml.json"),
            ("json", "json.json"),
        ] {
            assert_eq!(file_name(profile), file);
            assert_eq!(localhost_profile(profile), format!("operator/{file}"));
            let path = localhost_profile(profile).parse().unwrap();
            assert_eq!(file_of(&path), Some(file));
            assert!(profiles_of(file).any(|name| name == profile));
        }
        let profiles = |file| profiles_of(file).collect::<Vec<_>>();
        assert_eq!(profiles("web.json"), ["web", "web.json"]);
        assert_eq!(profiles("web.json.json"), ["web.json.json"]);
        assert_eq!(profiles("web"), [""; 0]);
    }

    #[test]
    fn only_what_leads_to_a_file_of_the_operators_is_one() {
        for path in ["operator/a.json", "operator//a.json", "./operator/./a.json"] {
            assert_eq!(file_of(&path.parse().unwrap()), Some("a.json"), "{path}");
        }
        for path in [
            "a.json",
            "operator",
            "operator/",
            "operator/a/b.json",
            "other/a.json",
        ] {
            assert_eq!(file_of(&path.parse().unwrap()), None, "{path}");
        }
    }

    #[test]
    fn the_older_of_two_has_the_file_and_of_one_age_the_first_by_name() {
        let held = |profile: &str, short: Option<u8>, long: Option<u8>| {
            holder(profile, |name| if name == "a" { short } else { long })
        };
        let (short, long) = (Some("a".to_owned()), Some("a.json".to_owned()));
        for (short_created, long_created, of_short, of_long) in [
            (Some(1), None, None, short.clone()),
            (None, Some(1), long.clone(), None),
            (Some(1), Some(2), None, short.clone()),
            (Some(2), Some(1), long, None),
            (Some(1), Some(1), None, short),
        ] {
            assert_eq!(held("a", short_created, long_created), of_short);
            assert_eq!(held("a.json", short_created, long_created), of_long);
        }
        assert_eq!(holder("a.json.json", |_| Some(1)), None);
    }
}
