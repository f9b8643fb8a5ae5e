//! Filters as NRI's messages have them.

use portcullis_nri::api::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, OptionalUInt32};
use portcullis_profile::{
    ArgCondition, Filter, Rule,
    compose::{
        inert::with_inert_rule,
        nri::{as_nri_sets_it, joined},
    },
};
use serde_json::{Map, Value, json};

/// The policy for a filter, in as few rules as possible and with our inert rule. Its default errno is left out, since
/// NRI would drop it: so the rule's digest and action are those of what reaches the container.
pub(super) fn of_filter(filter: &Filter) -> LinuxSeccomp {
    let set = as_nri_sets_it(filter).unwrap_or_else(|| filter.clone());
    let filter = with_inert_rule(&joined(set));
    LinuxSeccomp {
        default_action: filter.default_action.to_string(),
        default_errno: None,
        architectures: strings(&filter.architectures),
        flags: strings(filter.flags.as_deref().unwrap_or_default()),
        listener_path: filter.listener_path.unwrap_or_default(),
        listener_metadata: filter.listener_metadata.unwrap_or_default(),
        syscalls: filter.syscalls.into_iter().map(rule).collect(),
    }
}

fn strings<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn rule(rule: Rule) -> LinuxSyscall {
    LinuxSyscall {
        names: rule.names,
        action: rule.action.to_string(),
        errno_ret: rule.errno_ret.map(|errno| OptionalUInt32 {
            value: errno.into(),
        }),
        args: rule.args.iter().map(condition).collect(),
    }
}

fn condition(arg: &ArgCondition) -> LinuxSeccompArg {
    LinuxSeccompArg {
        index: arg.index.into(),
        value: arg.value,
        value_two: arg.value_two,
        op: arg.op.to_string(),
    }
}

/// `linux.seccomp` as the runtime describes it, as JSON. Nothing is judged here: the evaluator reads
/// it like any other.
pub(super) fn to_json(policy: &LinuxSeccomp) -> String {
    let mut members = Map::new();
    members.insert("defaultAction".into(), json!(policy.default_action));
    if let Some(errno) = &policy.default_errno {
        members.insert("defaultErrnoRet".into(), json!(errno.value));
    }
    for (key, values) in [
        ("architectures", &policy.architectures),
        ("flags", &policy.flags),
    ] {
        if !values.is_empty() {
            members.insert(key.into(), json!(values));
        }
    }
    for (key, value) in [
        ("listenerPath", &policy.listener_path),
        ("listenerMetadata", &policy.listener_metadata),
    ] {
        if !value.is_empty() {
            members.insert(key.into(), json!(value));
        }
    }
    let syscalls: Vec<Value> = policy.syscalls.iter().map(syscall_to_json).collect();
    members.insert("syscalls".into(), Value::Array(syscalls));
    Value::Object(members).to_string()
}

fn syscall_to_json(syscall: &LinuxSyscall) -> Value {
    let mut members = Map::new();
    members.insert("names".into(), json!(syscall.names));
    members.insert("action".into(), json!(syscall.action));
    if let Some(errno) = &syscall.errno_ret {
        members.insert("errnoRet".into(), json!(errno.value));
    }
    if !syscall.args.is_empty() {
        let args = syscall.args.iter().map(|arg| {
            json!({"index": arg.index, "value": arg.value, "valueTwo": arg.value_two, "op": arg.op})
        });
        members.insert("args".into(), args.collect());
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_profile::{Action, compose::inert::is_inert_name, equal, parse_filter};

    fn filter() -> Filter {
        let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
            "architectures":["SCMP_ARCH_X86_64"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
            "syscalls":[
            {"names":["read","write"],"action":"SCMP_ACT_ALLOW"},
            {"names":["close"],"action":"SCMP_ACT_ALLOW"},
            {"names":["mkdir"],"action":"SCMP_ACT_ERRNO","errnoRet":61},
            {"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[
            {"index":0,"value":18446744073709551615,"valueTwo":8,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
        parse_filter(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_set_is_the_filter_without_its_default_errno_and_with_the_inert_rule() {
        let policy = of_filter(&filter());
        let last = policy.syscalls.last().unwrap();
        assert!(is_inert_name(&last.names[0]), "{:?}", last.names);
        assert_eq!(last.errno_ret.as_ref().map(|errno| errno.value), Some(1));
        assert_eq!(policy.default_errno, None);
        assert_eq!(policy.syscalls[0].names, ["read", "write", "close"]);
        let read = parse_filter(to_json(&policy).as_bytes()).unwrap();
        let expected = as_nri_sets_it(&filter()).unwrap();
        assert_eq!(read, joined(expected.clone()));
        assert!(equal(&read, &expected).unwrap());
        assert!(!equal(&read, &filter()).unwrap());
    }

    #[test]
    fn a_filter_without_a_default_errno_arrives_as_it_is() {
        let mut filter = filter();
        filter.default_action = Action::Allow;
        filter.default_errno_ret = None;
        filter.flags = None;
        let read = parse_filter(to_json(&of_filter(&filter)).as_bytes()).unwrap();
        assert_eq!(read, joined(filter));
    }

    #[test]
    fn the_default_errno_of_a_present_policy_is_kept() {
        let mut policy = of_filter(&filter());
        policy.default_errno = Some(OptionalUInt32 { value: 38 });
        policy.syscalls.pop();
        let read = parse_filter(to_json(&policy).as_bytes()).unwrap();
        assert_eq!(read, joined(filter()));
    }
}
