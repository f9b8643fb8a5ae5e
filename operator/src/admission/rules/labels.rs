//! Selectors of labels, as the policies and the controller evaluate them.

use super::Unsuitable;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::collections::{BTreeMap, BTreeSet};

/// A requirement on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub(super) key: String,
    pub(super) needs: Needs,
}

/// What it says about the label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Exists,
    DoesNotExist,
}

impl Requirement {
    /// The requirements of a selector.
    ///
    /// # Errors
    /// [`Unsuitable`], if a key, an operator or a value is none: the API server does not check
    /// selectors of custom resources.
    pub fn of(selector: &LabelSelector) -> Result<Vec<Requirement>, Unsuitable> {
        let labels = selector.match_labels.iter().flatten();
        let labels = labels.map(|(key, value)| {
            let values = BTreeSet::from([label_value(value)?]);
            Ok(Requirement {
                key: label_key(key)?,
                needs: Needs::In(values),
            })
        });
        let expressions = selector.match_expressions.iter().flatten();
        let expressions = expressions.map(|expression| {
            let values = expression.values.iter().flatten();
            let values = values.map(|value| label_value(value));
            let values = values.collect::<Result<BTreeSet<String>, Unsuitable>>()?;
            let needs = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Needs::In(values),
                ("NotIn", false) => Needs::NotIn(values),
                ("Exists", true) => Needs::Exists,
                ("DoesNotExist", true) => Needs::DoesNotExist,
                (operator, _) => {
                    let wanted = "an operator of a label selector that fits its values";
                    return Err(Unsuitable::new(operator, wanted));
                }
            };
            let key = label_key(&expression.key)?;
            Ok(Requirement { key, needs })
        });
        labels.chain(expressions).collect()
    }

    /// Whether labels meet it.
    pub fn is_met(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.needs {
            Needs::In(values) => value.is_some_and(|value| values.contains(value)),
            Needs::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Needs::Exists => value.is_some(),
            Needs::DoesNotExist => value.is_none(),
        }
    }

    /// Whether no labels can meet both.
    pub(super) fn excludes(&self, other: &Requirement) -> bool {
        self.key == other.key
            && match (&self.needs, &other.needs) {
                (Needs::In(wanted), Needs::In(other)) => wanted.is_disjoint(other),
                (Needs::In(wanted), Needs::NotIn(unwanted))
                | (Needs::NotIn(unwanted), Needs::In(wanted)) => wanted.is_subset(unwanted),
                (Needs::DoesNotExist, Needs::In(_) | Needs::Exists)
                | (Needs::In(_) | Needs::Exists, Needs::DoesNotExist) => true,
                _ => false,
            }
    }

    /// As the policy reads it: `operator=key=value,value`.
    pub(super) fn text(&self) -> String {
        let (operator, values) = match &self.needs {
            Needs::In(values) => ('+', Some(values)),
            Needs::NotIn(values) => ('-', Some(values)),
            Needs::Exists => ('?', None),
            Needs::DoesNotExist => ('!', None),
        };
        let values: Vec<&str> = values.into_iter().flatten().map(String::as_str).collect();
        format!("{operator}={}={}", self.key, values.join(","))
    }
}

fn is_label_part(text: &str, more: &[u8]) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') || more.contains(&byte)
    })
}

fn label_key(key: &str) -> Result<String, Unsuitable> {
    if !key.is_empty() && key.len() <= 317 && is_label_part(key, b"/") {
        return Ok(key.to_owned());
    }
    Err(Unsuitable::new(key, "the key of a label"))
}

fn label_value(value: &str) -> Result<String, Unsuitable> {
    if value.len() <= 63 && is_label_part(value, b"") {
        return Ok(value.to_owned());
    }
    Err(Unsuitable::new(value, "the value of a label"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_meet_requirements_as_in_kubernetes() {
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let meets = |value| {
            let requirements = Requirement::of(&serde_json::from_value(value).unwrap()).unwrap();
            requirements
                .iter()
                .all(|requirement| requirement.is_met(&labels))
        };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        assert!(meets(json!({})) && meets(json!({"matchLabels": {"app": "web"}})));
        assert!(meets(expression("app", "Exists", &[])) && meets(expression("x", "NotIn", &["y"])));
        assert!(
            !meets(expression("app", "NotIn", &["web"])) && !meets(expression("x", "In", &["y"]))
        );
        assert!(!meets(expression("app", "DoesNotExist", &[])));
    }
}
