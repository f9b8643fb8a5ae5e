//! What can not be right is refused, with the file or link at fault, and nothing is changed.

use super::*;
use std::os::unix::fs::symlink;

/// A change of a node, and why nothing is written then.
type Case = (fn(&Stand), &'static str);

fn all_refused(cases: &[Case]) {
    for (change, part) in cases {
        let stand = packaged();
        change(&stand);
        refuses(&stand, Arguments::default(), part);
    }
}

#[test]
fn what_can_not_be_right_is_refused_and_named() {
    let cases: [Case; 5] = [
        (
            |s| s.write("etc/crio/crio.conf.d/20.conf", "[crio\n"),
            "crio.conf.d/20.conf, line 1",
        ),
        (
            |s| {
                s.write(
                    "etc/crio/crio.conf.d/99-z.conf",
                    "[crio.runtime]\nhooks_dir = ['/z']\n",
                );
            },
            "99-z.conf is read after 99-portcullis.conf and replaces hooks_dir: rename it",
        ),
        (
            |s| {
                s.write(
                    "etc/crio/crio.conf.d/a/b.conf",
                    "[crio.runtime.runtimes.portcullis-crun]\nruntime_path = '/bin/sh'\n",
                );
            },
            "has a handler portcullis-crun that does not lead to portcullis-runtime",
        ),
        (
            |s| s.remove("usr/libexec/crio/crun"),
            "CRI-O's default handler crun: its runtime_path /usr/libexec/crio/crun",
        ),
        (
            |s| s.remove("usr/libexec/crio/conmon"),
            "CRI-O's handler crun monitor_path /usr/libexec/crio/conmon: ",
        ),
    ];
    all_refused(&cases);
    let kata = "[crio.runtime]\ndefault_runtime = 'kata'\n[crio.runtime.runtimes.kata]\nruntime_type = 'vm'\n";
    refuses(
        &node(&[("10-crio.conf", PACKAGED), ("20.conf", kata)]),
        default_runtime(),
        "CRI-O's default_runtime is \"kata\", and no portcullis-kata can be set beside it",
    );
}

#[test]
fn links_settings_and_files_that_can_not_be_right_are_refused_too() {
    let cases: [Case; 10] = [
        (
            |s| s.remove("usr/libexec/portcullis/portcullis-runc"),
            "ln -s portcullis-runtime /usr/libexec/portcullis/portcullis-runc",
        ),
        (
            |s| {
                s.remove("usr/libexec/portcullis/portcullis-runc");
                s.program("usr/libexec/portcullis/portcullis-runc", "");
            },
            "portcullis-runc is not a link to portcullis-runtime",
        ),
        (
            |s| {
                s.write(
                    "etc/portcullis/hook.toml",
                    "[runtimes]\nportcullis-crun = '/usr/bin/runc'\n",
                );
            },
            "write portcullis-crun = \"/usr/libexec/crio/crun\" under [runtimes] in hook.toml",
        ),
        (
            |s| s.write("etc/portcullis/hook.toml", "[runtimes\n"),
            "/etc/portcullis/hook.toml",
        ),
        (
            |s| {
                s.write(
                    "etc/crio/crio.conf.d/20.conf",
                    "[crio.runtime]\ndefault_runtime = 'none'\n",
                );
            },
            "CRI-O's default_runtime is \"none\"",
        ),
        (
            |s| s.write("etc/crio/crio.conf.d/99-portcullis.conf", "# mine\n"),
            "99-portcullis.conf was not written by setup",
        ),
        (
            |s| symlink("/etc/passwd", s.at(OWN)).unwrap(),
            "99-portcullis.conf is a link",
        ),
        (
            |s| {
                fs::rename(s.at(FOLDER), s.at("etc/elsewhere")).unwrap();
                symlink("../elsewhere", s.at(FOLDER)).unwrap();
            },
            "crio.conf.d: is not a regular file",
        ),
        (
            |s| {
                fs::rename(s.at("etc/crio"), s.at("etc/elsewhere")).unwrap();
                symlink("elsewhere", s.at("etc/crio")).unwrap();
            },
            "99-portcullis.conf: ",
        ),
        (
            |s| {
                s.write("proc/100/comm", "crio\n");
                s.write("proc/100/cmdline", "/usr/bin/crio\0--hooks-dir=/x\0");
                s.write(
                    "proc/100/stat",
                    &format!("100 (crio) S {}0 0\n", "0 ".repeat(18)),
                );
            },
            "CRI-O's command line has --hooks-dir",
        ),
    ];
    all_refused(&cases);
}

/// Asked about the drop-in by CRI-O itself: a stand-in that reads the folder it is given.
#[test]
fn cri_o_has_the_last_word() {
    let stand = packaged();
    let trusted = || Arguments {
        execute: true,
        ..Arguments::default()
    };
    let default = "[crio.runtime]\nhooks_dir = ['/built-in']\n[crio.runtime.runtimes.runc]\nruntime_root = '/run/r'\n";
    stand.write("default.toml", default);
    let cat = |last: &str| {
        let root = stand.root.path().display();
        let script = format!(
            "case \"$*\" in 'config --default') cat {root}/default.toml; exit;; esac\n{last}"
        );
        stand.program("usr/bin/crio", &script);
    };
    cat("echo 'level=fatal msg=\"no such key\"' >&2; exit 1");
    refuses(
        &stand,
        trusted(),
        "CRI-O does not accept its files with 99-portcullis.conf (crio config: exit status: 1: level=fatal",
    );
    cat("grep -h '^\\[crio.runtime' $2/00000000");
    refuses(&stand, trusted(), "crio config reads hooks_dir of");
    // Our file is the last of the folder.
    cat("cat $2/00000001");
    with(&stand, trusted()).unwrap();
    let hooks = read(&stand).hooks_dir;
    assert_eq!(hooks, ["/built-in", "/etc/crio/hooks.d"].map(PathBuf::from));
}
