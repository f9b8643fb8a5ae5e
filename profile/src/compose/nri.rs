//! Filters on their way through NRI: what reaches `config.json`, since NRI drops the default errno, and
//! the shortest form to send.

use crate::{Filter, Rule};

/// The filter that is left where NRI sets this one; `None` if that is the same. Calls that no rule
/// names then fail with the runtime's own default errno (EPERM).
#[must_use]
pub fn as_nri_sets_it(filter: &Filter) -> Option<Filter> {
    filter.default_errno_ret?;
    Some(Filter {
        default_errno_ret: None,
        ..filter.clone()
    })
}

/// The same filter in fewer rules: neighbours without conditions that treat their calls alike are one.
/// runc and crun add a rule's names to the program one by one, so it stays the same to the byte;
/// plugin and runtime have less to encode, decode and check, while a container waits.
#[must_use]
pub fn joined(filter: Filter) -> Filter {
    let mut syscalls: Vec<Rule> = Vec::with_capacity(filter.syscalls.len());
    for mut rule in filter.syscalls {
        match syscalls.last_mut() {
            Some(last) if are_alike(last, &rule) => last.names.append(&mut rule.names),
            _ => syscalls.push(rule),
        }
    }
    Filter { syscalls, ..filter }
}

/// A rule without names stays as it is: what a runtime makes of that is its own affair.
fn are_alike(a: &Rule, b: &Rule) -> bool {
    let is_plain = |rule: &Rule| !rule.names.is_empty() && rule.args.is_empty();
    is_plain(a) && is_plain(b) && a.action == b.action && a.errno_ret == b.errno_ret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Action, equal,
        fixtures::{filter, is, rule},
        program::compile::compile,
    };

    #[test]
    fn only_a_default_errno_is_lost() {
        let plain = Filter::new(Action::Errno);
        assert_eq!(as_nri_sets_it(&plain), None);
        let own = Filter {
            default_errno_ret: Some(38),
            ..plain.clone()
        };
        assert_eq!(as_nri_sets_it(&own), Some(plain));
    }

    #[test]
    fn neighbours_that_are_alike_are_joined_and_the_program_stays_the_same() {
        let allow = Action::Allow;
        let condition = [is(0, 8)];
        let mut many = filter(
            Action::Errno,
            &[
                ("read", allow, &[]),
                ("write", allow, &[]),
                ("personality", allow, &condition),
                ("personality", allow, &condition),
                ("close", allow, &[]),
                ("mkdir", Action::Log, &[]),
                ("rmdir", Action::Log, &[]),
                ("openat", allow, &[]),
            ],
        );
        let mut own_errno = rule(&["socket"], Action::Errno, &[]);
        own_errno.errno_ret = Some(97);
        many.syscalls.push(own_errno.clone());
        own_errno.names = vec!["socketpair".to_owned(), "bind".to_owned()];
        many.syscalls.push(own_errno.clone());
        own_errno.errno_ret = Some(13);
        own_errno.names = vec!["listen".to_owned()];
        many.syscalls.push(own_errno);
        many.syscalls.push(rule(&[], Action::Errno, &[]));
        let short = joined(many.clone());
        let names: Vec<String> = short.syscalls.iter().map(|it| it.names.join(" ")).collect();
        let expected = [
            "read write",
            "personality",
            "personality",
            "close",
            "mkdir rmdir",
            "openat",
            "socket socketpair bind",
            "listen",
            "",
        ];
        assert_eq!(names, expected);
        assert_eq!(compile(&short).unwrap(), compile(&many).unwrap());
        assert!(equal(&short, &many).unwrap());
        assert_eq!(joined(short.clone()), short);
    }
}
