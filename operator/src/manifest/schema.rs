//! Validates an object against the schema of its definition, as the API server does: unknown fields
//! are refused, null counts as absent if the field is not nullable, and all limits are enforced.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::{Map, Value};

/// The meaning of the CEL rules. The API server evaluates them; this implements the ones that our
/// definitions use.
type Meaning = fn(&Value) -> bool;
const RULES: &[(&str, Meaning)] = &[("size(self.metadata.name) <= 250", |object| {
    let name = object["metadata"]["name"].as_str();
    name.is_none_or(|name| name.chars().count() <= 250)
})];

/// The message about an unknown field.
pub(super) const UNKNOWN: &str = "unknown field";

/// Removes the nulls that the API server treats as absent, and returns what the schema does not
/// allow, each with the path of the field.
pub(super) fn hold(schema: &JSONSchemaProps, object: &mut Value) -> Vec<String> {
    drop_nulls(schema, object);
    let mut problems = Problems::default();
    problems.check(schema, object, "");
    problems.0
}

/// Nulls for fields that are not nullable count as absent.
fn drop_nulls(schema: &JSONSchemaProps, value: &mut Value) {
    match value {
        Value::Object(members) => members.retain(|name, value| {
            let Some(property) = property(schema, name) else {
                return true;
            };
            if value.is_null() {
                return property.nullable == Some(true);
            }
            drop_nulls(property, value);
            true
        }),
        Value::Array(list) => {
            for item in list {
                if let Some(schema) = items(schema) {
                    drop_nulls(schema, item);
                }
            }
        }
        _ => {}
    }
}

fn property<'a>(schema: &'a JSONSchemaProps, name: &str) -> Option<&'a JSONSchemaProps> {
    let properties = schema.properties.as_ref();
    let named = properties.and_then(|properties| properties.get(name));
    named.or(match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(any)) => Some(any),
        _ => None,
    })
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &schema.items {
        Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(schema),
        _ => None,
    }
}

/// The problems, each with its path.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, path: &str, problem: impl AsRef<str>) {
        self.0.push(format!("{path}: {}", problem.as_ref()));
    }

    fn check(&mut self, schema: &JSONSchemaProps, value: &Value, path: &str) {
        if value.is_null() && schema.nullable == Some(true) {
            return;
        }
        let is_integer = value.is_i64();
        let type_ = schema.type_.as_deref().unwrap_or_default();
        let fits = match type_ {
            _ if schema.x_kubernetes_int_or_string == Some(true) => is_integer || value.is_string(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => is_integer,
            "number" => value.is_number(),
            _ => true,
        };
        if !fits {
            let wanted = if type_.is_empty() {
                "integer or string"
            } else {
                type_
            };
            return self.add(
                path,
                format!("must be of type {wanted}, not {}", kind(value)),
            );
        }
        match value {
            Value::Object(members) => self.members(schema, members, path),
            Value::Array(list) => self.list(schema, list, path),
            Value::String(text) => self.length(schema, text, path),
            Value::Number(number) => self.range(schema, number.as_f64(), path),
            _ => {}
        }
        if let Some(values) = &schema.enum_
            && !values.iter().any(|allowed| allowed.0 == *value)
        {
            let all: Vec<_> = values.iter().map(|allowed| allowed.0.to_string()).collect();
            self.add(path, format!("{value} is not one of {}", all.join(", ")));
        }
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            self.rule(rule, value, path);
        }
    }

    fn members(&mut self, schema: &JSONSchemaProps, members: &Map<String, Value>, path: &str) {
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        for (name, value) in members {
            match property(schema, name) {
                Some(property) => self.check(property, value, &below(name)),
                // The schema does not contain the fields that every object has.
                None if path.is_empty()
                    && ["apiVersion", "kind", "metadata"].contains(&&**name) => {}
                None => self.add(&below(name), UNKNOWN),
            }
        }
        for name in schema.required.iter().flatten() {
            if !members.contains_key(name) {
                self.add(&below(name), "is required");
            }
        }
    }

    fn list(&mut self, schema: &JSONSchemaProps, list: &[Value], path: &str) {
        if let Some(most) = schema.max_items
            && i64::try_from(list.len()).is_ok_and(|length| length > most)
        {
            self.add(
                path,
                format!("has {} items; at most {most} are allowed", list.len()),
            );
        }
        let Some(items) = items(schema) else {
            return;
        };
        for (index, item) in list.iter().enumerate() {
            self.check(items, item, &format!("{path}[{index}]"));
        }
    }

    fn length(&mut self, schema: &JSONSchemaProps, text: &str, path: &str) {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if schema.min_length.is_some_and(|least| length < least) {
            self.add(path, "is too short");
        }
        if let Some(most) = schema.max_length
            && length > most
        {
            self.add(
                path,
                format!("has {length} characters; at most {most} are allowed"),
            );
        }
    }

    fn range(&mut self, schema: &JSONSchemaProps, number: Option<f64>, path: &str) {
        let Some(number) = number else {
            return;
        };
        if let Some(least) = schema.minimum
            && number < least
        {
            self.add(path, format!("{number} is less than {least}"));
        }
        if let Some(most) = schema.maximum
            && number > most
        {
            self.add(path, format!("{number} is more than {most}"));
        }
    }

    fn rule(&mut self, rule: &ValidationRule, value: &Value, path: &str) {
        let holds = RULES.iter().find(|(text, _)| *text == rule.rule);
        if holds.is_some_and(|(_, holds)| !holds(value)) {
            let path = if path.is_empty() {
                "metadata.name"
            } else {
                path
            };
            let message = rule.message.as_deref();
            self.add(path, message.unwrap_or(&rule.rule));
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_i64() => "an integer",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
