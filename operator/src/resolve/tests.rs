//! Files from specifications.

use super::*;
use serde_json::json;

fn file(value: &Value) -> Result<Value, ResolveError> {
    let bases = |name: &str| match name {
        "a" => Some(r#"{"baseProfileName": "b", "allow": ["mkdir"]}"#),
        "b" => Some(r#"{"baseProfileName": "a"}"#),
        "good" => {
            Some(r#"{"syscalls": [{"names": ["mkdir", "rmdir"], "action": "SCMP_ACT_LOG"}]}"#)
        }
        "bad" => Some(r#"{"allow": "text"}"#),
        _ => None,
    };
    let resolved = resolve("p", &value.to_string(), &bases)?.unwrap();
    let mut file: Value = serde_json::from_slice(&resolved.text).unwrap();
    let inert = file["syscalls"].as_array_mut().unwrap().pop().unwrap();
    let name = inert["names"][0].as_str().unwrap();
    assert!(name.starts_with("portcullis-1-"), "{name}");
    Ok(file)
}

fn rejects(value: &Value, with: &str) {
    let said = file(value).unwrap_err().to_string();
    assert!(said.contains(with), "{said}");
}

#[test]
fn a_list_of_names_is_a_profile_with_the_runtimes_base() {
    let file = file(&json!({"allow": ["mkdir"]})).unwrap();
    assert_eq!(file["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(file["syscalls"][0]["names"], json!(["mkdir"]));
    let base = file["syscalls"][1]["names"].as_array().unwrap();
    assert!(base.contains(&json!("execve")));
}

#[test]
fn the_base_is_left_out_where_it_is_omitted_or_the_default_allows() {
    for value in [
        json!({"allow": ["mkdir"], "runtimeBase": "Omit"}),
        json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": "EXDEV"}]}),
    ] {
        let file = file(&value).unwrap();
        assert_eq!(file["syscalls"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn own_rules_win_over_those_of_a_base() {
    let file = file(&json!({"baseProfileName": "good", "runtimeBase": "Omit",
        "allow": ["mkdir"]}));
    assert_eq!(
        file.unwrap()["syscalls"],
        json!([{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["rmdir"], "action": "SCMP_ACT_LOG"}])
    );
}

#[test]
fn the_digest_is_the_filters_and_a_file_has_one_rule_without_effect() {
    let of = |value: &Value| {
        let resolved = resolve("p", &value.to_string(), &|name| {
            (name == "base").then_some(r#"{"allow": ["read"]}"#)
        });
        resolved.unwrap().unwrap()
    };
    let written = json!({"allow": ["mkdir"], "runtimeBase": "Omit"});
    let first = of(&written);
    let file: Value = serde_json::from_slice(&first.text).unwrap();
    // Whoever copies a file of ours, or takes it for a base, gets no second such rule.
    let mut copied = file.clone();
    copied["runtimeBase"] = json!("Omit");
    let again = of(&copied);
    assert_eq!((&again.text, &again.digest), (&first.text, &first.digest));
    copied["baseProfileName"] = json!("base");
    copied["syscalls"][0]["names"] = json!(["rmdir"]);
    let other = of(&copied);
    assert_ne!(other.digest, first.digest);
    let text = String::from_utf8(other.text).unwrap();
    assert_eq!(text.matches("portcullis-1-").count(), 1, "{text}");
    // The digest is that of the effect: this default errno is the default.
    let mut spelled = written;
    spelled["defaultErrnoRet"] = json!(1);
    assert_eq!(of(&spelled).digest, first.digest);
    assert_ne!(of(&spelled).text, first.text);
}

#[test]
fn cycles_missing_bases_and_wrong_values_are_named() {
    rejects(&json!({"baseProfileName": "a"}), "p → a → b → a");
    rejects(&json!({"baseProfileName": "none"}), "\"none\"");
    rejects(
        &json!({"baseProfileName": "oci://x"}),
        "does not begin with a registry",
    );
    rejects(
        &json!({"baseProfileName": "oci://ghcr.io/web:1"}),
        "has no digest; pin it",
    );
    let pinned = format!("oci://ghcr.io/web:1@sha256:{}", "0".repeat(64));
    rejects(
        &json!({"baseProfileName": pinned}),
        &format!("{pinned} has not been pulled"),
    );
    rejects(&json!({"baseProfileName": "p"}), "p → p");
    rejects(&json!({"defaultAction": "SCMP_ACT_NO"}), "SCMP_ACT_NO");
    rejects(
        &json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdri"], "action": "SCMP_ACT_ERRNO"}]}),
        "mkdri",
    );
    rejects(
        &json!({"baseProfileName": "bad"}),
        "base bad: the stored spec can't be parsed: invalid type: string",
    );
    rejects(
        &json!({"syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": "EWHAT"}]}),
        "spec.syscalls[0].errnoRet",
    );
}

#[test]
fn an_unknown_name_that_allows_nothing_more_is_a_warning() {
    let text = r#"{"baseProfileName": "base", "allow": ["mkdri"]}"#;
    let base = |_: &str| Some(r#"{"allow": ["rmdri"]}"#);
    let warnings = resolve("p", text, &base).unwrap().unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("spec.allow[0]: ") && warnings[0].contains("mkdri"));
    assert!(warnings[1].starts_with("base base.allow[0]: ") && warnings[1].contains("rmdri"));
}

#[test]
fn a_stored_specification_that_can_not_be_understood_has_no_file() {
    for value in [
        json!(null),
        json!("text"),
        json!({"allow": "text"}),
        json!({"defaultErrnoRet": 99_999_999_999_u64}),
        json!({"syscalls": [{"names": ["mkdir"]}]}),
    ] {
        rejects(&value, "the stored spec can't be parsed: ");
    }
}

#[test]
fn a_message_names_the_field_as_its_author_wrote_it() {
    let one = json!({"names": ["mkdir"], "action": "SCMP_ACT_LOG"});
    let nul = "mkdir\u{0}";
    for before in 0..3 {
        let syscalls = vec![one.clone(); before];
        rejects(
            &json!({"syscalls": syscalls, "allow": ["read", nul]}),
            "spec.allow[1]: \"mkdir\\0\" contains a NUL",
        );
        let resolved = resolve(
            "p",
            &json!({"syscalls": syscalls, "allow": ["opem"]}).to_string(),
            &|_| None::<&str>,
        );
        let warning = &resolved.unwrap().unwrap().warnings[0];
        assert!(
            warning.starts_with("spec.allow[0]: unknown system call \"opem\""),
            "{warning}"
        );
    }
    rejects(
        &json!({"syscalls": [one, {"names": ["read", nul], "action": "SCMP_ACT_LOG"}]}),
        "spec.syscalls[1].names[1]: ",
    );
    rejects(
        &json!({"defaultAction": "SCMP_ACT_NO"}),
        "spec.defaultAction: ",
    );
}

#[test]
fn what_a_base_adds_is_held_to_this_profiles_header() {
    let with = |own: Value, base: Value| {
        let base = base.to_string();
        resolve("p", &own.to_string(), &|_| Some(&base))
    };
    let rule = |name: &str, action: &str| json!([{"names": [name], "action": action}]);
    let tomorrow = json!({"defaultAction": "SCMP_ACT_KILL",
        "syscalls": rule("call_of_tomorrow", "SCMP_ACT_ERRNO")});
    let own = |default: &str| json!({"baseProfileName": "b", "defaultAction": default});
    // Looser than the base's default and so a warning there, it would silently protect nothing.
    let error = with(own("SCMP_ACT_ALLOW"), tomorrow.clone()).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("spec.baseProfileName: the rules of b can't be used under")
            && said.contains("unknown system call \"call_of_tomorrow\""),
        "{said}"
    );
    assert!(with(own("SCMP_ACT_KILL"), tomorrow).is_ok());
    let notifies = json!({"listenerPath": "/run/s", "syscalls": rule("mkdir", "SCMP_ACT_NOTIFY")});
    let said = with(own("SCMP_ACT_ERRNO"), notifies.clone())
        .unwrap_err()
        .to_string();
    assert!(said.contains("needs a `listenerPath`"), "{said}");
    let mut listens = own("SCMP_ACT_ERRNO");
    listens["listenerPath"] = json!("/run/own");
    assert!(with(listens, notifies).is_ok());
}

#[test]
fn a_file_that_the_gate_would_not_read_is_refused() {
    let names: Vec<String> = (0..40_000)
        .map(|number| format!("a_call_of_tomorrow_{number}"))
        .collect();
    rejects(&json!({"allow": names}), "the gate reads at most 1048576");
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in [
        "", "..", "a/b", "../a", "A", ".a", "a..b", "-a", "a.-b", "a-.b", "a.", "a_b",
    ] {
        assert!(check_name(name).is_err(), "{name}");
    }
    assert!(check_name(&"a".repeat(250)).is_ok());
    assert!(check_name(&"a".repeat(251)).is_err());
}
