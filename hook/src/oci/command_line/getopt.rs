//! How crun parses its command line: like glibc's `argp_parse` with `ARGP_IN_ORDER`, once for the
//! global options and once for the verb's. The first operand ends the options.

use super::{
    dialect::{Parsed, Stop},
    options::{Abbreviation, Options, Takes},
};

/// Parses options up to the first operand.
pub(super) fn parse(options: Options, words: &[String]) -> Result<Parsed, Stop> {
    let mut parsed = Parsed::default();
    let mut rest = words;
    while let Some((word, after)) = rest.split_first() {
        if word == "--" {
            rest = after;
            break;
        }
        if !word.starts_with('-') || word == "-" {
            break;
        }
        rest = match word.strip_prefix("--") {
            Some(long) => long_option(options, long, after, &mut parsed)?,
            None => letters(options, &word[1..], after, &mut parsed)?,
        };
    }
    parsed.operands = rest.to_vec();
    Ok(parsed)
}

fn long_option<'a>(
    options: Options,
    long: &str,
    after: &'a [String],
    parsed: &mut Parsed,
) -> Result<&'a [String], Stop> {
    let (name, attached) = match long.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (long, None),
    };
    let option = match options.abbreviated(name) {
        Ok(option) => option,
        Err(Abbreviation::Unknown) if options.lenient && attached.is_some() => return Ok(after),
        Err(Abbreviation::Unknown) => return Err(Stop::unknown(format!("--{name}"), after)),
        Err(Abbreviation::Ambiguous) => return Err(Stop::ambiguous(format!("--{name}"), after)),
    };
    match (option.takes, attached) {
        (Takes::Nothing | Takes::Help, Some(_)) | (Takes::Help, None) => Err(Stop::Speaks),
        (Takes::Nothing | Takes::AttachedValue, None) | (Takes::AttachedValue, Some(_)) => {
            Ok(after)
        }
        (Takes::Value, Some(value)) => {
            parsed.set(option, value);
            Ok(after)
        }
        (Takes::Value, None) => {
            let (value, after) = after.split_first().ok_or(Stop::Speaks)?;
            parsed.set_from_next(option, value, after, options.lenient)?;
            Ok(after)
        }
    }
}

/// Parses letters after one dash. The first one that takes a value takes the rest of the argument.
fn letters<'a>(
    options: Options,
    word: &str,
    after: &'a [String],
    parsed: &mut Parsed,
) -> Result<&'a [String], Stop> {
    for (at, letter) in word.char_indices() {
        let option = options
            .lettered(letter)
            .ok_or_else(|| Stop::unknown(format!("-{letter}"), after))?;
        match option.takes {
            Takes::Help => return Err(Stop::Speaks),
            Takes::Nothing | Takes::AttachedValue => {}
            Takes::Value => {
                let attached = &word[at + letter.len_utf8()..];
                if !attached.is_empty() {
                    parsed.set(option, attached);
                    return Ok(after);
                }
                let (value, after) = after.split_first().ok_or(Stop::Speaks)?;
                parsed.set_from_next(option, value, after, options.lenient)?;
                return Ok(after);
            }
        }
    }
    Ok(after)
}
