//! The rule set's other carrier: webhook configurations, which have the API server ask the
//! controller about the pods that a rule may concern. For API servers that do not serve
//! `MutatingAdmissionPolicy`.
//!
//! They are installed without webhooks, and so match nothing.

use super::{
    policies::{NAME, live_selector},
    rules::RuleSet,
};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The Service of the controller's webhook.
pub const SERVICE: &str = "portcullis-webhook";
/// The path for pods that are created, and for ephemeral containers.
pub const MUTATE: &str = "/pods/mutate";
/// The path for everything that could change annotations of pods.
pub const VALIDATE: &str = "/pods/validate";
/// The path for our own kinds.
pub const KINDS: &str = "/kinds/validate";

/// How many code points the names of the namespaces with rules may take in an expression, of which
/// the API server takes 100,000. Beyond that it asks about every pod.
const NAMESPACES: usize = 90_000;

/// The two objects, in the order in which they go live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The validating ones: annotations of pods, and our own kinds.
    Validating,
    /// The mutating one: pods.
    Mutating,
}

impl Part {
    /// Both, in this order.
    pub const ALL: [Part; 2] = [Part::Validating, Part::Mutating];

    /// The kind, and its plural.
    pub const fn kind(self) -> (&'static str, &'static str) {
        match self {
            Part::Validating => (
                "ValidatingWebhookConfiguration",
                "validatingwebhookconfigurations",
            ),
            Part::Mutating => (
                "MutatingWebhookConfiguration",
                "mutatingwebhookconfigurations",
            ),
        }
    }
}

/// How the API server reaches the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// By [`SERVICE`] in this namespace.
    Service(String),
    /// By a URL without a path.
    Url(String),
}

impl Address {
    /// The host in it, for which the certificate is.
    pub fn host(&self) -> String {
        match self {
            Address::Service(namespace) => format!("{SERVICE}.{namespace}.svc"),
            Address::Url(url) => {
                let uri: Option<http::Uri> = url.parse().ok();
                let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
                host.trim_start_matches('[')
                    .trim_end_matches(']')
                    .to_owned()
            }
        }
    }

    fn client(&self, path: &str, bundle: &str) -> Value {
        let mut client = match self {
            Address::Service(namespace) => json!({
                "service": {"name": SERVICE, "namespace": namespace, "path": path, "port": 443}}),
            Address::Url(url) => {
                json!({"url": format!("{}{path}", url.trim_end_matches('/'))})
            }
        };
        if !bundle.is_empty() {
            client["caBundle"] = json!(ByteString(bundle.as_bytes().to_vec()));
        }
        client
    }
}

/// What is to be asked about.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The rules.
    pub rules: &'a RuleSet,
    /// The namespaces whose annotations are rules.
    pub annotated: &'a BTreeSet<String>,
    /// The namespaces that always stay out.
    pub exempt: &'a [&'a str],
}

/// The CAs in the webhooks of a part, as PEM, if there are any. `made` is the part's `webhooks`.
pub fn bundle_in(made: &Value) -> Option<String> {
    let mut bundles = made.as_array()?.iter();
    bundles.find_map(|made| {
        let bundle = made.pointer("/clientConfig/caBundle")?.clone();
        let bundle: ByteString = serde_json::from_value(bundle).ok()?;
        let bundle = String::from_utf8(bundle.0).ok()?;
        (!bundle.is_empty()).then_some(bundle)
    })
}

/// The webhooks of a part. Without a scope it asks about no pod; without a bundle it has none.
pub fn webhooks(part: Part, address: &Address, bundle: &str, pods: Option<Scope<'_>>) -> Value {
    let webhook = |name: &str, path: &str, policy: &str, rules: Value, selector: &Value| {
        json!({
            "name": format!("{name}.portcullis.dev"),
            "admissionReviewVersions": ["v1"],
            "clientConfig": address.client(path, bundle),
            "failurePolicy": policy,
            "matchPolicy": "Equivalent",
            "namespaceSelector": selector,
            "objectSelector": {},
            "rules": rules,
            "sideEffects": "None",
            "timeoutSeconds": if policy == "Fail" { 10 } else { 2 },
        })
    };
    let of_pods = |name: &str, path: &str, rules: Value, conditions: Vec<(&str, String)>| {
        let scope = pods?;
        let selector = live_selector(&scope.rules.configuration, scope.exempt);
        let mut made = webhook(name, path, "Fail", rules, &selector);
        let conditions = conditions.into_iter();
        let conditions =
            conditions.map(|(name, expression)| json!({"name": name, "expression": expression}));
        made["matchConditions"] = conditions.collect();
        Some(made)
    };
    match part {
        Part::Mutating => {
            let rules = json!([
                rule("", "v1", &["CREATE"], &["pods"]),
                rule("", "v1", &["UPDATE"], &["pods/ephemeralcontainers"]),
            ]);
            let mut conditions = vec![
                ("linux", LINUX.to_owned()),
                ("not-a-mirror", NOT_A_MIRROR.to_owned()),
            ];
            conditions.extend(pods.and_then(concerned).map(|it| ("concerned", it)));
            let mut made = of_pods("pods", MUTATE, rules, conditions);
            if let Some(made) = &mut made {
                made["reinvocationPolicy"] = json!("IfNeeded");
            }
            made.into_iter().collect()
        }
        Part::Validating => {
            let rules = json!([
                rule("", "v1", &["CREATE", "UPDATE"], &["pods"]),
                rule(
                    "",
                    "v1",
                    &["UPDATE"],
                    &["pods/ephemeralcontainers", "pods/status"]
                ),
                rule("", "v1", &["CREATE"], &["pods/binding"]),
            ]);
            // What passes without us goes on while no controller runs: a kubelet's reports, above all.
            let conditions = vec![("refused-or-changed", format!("{REFUSED} || {CHANGED}"))];
            let of_pods = of_pods("annotations", VALIDATE, rules, conditions);
            let kinds = ["seccompprofiles", "seccompbindings"];
            let rules = json!([rule(
                "portcullis.dev",
                "v1alpha1",
                &["CREATE", "UPDATE"],
                &kinds
            )]);
            let of_kinds = webhook("kinds", KINDS, "Ignore", rules, &json!({}));
            of_pods.into_iter().chain([of_kinds]).collect()
        }
    }
}

fn rule(group: &str, version: &str, operations: &[&str], resources: &[&str]) -> Value {
    json!({"apiGroups": [group], "apiVersions": [version], "operations": operations, "resources": resources, "scope": "*"})
}

const LINUX: &str = "object.spec.?os.?name.orValue('linux') != 'windows'";
const NOT_A_MIRROR: &str =
    "!('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))";
const SELECTS: &str = "object.metadata.?annotations.orValue({}).exists(k, k.contains('seccomp.security.alpha.kubernetes.io/'))";
/// As `refused` and `changed` of the validating policy.
const REFUSED: &str = "(request.?subResource.orValue('') == '' && request.operation == 'CREATE' || request.?subResource.orValue('') == 'ephemeralcontainers') && (object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([])).exists(c, string(c.?securityContext.?seccompProfile.?localhostProfile.orValue('')).startsWith('portcullis.dev/refused/'))";
const CHANGED: &str = "!(request.?subResource.orValue('') == '' && request.operation == 'CREATE') && [object.?metadata.?annotations.orValue({})].exists(after, [request.operation == 'UPDATE' ? oldObject.?metadata.?annotations.orValue({}) : {}].exists(before, (after.map(k, string(k)) + before.map(k, string(k))).exists(k, (k == 'portcullis.dev/changed-by' || k.contains('seccomp.security.alpha.kubernetes.io/')) && (!(k in after) || !(k in before) || after[k] != before[k]))))";

/// Which pods a rule may concern; `None` if it may be any.
fn concerned(scope: Scope<'_>) -> Option<String> {
    if scope.rules.configuration.cluster.is_some() {
        return None;
    }
    let bound = scope.rules.namespaces.keys();
    let namespaces: BTreeSet<&str> = bound.chain(scope.annotated).map(String::as_str).collect();
    // One text: a list takes the API server many times longer. The names contain no comma.
    let names: Vec<&str> = namespaces.into_iter().collect();
    let names = names.join(",");
    let is_short = names.len() <= NAMESPACES;
    is_short.then(|| {
        let names = super::cel::string(&format!(",{names},"));
        format!("{SELECTS} || {names}.contains(',' + request.namespace + ',')")
    })
}

/// The namespaces with annotations that the API server does not ask about by these webhooks, although it
/// asks about pods. `made` is what [`webhooks`] made of the mutating part before.
pub fn not_asked_about(made: &Value, scope: Scope<'_>) -> Vec<String> {
    let Some(made) = made.get(0) else {
        return Vec::new();
    };
    let conditions = made["matchConditions"].as_array().into_iter().flatten();
    let mut concerned = conditions.filter(|condition| condition["name"] == "concerned");
    let Some(concerned) = concerned.find_map(|condition| condition["expression"].as_str()) else {
        // It asks about every pod.
        return Vec::new();
    };
    let exempt = &scope.rules.configuration.exempt;
    let stays_out = |name: &str| {
        scope.exempt.contains(&name) || exempt.iter().any(|exempt| exempt.as_str() == name)
    };
    let names = scope.annotated.iter();
    let new = names.filter(|name| !concerned.contains(&format!(",{name},")) && !stays_out(name));
    new.cloned().collect()
}

/// The configurations as they are installed, as a YAML stream: the text of
/// `packaging/admission/webhooks.yaml`.
pub fn yaml() -> String {
    let mut text = String::from(
        "# The webhook configurations, without webhooks; the operator fills them. For API servers that do not serve\n\
         # MutatingAdmissionPolicy in admissionregistration.k8s.io/v1 (before Kubernetes 1.36), and as a second carrier.\n\
         # Generated by `portcullis-operator admission-webhooks` (make generate): don't edit.\n",
    );
    for part in Part::ALL {
        let kind = part.kind().0;
        text += "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ";
        text += kind;
        text += "\nmetadata:\n  labels:\n    app.kubernetes.io/part-of: portcullis\n  name: ";
        text += NAME;
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{admission::rules::ProfileRef, crd::binding::Mode};

    #[test]
    fn the_committed_configurations_are_those_of_the_code() {
        let committed = include_str!("../../../packaging/admission/webhooks.yaml");
        assert!(yaml() == committed, "run: make generate");
    }

    fn mutating(rules: &RuleSet, annotated: &[String]) -> Value {
        let scope = Scope {
            rules,
            annotated: &annotated.iter().cloned().collect(),
            exempt: &["kube-system"],
        };
        let address = Address::Service("portcullis".to_owned());
        webhooks(Part::Mutating, &address, "CA", Some(scope))
    }

    #[test]
    fn the_api_server_asks_only_about_pods_that_a_rule_may_concern() {
        let mut rules = RuleSet::default();
        rules.namespaces.insert("bound".to_owned(), Vec::new());
        let made = mutating(&rules, &["annotated".to_owned()]);
        let conditions = made[0]["matchConditions"].as_array().unwrap();
        let last = conditions.last().unwrap()["expression"].as_str().unwrap();
        assert!(
            last.ends_with("|| ',annotated,bound,'.contains(',' + request.namespace + ',')"),
            "{last}"
        );
        assert_eq!(made[0]["failurePolicy"], "Fail");
        let selector = &made[0]["namespaceSelector"]["matchExpressions"][0];
        assert_eq!(selector["values"], json!(["kube-system"]));
        let many: Vec<String> = (0..10_000)
            .map(|number| format!("team-{number:05}"))
            .collect();
        assert_eq!(
            mutating(&rules, &many)[0]["matchConditions"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        rules.configuration.cluster = Some((Mode::Default, ProfileRef::RuntimeDefault));
        assert_eq!(
            mutating(&rules, &[])[0]["matchConditions"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn a_namespace_is_new_where_the_api_server_asks_about_others_but_not_about_it() {
        let rules = RuleSet::default();
        let mut many = RuleSet::default();
        many.configuration.cluster = Some((Mode::Default, ProfileRef::RuntimeDefault));
        let new = |made: &Value, names: &[&str]| {
            let scope = Scope {
                rules: &rules,
                annotated: &names.iter().map(|name| (*name).to_owned()).collect(),
                exempt: &["kube-system"],
            };
            not_asked_about(made, scope)
        };
        let before = mutating(&rules, &["a".to_owned(), "b-c".to_owned()]);
        assert_eq!(new(&before, &["a", "b", "b-c", "kube-system"]), ["b"]);
        assert_eq!(new(&mutating(&rules, &[]), &["a"]), ["a"]);
        // It asks about every pod, or about none.
        for before in [mutating(&many, &[]), json!([]), Value::Null] {
            assert!(new(&before, &["a"]).is_empty());
        }
    }

    #[test]
    fn without_a_scope_only_our_own_kinds_are_checked_and_nothing_waits_for_that() {
        let address = Address::Url("https://10.0.0.1:8443/".to_owned());
        assert_eq!(webhooks(Part::Mutating, &address, "CA", None), json!([]));
        let made = webhooks(Part::Validating, &address, "CA", None);
        assert_eq!(made.as_array().unwrap().len(), 1);
        assert_eq!(made[0]["failurePolicy"], "Ignore");
        assert_eq!(
            made[0]["clientConfig"]["url"],
            "https://10.0.0.1:8443/kinds/validate"
        );
    }

    #[test]
    fn the_certificate_is_for_the_host_that_the_api_server_connects_to() {
        for (url, host) in [
            ("https://10.0.0.1:8443", "10.0.0.1"),
            ("https://hooks.example", "hooks.example"),
            ("https://[::1]:8443/", "::1"),
        ] {
            assert_eq!(Address::Url(url.to_owned()).host(), host);
        }
        let service = Address::Service("security".to_owned());
        assert_eq!(service.host(), "portcullis-webhook.security.svc");
    }
}
