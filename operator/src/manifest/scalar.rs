//! What a plain scalar means to kubectl, which reads YAML with go-yaml's second version: YAML 1.1,
//! with some differences. Each comment says what differs from YAML 1.2.

use serde_json::{Number, Value};

/// A standard YAML tag (`tag:yaml.org,2002:`) that a scalar may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Str,
    Int,
    Float,
    Bool,
    Null,
}

impl Tag {
    pub(super) fn named(suffix: &str) -> Option<Tag> {
        Some(match suffix {
            "str" => Tag::Str,
            "int" => Tag::Int,
            "float" => Tag::Float,
            "bool" => Tag::Bool,
            "null" => Tag::Null,
            _ => return None,
        })
    }
}

/// The type of a scalar, before it becomes JSON.
enum Resolved {
    Null,
    Bool(bool),
    Int(i64),
    /// Above the range of `i64`.
    Large(u64),
    Float(f64),
    Text,
}

/// The value of a plain or tagged scalar.
///
/// # Errors
/// The problem: it does not match its tag, or can't be expressed in JSON.
pub(super) fn resolve(text: &str, tag: Option<Tag>) -> Result<Value, String> {
    let resolved = match tag {
        Some(Tag::Str) => Resolved::Text,
        _ => plain(text),
    };
    let fits = match (tag, &resolved) {
        (None | Some(Tag::Str), _)
        | (Some(Tag::Null), Resolved::Null)
        | (Some(Tag::Bool), Resolved::Bool(_))
        | (Some(Tag::Int), Resolved::Int(_) | Resolved::Large(_))
        | (Some(Tag::Float), Resolved::Int(_) | Resolved::Float(_)) => true,
        (Some(_), _) => false,
    };
    if !fits {
        return Err("this value does not match its tag".to_owned());
    }
    match resolved {
        Resolved::Null => Ok(Value::Null),
        Resolved::Bool(value) => Ok(Value::Bool(value)),
        Resolved::Int(value) => Ok(Value::from(value)),
        Resolved::Large(value) => Ok(Value::from(value)),
        Resolved::Float(value) => {
            number(value).ok_or_else(|| "this number is too large, or not a number".to_owned())
        }
        Resolved::Text => Ok(Value::String(text.to_owned())),
    }
}

/// A float as Go would write it to JSON and the API server would read it: a float without a
/// fraction becomes an integer. `None` if JSON can't express it.
pub(super) fn number(value: f64) -> Option<Value> {
    // Both languages write the shortest digits that round-trip, then zeros.
    let whole = value.to_string().parse::<i64>();
    whole
        .map(Value::from)
        .ok()
        .or_else(|| Number::from_f64(value).map(Value::Number))
}

fn plain(text: &str) -> Resolved {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        // In YAML 1.2, only the forms of true and false are booleans.
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Resolved::Bool(true);
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Resolved::Bool(false);
        }
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Resolved::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => float(text).map_or(Resolved::Text, Resolved::Float),
        b'+' | b'-' | b'0'..=b'9' => {
            let digits = text.replace('_', "");
            if let Some(whole) = whole(&digits) {
                return i64::try_from(whole).map_or_else(
                    |_| u64::try_from(whole).map_or(Resolved::Text, Resolved::Large),
                    Resolved::Int,
                );
            }
            float(&digits).map_or(Resolved::Text, Resolved::Float)
        }
        _ => Resolved::Text,
    }
}

/// An integer as Go's `ParseInt` and `ParseUint` parse it with base 0: a leading `0` means octal,
/// as in `0777`, in addition to `0o`, `0x` and `0b`. go-yaml has already removed underscores.
fn whole(text: &str) -> Option<i128> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if let Some(binary) = text.strip_prefix("0b")
        && binary.starts_with(['+', '-'])
    {
        // An oddity of go-yaml's.
        return i64::from_str_radix(binary, 2).map(i128::from).ok();
    }
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` would take another sign.
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = sign * i128::from(u64::from_str_radix(digits, base).ok()?);
    // Go accepts a sign only in the range of `i64`.
    let is_signed = text.starts_with(['+', '-']);
    (!is_signed || i64::try_from(value).is_ok()).then_some(value)
}

/// A number with a fraction or an exponent. One that is too large is a string.
fn float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    (is_float(text) && value.is_finite()).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => !fraction.is_empty() && digits(fraction),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    mantissa
        && exponent.is_none_or(|exponent| {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !unsigned.is_empty() && digits(unsigned)
        })
}
