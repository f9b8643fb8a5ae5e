//! How runc parses its command line: with urfave/cli 1.22.1 (runc 1.1) or 1.22.14 and later (runc
//! 1.2 to 1.5), which move options before operands and leave the rest to Go's `flag`; or with
//! version 3 (runc's main branch), which accepts options and operands in any order.

use super::{
    dialect::{Parsed, Stop},
    options::{Options, Takes},
};

/// Go's `flag`: options up to the first operand.
pub(super) fn flags(options: Options, words: &[String]) -> Result<Parsed, Stop> {
    let mut parsed = Parsed::default();
    let mut help = false;
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if !word.starts_with('-') || word == "-" {
            break;
        }
        rest = after;
        if word == "--" {
            break;
        }
        let name = word.strip_prefix("--").unwrap_or(&word[1..]);
        rest = one(options, word, name, after, &mut parsed, &mut help)?;
    }
    if help {
        return Err(Stop::Speaks);
    }
    parsed.operands = rest.to_vec();
    Ok(parsed)
}

/// Parses one option and its value, and returns the rest.
fn one<'a>(
    options: Options,
    word: &str,
    text: &str,
    after: &'a [String],
    parsed: &mut Parsed,
    help: &mut bool,
) -> Result<&'a [String], Stop> {
    let (name, attached) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let Some(option) = options.named(name) else {
        if options.lenient && attached.is_some() && word.starts_with("--") {
            return Ok(after);
        }
        return Err(Stop::unknown(
            word.split('=').next().unwrap_or(word).to_owned(),
            after,
        ));
    };
    match (option.takes, attached) {
        (Takes::Help, None) => *help = true,
        // `--help=false` does not print help.
        (Takes::Help, Some(_)) => return Err(Stop::unknown(word.to_owned(), after)),
        (Takes::Nothing | Takes::AttachedValue, _) => {}
        (Takes::Value, Some(value)) => parsed.set(option, value),
        (Takes::Value, None) => {
            let (value, after) = after.split_first().ok_or(Stop::Speaks)?;
            parsed.set_from_next(option, value, after, options.lenient)?;
            return Ok(after);
        }
    }
    Ok(after)
}

/// How urfave/cli 1.22.1 reorders the arguments of a command.
pub(super) fn reordered_1_22_1(words: &[String]) -> Vec<String> {
    let (mut flags, mut others) = (Vec::new(), Vec::new());
    let mut value_follows = false;
    for (at, word) in words.iter().enumerate() {
        if word == "--" {
            others.extend_from_slice(&words[at..]);
            break;
        }
        let dashed = word.starts_with('-');
        if value_follows && !dashed {
            value_follows = false;
            flags.push(word.clone());
        } else if dashed && word != "-" {
            flags.push(word.clone());
            value_follows = !word.contains('=');
        } else {
            value_follows = false;
            others.push(word.clone());
        }
    }
    flags.extend(others);
    flags
}

/// How urfave/cli 1.22.14 and later reorder them.
pub(super) fn reordered_1_22_14(options: Options, words: &[String]) -> Vec<String> {
    let is_option = |word: &str| {
        let text = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        // A third dash is stripped too.
        let text = text.map(|text| {
            let third = word.starts_with("--").then(|| text.strip_prefix('-'));
            third.flatten().unwrap_or(text)
        });
        !matches!(word, "-" | "--")
            && text
                .and_then(|text| text.split('=').next())
                .is_some_and(|name| options.named(name).is_some())
    };
    let (mut flags, mut others) = (Vec::new(), Vec::new());
    let mut value_follows = false;
    for (at, word) in words.iter().enumerate() {
        if value_follows && !is_option(word) {
            value_follows = false;
            flags.push(word.clone());
        } else if word == "--" {
            others.insert(0, word.clone());
            others.extend_from_slice(&words[at + 1..]);
            break;
        } else if is_option(word) {
            flags.push(word.clone());
            value_follows = !word.contains('=');
        } else {
            others.push(word.clone());
        }
    }
    flags.extend(others);
    flags
}

/// urfave/cli 3: options and operands in any order. An operand that `is_verb` gets the rest.
pub(super) fn mixed(
    options: Options,
    words: &[String],
    is_verb: fn(&str) -> bool,
) -> Result<Parsed, Stop> {
    let mut parsed = Parsed::default();
    let mut help = false;
    let mut rest = words;
    while let Some((whole, after)) = rest.split_first() {
        let word = whole.trim();
        if word.is_empty() {
            parsed.operands.push(whole.clone());
            rest = after;
            continue;
        }
        if word == "--" {
            parsed.operands.extend_from_slice(after);
            break;
        }
        let Some(text) = word.strip_prefix('-') else {
            if is_verb(word) {
                parsed.operands.extend_from_slice(rest);
                break;
            }
            parsed.operands.push(word.to_owned());
            rest = after;
            continue;
        };
        if text.is_empty() {
            parsed.operands.push(word.to_owned());
            break;
        }
        let name = match text.strip_prefix('-') {
            Some(name) => name,
            // The library looks at only one byte.
            None if !char::from(text.as_bytes()[0]).is_alphabetic() => {
                parsed.operands.extend_from_slice(rest);
                break;
            }
            None => text,
        };
        rest = one(options, word, name, after, &mut parsed, &mut help)?;
    }
    if help {
        return Err(Stop::Speaks);
    }
    Ok(parsed)
}
