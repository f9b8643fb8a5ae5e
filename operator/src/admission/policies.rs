//! The rule set as admission policies. The API server evaluates them itself, so creating a pod never
//! waits for a server of ours.
//!
//! The policies hold constants only, because parameters of policies are evaluated in random order
//! and are not known yet right after the API server has started. A namespace's rules are one text,
//! which is parsed only for pods of that namespace: lists and maps as CEL literals take the API
//! server many times longer to compile and to evaluate.

mod places;
mod shards;

use super::{
    cel,
    rules::{Configuration, Rule, RuleSet},
};
pub use places::Cut;
use places::Places;
use portcullis_profile::filter::digest::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shards::Shards;
use std::collections::{BTreeMap, BTreeSet};

/// The name of both policies and of both of their bindings.
pub const NAME: &str = "portcullis-admission";
/// The annotation of the mutating policy's binding while it is live.
pub const LIVE_ANNOTATION: &str = "portcullis.dev/live";

/// How many code points all offers may have. Together with the rules they leave room in an object of
/// 1.5 MB, the most that etcd takes.
const ALL_OFFERS: usize = 200_000;

/// What the controller puts into `status.ties` of a binding, as a dry run, for the mutating policy to
/// replace by [`Policies::version`].
pub const QUESTION: &str = "portcullis.dev/applied-rules";

const MUTATING: &str = include_str!("mutating.yaml");
const VALIDATING: &str = include_str!("validating.yaml");

/// The four objects that carry the rules, in the order in which they go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The validating policy.
    Validating,
    /// The mutating policy.
    Mutating,
    /// The validating policy's binding.
    ValidatingBinding,
    /// The mutating policy's binding.
    MutatingBinding,
}

impl Part {
    /// All of them, in this order.
    pub const ALL: [Part; 4] = [
        Part::Validating,
        Part::Mutating,
        Part::ValidatingBinding,
        Part::MutatingBinding,
    ];

    /// The kind, and its plural.
    pub const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Part::Validating => ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
            Part::Mutating => ("MutatingAdmissionPolicy", "mutatingadmissionpolicies"),
            Part::ValidatingBinding => (
                "ValidatingAdmissionPolicyBinding",
                "validatingadmissionpolicybindings",
            ),
            Part::MutatingBinding => (
                "MutatingAdmissionPolicyBinding",
                "mutatingadmissionpolicybindings",
            ),
        }
    }
}

/// The API version of all of them.
pub const VERSION: (&str, &str) = ("admissionregistration.k8s.io", "v1");

/// A template that can't be read. A test reads both.
#[derive(Debug, thiserror::Error)]
#[error("the template of a policy: {0}")]
pub struct TemplateError(#[from] serde_saphyr::Error);

/// A rule set as policies.
#[derive(Debug)]
pub struct Policies {
    /// The specification of each part.
    pub specs: BTreeMap<Part, Value>,
    /// Which rules these are: the mutating policy's answer to [`QUESTION`].
    pub version: String,
    /// The rules that found no place, by namespace and name.
    pub cut: BTreeMap<String, BTreeMap<String, Cut>>,
    /// The profiles whose offer found no place.
    pub cut_offers: BTreeSet<String>,
}

impl Policies {
    /// The policies for a rule set. `exempt` are the namespaces that always stay out.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn of(rules: &RuleSet, exempt: &[&str]) -> Result<Policies, TemplateError> {
        let Places { texts, cut } = Places::of(rules);
        let mut shards = Shards::of_at_most(places::ALL);
        for (namespace, text) in &texts {
            shards.add(namespace, text);
        }
        let mut offers = Shards::of_at_most(ALL_OFFERS);
        let mut cut_offers = BTreeSet::new();
        for (profile, offer) in &rules.offers {
            if !offers.add(profile, &offer.text()) {
                cut_offers.insert(profile.clone());
            }
        }
        let mut mutating = spec(MUTATING)?;
        let version = fill(&mut mutating, &rules.configuration, &shards, &offers);
        let selector = live_selector(&rules.configuration, exempt);
        let specs = BTreeMap::from([
            (Part::Validating, spec(VALIDATING)?),
            (Part::Mutating, mutating),
            (Part::ValidatingBinding, validating_binding(&selector)),
            (Part::MutatingBinding, mutating_binding(&selector)),
        ]);
        Ok(Policies {
            specs,
            version,
            cut,
            cut_offers,
        })
    }

    /// The policies as they are installed: without rules, and bound to no namespace.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn installed() -> Result<Policies, TemplateError> {
        let nothing = json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "DoesNotExist"}]});
        let specs = BTreeMap::from([
            (Part::Validating, spec(VALIDATING)?),
            (Part::Mutating, spec(MUTATING)?),
            (Part::ValidatingBinding, validating_binding(&nothing)),
            (Part::MutatingBinding, mutating_binding(&nothing)),
        ]);
        Ok(Policies {
            specs,
            version: String::new(),
            cut: BTreeMap::new(),
            cut_offers: BTreeSet::new(),
        })
    }
}

/// The policies as they are installed, as objects.
///
/// # Errors
/// [`TemplateError`].
fn installed() -> Result<Vec<Value>, TemplateError> {
    let specs = Policies::installed()?.specs;
    Ok(specs
        .into_iter()
        .map(|(part, spec)| {
            json!({
                "apiVersion": format!("{}/{}", VERSION.0, VERSION.1),
                "kind": part.kind().0,
                "metadata": {"name": NAME, "labels": {"app.kubernetes.io/part-of": "portcullis"}},
                "spec": spec,
            })
        })
        .collect())
}

/// [`installed`] as a YAML stream: the text of `packaging/admission/policies.yaml`.
///
/// # Errors
/// When it can't be read or written.
pub fn yaml() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut text = String::from(
        "# The admission policies, without rules and bound to no namespace; the operator fills and binds them. For API\n\
         # servers that serve MutatingAdmissionPolicy in admissionregistration.k8s.io/v1 (Kubernetes 1.36 and later).\n\
         # Generated by `portcullis-operator admission-policies` (make generate): don't edit.\n",
    );
    for object in installed()? {
        let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string_with_options(&object, options)?);
    }
    Ok(text)
}

fn spec(template: &str) -> Result<Value, TemplateError> {
    let mut object: Value = serde_saphyr::from_str(template)?;
    Ok(object["spec"].take())
}

/// The namespaces in which the policies apply: all but the exempt ones.
pub(super) fn live_selector(configuration: &Configuration, exempt: &[&str]) -> Value {
    let more = configuration
        .exempt
        .iter()
        .map(super::rules::NamespaceName::as_str);
    let names: BTreeSet<&str> = exempt.iter().copied().chain(more).collect();
    json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": names}]})
}

fn resources(selector: &Value) -> Value {
    json!({"matchPolicy": "Equivalent", "namespaceSelector": selector, "objectSelector": {}})
}

fn mutating_binding(selector: &Value) -> Value {
    json!({"policyName": NAME, "matchResources": resources(selector)})
}

fn validating_binding(selector: &Value) -> Value {
    json!({"policyName": NAME, "matchResources": resources(selector), "validationActions": ["Deny"]})
}

/// Puts the rules into the mutating policy, and returns their version.
fn fill(
    spec: &mut Value,
    configuration: &Configuration,
    rules: &Shards,
    offers: &Shards,
) -> String {
    let cluster = configuration
        .cluster
        .as_ref()
        .map(|(mode, profile)| format!("{}|{profile}|the cluster's default|||", mode.as_str()));
    let filled = [
        ("cluster", cel::string(&cluster.unwrap_or_default())),
        ("bindings", rules.lookup("rules", "request.namespace")),
        ("offer", offers.lookup("offers", "variables.nsName")),
    ];
    let shards: Vec<Value> = rules
        .variables("rules")
        .chain(offers.variables("offers"))
        .collect();
    // The whole policy counts, so that another release of the operator is another version, too.
    let texts = filled.each_ref().map(|(_, text)| text);
    let version = hex(&Sha256::digest(json!([spec, texts, shards]).to_string())[..8]);
    let Some(variables) = spec["variables"].as_array_mut() else {
        return version;
    };
    for variable in variables.iter_mut() {
        if let Some((_, expression)) = filled.iter().find(|(name, _)| variable["name"] == *name) {
            variable["expression"] = json!(expression);
        }
        if variable["name"] == "version" {
            variable["expression"] = json!(answer(&version, &shards));
        }
    }
    variables.splice(0..0, shards);
    version
}

/// The expression for the version. It fails unless every shard can be evaluated.
fn answer(version: &str, shards: &[Value]) -> String {
    let names = shards.iter().filter_map(|shard| shard["name"].as_str());
    let sizes: Vec<String> = names
        .map(|name| format!("size(variables.{name})"))
        .collect();
    let version = cel::string(version);
    if sizes.is_empty() {
        return version;
    }
    format!("{} >= 0 ? {version} : ''", sizes.join(" + "))
}

#[cfg(test)]
mod tests;
