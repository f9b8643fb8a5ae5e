//! Whatever CRI-O is configured to, it keeps that, and has exactly ours beside it.

use super::*;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever CRI-O's files say, it afterwards has what it had, and exactly ours beside it.
    #[test]
    fn cri_o_has_what_it_had_and_exactly_ours(
        handlers in prop::collection::vec((0_usize..4, 0_usize..3, any::<bool>(), any::<bool>()), 1..5),
        folders in prop::option::of(prop::collection::vec("/[a-c]", 0..3)),
        is_default: bool,
    ) {
        let stand = packaged();
        for (number, (name, runtime, own_profile, inherits)) in handlers.iter().enumerate() {
            let name = ["crun", "runc", "fast", "a b"][*name];
            let runtime = ["/usr/libexec/crio/crun", "/usr/libexec/crio/runc", "/bin/other"][*runtime];
            let mut text = format!("[crio.runtime.runtimes.'{name}']\nruntime_path = '{runtime}'\nmonitor_path = '/usr/libexec/crio/conmon'\nunknown = [{number}]\n");
            if *own_profile {
                text.push_str("seccomp_profile = '/own'\n");
            }
            if *inherits && name != "crun" {
                text.push_str("inherit_default_runtime = true\n");
            }
            stand.write(&format!("{FOLDER}/{}.conf", 20 + number), &text);
        }
        stand.program("bin/other", "");
        if let Some(folders) = &folders {
            stand.write(&format!("{FOLDER}/50.conf"), &format!("[crio.runtime]\nhooks_dir = {folders:?}\n"));
        }
        let before = read(&stand);
        let more = if is_default { default_runtime() } else { Arguments::default() };
        if let Err(Refused { message, .. }) = with(&stand, more) {
            let default_is_other = before.handler("crun").unwrap().path == Some("/bin/other".into());
            prop_assert!(default_is_other, "{}", message);
            prop_assert!(!stand.at(OWN).exists());
            return Ok(());
        }
        let after = read(&stand);
        let mut hooks = before.hooks_dir.clone();
        hooks.push("/etc/crio/hooks.d".into());
        prop_assert_eq!(&after.hooks_dir, &hooks);
        for (name, handler) in &after.runtimes {
            let Some(beside) = name.strip_prefix("portcullis-") else {
                prop_assert_eq!(Some(handler), before.runtimes.get(name));
                continue;
            };
            let old = before.handler(beside).unwrap();
            let runtime = old.path.as_deref().unwrap().file_name().unwrap().to_str().unwrap();
            let path = PathBuf::from(format!("/usr/libexec/portcullis/portcullis-{runtime}"));
            prop_assert_eq!(handler.path.as_ref(), Some(&path));
            let same = |handler: &portcullis_profile::settings::crio::Handler| (
                handler.is_oci(), handler.root.clone(), handler.monitor.clone(), handler.seccomp_profile.clone(),
                handler.table.get("unknown").cloned(),
            );
            prop_assert_eq!(same(handler), same(&old));
            prop_assert!(!handler.inherits);
        }
        let ours = before.runtimes.keys().filter(|name| before.handler(name).unwrap().path != Some("/bin/other".into()));
        prop_assert_eq!(after.runtimes.len(), before.runtimes.len() + ours.count());
        let default = if is_default { "portcullis-crun" } else { "crun" };
        prop_assert_eq!(&after.default_runtime, default);
        with(&stand, removal()).unwrap();
        prop_assert_eq!(read(&stand), before);
    }
}
