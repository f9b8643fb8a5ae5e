//! The rule set: what admission does, in types that hold only what may be written into a policy.

mod labels;

use crate::{crd::binding::Mode, file_name::localhost_profile};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use labels::Needs;
pub use labels::Requirement;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// The annotation of a namespace that names the profile of its pods.
pub const PROFILE_ANNOTATION: &str = "portcullis.dev/profile";
/// The annotation of a namespace that says how strictly that profile applies.
pub const MODE_ANNOTATION: &str = "portcullis.dev/profile-mode";
/// The annotation of a pod that says which rules have changed it.
pub const CHANGED_BY: &str = "portcullis.dev/changed-by";
/// How [`CHANGED_BY`] begins to name a binding.
pub const BY_BINDING: &str = "binding ";
/// The label that each namespace has with its own name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// The longest name of a profile.
const LONGEST_NAME: usize = 250;

/// A value that can't be part of a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {wanted}")]
pub struct Unsuitable {
    value: String,
    wanted: &'static str,
}

impl Unsuitable {
    fn new(value: &str, wanted: &'static str) -> Unsuitable {
        let value = value.chars().take(100).collect();
        Unsuitable { value, wanted }
    }
}

/// A profile that a rule gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProfileRef {
    /// The runtime's own.
    RuntimeDefault,
    /// A `SeccompProfile`, by its name.
    Named(String),
}

/// Whether it is a name as Kubernetes gives it to objects.
fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().copied().is_some_and(is_inner)
        && bytes.last().copied().is_some_and(is_inner)
        && bytes
            .iter()
            .all(|byte| is_inner(*byte) || matches!(byte, b'-' | b'.'))
}

impl FromStr for ProfileRef {
    type Err = Unsuitable;

    fn from_str(text: &str) -> Result<ProfileRef, Unsuitable> {
        if text == "runtime/default" {
            return Ok(ProfileRef::RuntimeDefault);
        }
        if is_name(text) && text.len() <= LONGEST_NAME {
            return Ok(ProfileRef::Named(text.to_owned()));
        }
        let wanted = "the name of a SeccompProfile or runtime/default";
        Err(Unsuitable::new(text, wanted))
    }
}

impl fmt::Display for ProfileRef {
    /// As in an annotation.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProfileRef::RuntimeDefault => formatter.write_str("runtime/default"),
            ProfileRef::Named(name) => write!(formatter, "localhost/{}", localhost_profile(name)),
        }
    }
}

/// The name of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamespaceName(String);

impl NamespaceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NamespaceName {
    type Err = Unsuitable;

    fn from_str(text: &str) -> Result<NamespaceName, Unsuitable> {
        if is_name(text) && text.len() <= 63 && !text.contains('.') {
            return Ok(NamespaceName(text.to_owned()));
        }
        Err(Unsuitable::new(text, "the name of a namespace"))
    }
}

/// The name of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerName(String);

impl FromStr for ContainerName {
    type Err = Unsuitable;

    fn from_str(text: &str) -> Result<ContainerName, Unsuitable> {
        if is_name(text) && text.len() <= 63 && !text.contains('.') {
            return Ok(ContainerName(text.to_owned()));
        }
        Err(Unsuitable::new(text, "the name of a container"))
    }
}

/// A pattern for a container's image as the pod names it; `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImagePattern(String);

impl FromStr for ImagePattern {
    type Err = Unsuitable;

    fn from_str(text: &str) -> Result<ImagePattern, Unsuitable> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/:@*-".contains(&byte);
        if !text.is_empty() && text.len() <= 512 && text.bytes().all(is_plain) {
            return Ok(ImagePattern(text.to_owned()));
        }
        let wanted = "a pattern for an image: its characters, and * for any text";
        Err(Unsuitable::new(text, wanted))
    }
}

impl ImagePattern {
    /// Whether it matches an image.
    pub(super) fn matches(&self, image: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|start| image.strip_prefix(start)) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(end) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((skipped, after)) if !skipped.contains('\n') => rest = after,
                _ => return false,
            }
        }
        rest.strip_suffix(end)
            .is_some_and(|skipped| !skipped.contains('\n'))
    }

    /// As a regular expression.
    fn regex(&self) -> String {
        let inner = self.0.replace('.', "[.]").replace('*', ".*");
        format!("^{inner}$")
    }
}

/// What a rule does to the containers that it applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They get this profile.
    Apply(Mode, ProfileRef),
    /// They are refused: the profile that would be enforced can't be. The text completes
    /// "binding … enforces".
    Refuse(String),
}

/// A rule: a binding as the policy applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The binding's name.
    pub name: String,
    /// What it does.
    pub outcome: Outcome,
    /// The pods that it applies to.
    pub pods: Vec<Requirement>,
    /// The containers that it applies to; all, if empty.
    pub containers: BTreeSet<ContainerName>,
    /// The images that it applies to; all, if empty.
    pub images: BTreeSet<ImagePattern>,
}

impl Rule {
    /// Whether it only fills in what is left open.
    pub fn is_default(&self) -> bool {
        matches!(self.outcome, Outcome::Apply(Mode::Default, _))
    }

    /// Whether it applies to a container of a pod with these labels.
    pub(super) fn selects(
        &self,
        labels: &BTreeMap<String, String>,
        container: &str,
        image: &str,
    ) -> bool {
        self.pods
            .iter()
            .all(|requirement| requirement.is_met(labels))
            && (self.containers.is_empty()
                || self.containers.iter().any(|name| name.0 == container))
            && (self.images.is_empty() || self.images.iter().any(|pattern| pattern.matches(image)))
    }

    /// Whether a container could fall under both, as far as names and labels tell.
    pub fn may_overlap(&self, other: &Rule) -> bool {
        let (names, others) = (&self.containers, &other.containers);
        let has_common = names.is_empty() || others.is_empty() || !names.is_disjoint(others);
        has_common
            && !self
                .pods
                .iter()
                .any(|this| other.pods.iter().any(|that| this.excludes(that)))
    }

    /// As the policy reads it: `mode|profile|whose|labels|containers|images`. None of the parts can
    /// contain a separator of its own level.
    pub(super) fn text(&self) -> String {
        let (mode, profile) = match &self.outcome {
            Outcome::Apply(mode, profile) => (mode.as_str(), profile.to_string()),
            Outcome::Refuse(reason) => ("refuse", reason.replace(['|', '\n'], " ")),
        };
        let labels: Vec<String> = self.pods.iter().map(Requirement::text).collect();
        let containers: Vec<&str> = self.containers.iter().map(|name| name.0.as_str()).collect();
        let images: Vec<String> = self.images.iter().map(ImagePattern::regex).collect();
        format!(
            "{mode}|{profile}|{BY_BINDING}{}|{}|{}|{}",
            self.name.replace(['|', '\n'], " "),
            labels.join(" "),
            containers.join(","),
            images.join(",")
        )
    }
}

/// To which namespaces' annotations a profile is offered.
///
/// Only the name of a namespace counts, since whoever may annotate a namespace may also label it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer(Vec<Requirement>);

impl Offer {
    /// The offer of a selector; `None` if it depends on other labels than the name.
    pub fn of(selector: &LabelSelector) -> Option<Offer> {
        let requirements = Requirement::of(selector).ok()?;
        let is_by_name = |requirement: &Requirement| {
            requirement.key == NAMESPACE_NAME && requirement.needs != Needs::DoesNotExist
        };
        requirements
            .iter()
            .all(is_by_name)
            .then_some(Offer(requirements))
    }

    /// Whether the profile is offered to a namespace's annotation.
    pub(super) fn includes(&self, namespace: &str) -> bool {
        let labels = BTreeMap::from([(NAMESPACE_NAME.to_owned(), namespace.to_owned())]);
        self.0.iter().all(|requirement| requirement.is_met(&labels))
    }

    pub(super) fn text(&self) -> String {
        let texts = self.0.iter().map(|requirement| match &requirement.needs {
            Needs::In(names) => format!("+{}", join(names)),
            Needs::NotIn(names) => format!("-{}", join(names)),
            Needs::Exists | Needs::DoesNotExist => "*".to_owned(),
        });
        let text = texts.collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            "*".to_owned()
        } else {
            text
        }
    }
}

fn join(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(",")
}

/// What applies in the whole cluster; the operator's own configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The profile of namespaces and bindings that say nothing, and how strictly it applies.
    pub cluster: Option<(Mode, ProfileRef)>,
    /// Namespaces that stay out, besides `kube-system` and the operator's own.
    pub exempt: BTreeSet<NamespaceName>,
}

/// Everything that admission does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// What applies in the whole cluster.
    pub configuration: Configuration,
    /// The rules of each namespace, in the order in which they decide.
    pub namespaces: BTreeMap<String, Vec<Rule>>,
    /// The profiles that annotations of namespaces may name.
    pub offers: BTreeMap<String, Offer>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selector(value: serde_json::Value) -> LabelSelector {
        serde_json::from_value(value).unwrap()
    }

    fn rule(pods: serde_json::Value) -> Rule {
        Rule {
            name: "strict".to_owned(),
            outcome: Outcome::Apply(Mode::Enforce, "web".parse().unwrap()),
            pods: Requirement::of(&selector(pods)).unwrap(),
            containers: BTreeSet::new(),
            images: BTreeSet::new(),
        }
    }

    #[test]
    fn a_rule_is_written_with_all_of_its_parts() {
        let mut written = rule(json!({"matchLabels": {"app": "a"}, "matchExpressions": [
            {"key": "x.y/tier", "operator": "In", "values": ["b", ""]},
            {"key": "env", "operator": "NotIn", "values": ["dev"]},
            {"key": "seen", "operator": "Exists"}, {"key": "old", "operator": "DoesNotExist"}]}));
        written.containers = ["c", "d"].map(|name| name.parse().unwrap()).into();
        written.images = ["ghcr.io/a/*:1.2"].map(|it| it.parse().unwrap()).into();
        assert_eq!(
            written.text(),
            "enforce|localhost/operator/web.json|binding strict|+=app=a +=x.y/tier=,b -=env=dev ?=seen= !=old=|c,d|^ghcr[.]io/a/.*:1[.]2$"
        );
        written.outcome = Outcome::Refuse("nothing | that\nexists".to_owned());
        assert!(
            written
                .text()
                .starts_with("refuse|nothing   that exists|binding strict|")
        );
    }

    #[test]
    fn what_could_break_a_rule_apart_is_not_taken() {
        for profile in [
            "",
            "-a",
            "a|b",
            "a b",
            "A",
            "a/b",
            "a\n",
            "unconfined|",
            &"a".repeat(251),
        ] {
            assert!(profile.parse::<ProfileRef>().is_err(), "{profile:?}");
        }
        for image in ["", "a|b", "a b", "a,b", "a\nb", "(", "a'"] {
            assert!(image.parse::<ImagePattern>().is_err(), "{image:?}");
        }
        for name in ["", "a,b", "a.b", "A", &"a".repeat(64)] {
            assert!(name.parse::<ContainerName>().is_err(), "{name:?}");
        }
        for pods in [
            json!({"matchLabels": {"a": "b c"}}),
            json!({"matchLabels": {"a=b": "c"}}),
            json!({"matchLabels": {"": "c"}}),
            json!({"matchLabels": {"a": "b|"}}),
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "Near", "values": ["x"]}]}),
        ] {
            assert!(Requirement::of(&selector(pods.clone())).is_err(), "{pods}");
        }
    }

    #[test]
    fn a_pattern_matches_images_as_its_regular_expression_does() {
        let matches =
            |pattern: &str, image| pattern.parse::<ImagePattern>().unwrap().matches(image);
        for (pattern, image) in [
            ("a/b:1", "a/b:1"),
            ("a/*", "a/"),
            ("*", ""),
            ("*b*", "abc"),
            ("a*b*b", "abb"),
            ("*aab", "aaab"),
        ] {
            assert!(matches(pattern, image), "{pattern} {image}");
        }
        for (pattern, image) in [
            ("a.b", "axb"),
            ("a", "ab"),
            ("a*a", "a"),
            ("a*b*b", "ab"),
            ("*", "\n"),
            ("*b", "b\n"),
        ] {
            assert!(!matches(pattern, image), "{pattern} {image}");
        }
    }

    #[test]
    fn rules_overlap_unless_labels_or_containers_keep_them_apart() {
        let all = rule(json!({}));
        let web = rule(json!({"matchLabels": {"app": "web"}}));
        let db = rule(json!({"matchLabels": {"app": "db"}}));
        let not_web = rule(
            json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
        );
        let none = rule(json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}));
        assert!(all.may_overlap(&web) && not_web.may_overlap(&db) && not_web.may_overlap(&none));
        assert!(!web.may_overlap(&db) && !web.may_overlap(&not_web) && !none.may_overlap(&web));
        let (mut one, mut two) = (all.clone(), all);
        one.containers = ["c".parse().unwrap()].into();
        assert!(one.may_overlap(&two));
        two.containers = ["d".parse().unwrap()].into();
        assert!(!one.may_overlap(&two));
    }

    #[test]
    fn only_the_name_of_a_namespace_lets_its_annotation_name_a_profile() {
        let offer = |value| Offer::of(&selector(value)).map(|offer| offer.text());
        let by_name = |operator, values: serde_json::Value| {
            offer(
                json!({"matchExpressions": [{"key": NAMESPACE_NAME, "operator": operator, "values": values}]}),
            )
        };
        assert_eq!(offer(json!({})).as_deref(), Some("*"));
        assert_eq!(by_name("In", json!(["b", "a"])).as_deref(), Some("+a,b"));
        assert_eq!(by_name("NotIn", json!(["a"])).as_deref(), Some("-a"));
        assert_eq!(by_name("Exists", json!([])).as_deref(), Some("*"));
        assert_eq!(by_name("DoesNotExist", json!([])), None);
        assert_eq!(offer(json!({"matchLabels": {"team": "a"}})), None);
    }
}
