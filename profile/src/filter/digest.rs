//! The digest of a filter: the SHA-256 of its canonical form, which is the same on every machine.
//! Names and errnos are taken as written, without consulting libseccomp or a table of calls.
//!
//! Canonical is what libseccomp is told. The order of flags, repetitions among flags and
//! architectures, an errno that is the default or that its action does not take, and the second value
//! of a condition that has none make no difference; the order of architectures, rules, names and
//! conditions does, since libseccomp's program depends on it. Our rule without effect
//! ([`crate::compose::inert`]) is left out.

use crate::{
    Action, Arch, ArgCondition, Filter, Flag, Operator, Rule,
    compose::inert::is_inert,
    filter::{Treatment, UnknownName},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fmt, fmt::Write as _, str::FromStr};

/// The beginning of an encoding. A new encoding gets a new number.
const HEADER: &str = "portcullis filter 1";

/// The SHA-256 of a filter's canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilterDigest([u8; 32]);

impl FilterDigest {
    /// The digest of a filter.
    pub fn of(filter: &Filter) -> FilterDigest {
        FilterDigest(Sha256::digest(encode(filter)).into())
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 16 hexadecimal digits, as used in reports.
    pub fn short(&self) -> String {
        hex(&self.0[..8])
    }
}

impl fmt::Display for FilterDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The canonical form of a filter. Each text and list is preceded by its length, so two filters
/// have the same bytes only if they are the same.
pub(crate) fn encode(filter: &Filter) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 * 1024);
    text(&mut bytes, HEADER);
    treatment(&mut bytes, filter.default_action, filter.default_errno_ret);
    let architectures = distinct(&filter.architectures);
    list(&mut bytes, architectures, |bytes, arch| {
        text(bytes, arch.as_str());
    });
    let flags: Option<BTreeSet<&str>> = filter
        .flags
        .as_ref()
        .map(|flags| flags.iter().map(|flag| flag.as_str()).collect());
    optional(&mut bytes, flags, |bytes, flags| list(bytes, flags, text));
    optional(&mut bytes, filter.listener_path.as_deref(), text);
    optional(&mut bytes, filter.listener_metadata.as_deref(), text);
    let default = Treatment::default_of(filter);
    let rules: Vec<&Rule> = filter
        .syscalls
        .iter()
        .filter(|rule| !is_inert(rule, default))
        .collect();
    list(&mut bytes, rules, |bytes, rule| {
        list(bytes, &rule.names, |bytes, name| text(bytes, name));
        treatment(bytes, rule.action, rule.errno_ret);
        list(bytes, &rule.args, condition);
    });
    bytes
}

/// Each architecture once, in the order in which libseccomp is told them.
fn distinct(architectures: &[Arch]) -> Vec<Arch> {
    let mut seen = BTreeSet::new();
    let mut distinct = architectures.to_vec();
    distinct.retain(|arch| seen.insert(*arch));
    distinct
}

fn length(bytes: &mut Vec<u8>, length: usize) {
    bytes.extend((length as u64).to_le_bytes());
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    length(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn list<I: IntoIterator<IntoIter: ExactSizeIterator>>(
    bytes: &mut Vec<u8>,
    items: I,
    mut put: impl FnMut(&mut Vec<u8>, I::Item),
) {
    let items = items.into_iter();
    length(bytes, items.len());
    for item in items {
        put(bytes, item);
    }
}

fn optional<T>(bytes: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    bytes.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put(bytes, value);
    }
}

fn treatment(bytes: &mut Vec<u8>, action: Action, errno: Option<u16>) {
    let treatment = Treatment::of(action, errno);
    text(bytes, treatment.action.as_str());
    bytes.extend(treatment.errno.to_le_bytes());
}

fn condition(bytes: &mut Vec<u8>, condition: &ArgCondition) {
    let value_two = match condition.op {
        Operator::MaskedEq => condition.value_two,
        _ => 0,
    };
    bytes.push(condition.index);
    text(bytes, condition.op.as_str());
    bytes.extend(condition.value.to_le_bytes());
    bytes.extend(value_two.to_le_bytes());
}

/// The canonical filter that was encoded; `None` for other bytes.
pub(crate) fn decode(bytes: &[u8]) -> Option<Filter> {
    let mut rest = Decoder(bytes);
    let filter = rest.filter().ok()?;
    rest.0.is_empty().then_some(filter)
}

/// The bytes are no encoding.
struct Invalid;

/// What is left to decode.
struct Decoder<'a>(&'a [u8]);

impl Decoder<'_> {
    fn filter(&mut self) -> Result<Filter, Invalid> {
        if self.text()? != HEADER {
            return Err(Invalid);
        }
        let (default_action, default_errno_ret) = self.treatment()?;
        Ok(Filter {
            default_action,
            default_errno_ret,
            architectures: self.list(Decoder::known::<Arch>)?,
            flags: self.optional(|rest| rest.list(Decoder::known::<Flag>))?,
            listener_path: self.optional(Decoder::text)?,
            listener_metadata: self.optional(Decoder::text)?,
            syscalls: self.list(Decoder::rule)?,
        })
    }

    fn rule(&mut self) -> Result<Rule, Invalid> {
        let names = self.list(Decoder::text)?;
        let (action, errno_ret) = self.treatment()?;
        Ok(Rule {
            names,
            action,
            errno_ret,
            args: self.list(Decoder::condition)?,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Invalid> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Invalid)?;
        self.0 = rest;
        Ok(*array)
    }

    fn length(&mut self) -> Result<usize, Invalid> {
        let length = u64::from_le_bytes(self.array()?);
        let length = usize::try_from(length).map_err(|_| Invalid)?;
        // Nothing takes less than a byte.
        if length > self.0.len() {
            return Err(Invalid);
        }
        Ok(length)
    }

    fn text(&mut self) -> Result<String, Invalid> {
        let length = self.length()?;
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| Invalid)
    }

    fn known<T: FromStr<Err = UnknownName>>(&mut self) -> Result<T, Invalid> {
        self.text()?.parse().map_err(|_| Invalid)
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Invalid>,
    ) -> Result<Vec<T>, Invalid> {
        let length = self.length()?;
        (0..length).map(|_| item(self)).collect()
    }

    fn optional<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, Invalid>,
    ) -> Result<Option<T>, Invalid> {
        match self.array()? {
            [0] => Ok(None),
            [1] => value(self).map(Some),
            _ => Err(Invalid),
        }
    }

    fn treatment(&mut self) -> Result<(Action, Option<u16>), Invalid> {
        let action: Action = self.known()?;
        let errno = u16::from_le_bytes(self.array()?);
        Ok((action, action.takes_errno().then_some(errno)))
    }

    fn condition(&mut self) -> Result<ArgCondition, Invalid> {
        let [index] = self.array()?;
        Ok(ArgCondition {
            index,
            op: self.known()?,
            value: u64::from_le_bytes(self.array()?),
            value_two: u64::from_le_bytes(self.array()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        compose::inert::{with_inert_rule, without_inert_rule},
        fixtures::{is, rule},
    };
    use proptest::prelude::*;

    fn differs(a: &Filter, b: &Filter) {
        assert_ne!(FilterDigest::of(a), FilterDigest::of(b), "{a:?}\n{b:?}");
    }

    fn alike(a: &Filter, b: &Filter) {
        assert_eq!(FilterDigest::of(a), FilterDigest::of(b), "{a:?}\n{b:?}");
    }

    fn sample() -> Filter {
        Filter {
            architectures: vec![Arch::X86_64, Arch::X86],
            flags: Some(vec![Flag::Log, Flag::SpecAllow]),
            syscalls: vec![
                rule(&["mkdir", "not_a_call"], Action::Errno, &[]),
                rule(&["clone"], Action::KillThread, &[is(0, 1)]),
            ],
            ..Filter::new(Action::Allow)
        }
    }

    #[test]
    fn the_encoding_is_the_same_on_every_machine_and_in_every_version() {
        assert_eq!(
            FilterDigest::of(&sample()).to_string(),
            "63dc5cc224ef2b221511a2e5e152759c2ca0b7b6a003f7697ff1a1a569aa8234"
        );
        assert_eq!(FilterDigest::of(&sample()).short().len(), 16);
    }

    #[test]
    fn what_the_canonical_form_ignores_makes_no_difference() {
        let mut other = sample();
        other.architectures = vec![Arch::X86_64, Arch::X86, Arch::X86_64];
        other.flags = Some(vec![Flag::SpecAllow, Flag::Log, Flag::Log]);
        other.default_errno_ret = Some(7);
        other.syscalls[0].errno_ret = Some(1);
        other.syscalls[1].action = Action::Kill;
        other.syscalls[1].args[0].value_two = 9;
        alike(&sample(), &other);
        alike(&sample(), &with_inert_rule(&other));
    }

    #[test]
    fn names_that_run_together_and_errnos_differ() {
        let named = |names: &[&str]| Filter {
            syscalls: vec![rule(names, Action::Errno, &[])],
            ..Filter::new(Action::Allow)
        };
        differs(
            &named(&["mkdir", "mkdirat"]),
            &named(&["mkd", "irmkd", "irat"]),
        );
        differs(&named(&["stat", "mount"]), &named(&["statmount"]));
        let mut other = named(&["mkdir"]);
        other.syscalls[0].errno_ret = Some(2);
        differs(&named(&["mkdir"]), &other);
        let mut none = named(&[]);
        none.flags = Some(vec![]);
        differs(&none, &named(&[]));
    }

    /// libseccomp makes its program in the order in which it is told architectures.
    #[test]
    fn architectures_in_another_order_differ() {
        let mut other = sample();
        other.architectures.reverse();
        differs(&sample(), &other);
    }

    #[test]
    fn other_bytes_are_no_filter() {
        let bytes = encode(&sample());
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), None);
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None);
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] = 0xff;
            if let Some(filter) = decode(&broken) {
                assert_ne!(filter, sample());
            }
        }
    }

    fn some<T: Copy + fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
        prop::sample::select(all)
    }

    fn some_errno() -> impl Strategy<Value = Option<u16>> {
        prop::option::of(prop::sample::select(vec![1_u16, 2, 38]))
    }

    fn some_name() -> impl Strategy<Value = String> {
        "[a-d]{0,3}"
    }

    prop_compose! {
        fn some_condition()(
            index in 0_u8..3, value in 0_u64..3, value_two in 0_u64..3, op in some(Operator::ALL),
        ) -> ArgCondition {
            ArgCondition { index, value, value_two, op }
        }
    }

    prop_compose! {
        fn some_rule()(
            names in prop::collection::vec(some_name(), 0..4),
            action in some(Action::ALL),
            errno_ret in some_errno(),
            args in prop::collection::vec(some_condition(), 0..3),
        ) -> Rule {
            Rule { names, action, errno_ret, args }
        }
    }

    prop_compose! {
        fn some_filter()(
            default_action in some(Action::ALL),
            default_errno_ret in some_errno(),
            architectures in prop::collection::vec(some(Arch::ALL), 0..3),
            flags in prop::option::of(prop::collection::vec(some(Flag::ALL), 0..3)),
            listener_path in prop::option::of(some_name()),
            listener_metadata in prop::option::of(some_name()),
            syscalls in prop::collection::vec(some_rule(), 0..4),
        ) -> Filter {
            Filter {
                default_action, default_errno_ret, architectures, flags, listener_path,
                listener_metadata, syscalls,
            }
        }
    }

    /// The filter in canonical form, as this file's header defines it.
    fn canonical(filter: &Filter) -> Filter {
        fn sorted<T: Copy + fmt::Display>(items: &[T]) -> Vec<T> {
            let mut items = items.to_vec();
            items.sort_by_key(ToString::to_string);
            items.dedup_by_key(|item| item.to_string());
            items
        }
        let errno =
            |action: Action, errno: Option<u16>| action.takes_errno().then_some(errno.unwrap_or(1));
        let mut filter = without_inert_rule(filter.clone());
        filter.default_errno_ret = errno(filter.default_action, filter.default_errno_ret);
        filter.default_action = filter.default_action.folded();
        let all = std::mem::take(&mut filter.architectures);
        for arch in all {
            if !filter.architectures.contains(&arch) {
                filter.architectures.push(arch);
            }
        }
        filter.flags = filter.flags.map(|flags| sorted(&flags));
        for rule in &mut filter.syscalls {
            rule.errno_ret = errno(rule.action, rule.errno_ret);
            rule.action = rule.action.folded();
            for arg in &mut rule.args {
                if arg.op != Operator::MaskedEq {
                    arg.value_two = 0;
                }
            }
        }
        filter
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        /// So no two different canonical filters have the same bytes.
        #[test]
        fn the_canonical_filter_is_read_back_from_its_encoding(filter in some_filter()) {
            prop_assert_eq!(decode(&encode(&filter)), Some(canonical(&filter)));
            prop_assert_eq!(decode(&encode(&with_inert_rule(&filter))), Some(canonical(&filter)));
        }

        #[test]
        fn two_filters_have_one_digest_exactly_if_they_are_canonically_the_same(
            a in some_filter(), b in some_filter(), mixed in any::<bool>(),
        ) {
            let mut b = b;
            if mixed {
                // Make the same, or nearly the same, filter more likely.
                let rules = b.syscalls;
                b = Filter { syscalls: a.syscalls.clone(), ..a.clone() };
                b.architectures.reverse();
                b.syscalls.truncate(rules.len());
            }
            let same = canonical(&a) == canonical(&b);
            prop_assert_eq!(FilterDigest::of(&a) == FilterDigest::of(&b), same);
        }
    }
}
