//! What `check` is told of the drop-in.

use super::*;

#[test]
fn check_says_when_the_configuration_has_changed_since() {
    let stand = packaged();
    let state = || {
        state(
            &Node::at_root(stand.root.path().to_owned(), false),
            Path::new(SETTINGS),
            None,
        )
    };
    assert_eq!(state(), State::Absent);
    set_up(&stand);
    assert_eq!(state(), State::Current);
    // What is not copied makes no difference.
    stand.write(
        "etc/crio/crio.conf.d/20.conf",
        "[crio.runtime]\nlog_level = 'debug'\n",
    );
    assert_eq!(state(), State::Current);
    stand.write(
        "etc/crio/crio.conf.d/20.conf",
        "[crio.runtime]\nhooks_dir = ['/new']\n",
    );
    assert_eq!(state(), State::Outdated);
    set_up(&stand);
    assert_eq!(state(), State::Current);
    stand.write(OWN, &own(&stand).replace("/new", "/other"));
    assert_eq!(state(), State::Edited);
    stand.remove("usr/libexec/portcullis/portcullis-crun");
    assert!(matches!(state(), State::Wrong(why) if why.contains("ln -s")));
    stand.program("usr/bin/crio", "");
    assert_eq!(state(), State::Unknown);
}
