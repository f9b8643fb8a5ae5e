//! The known name that a mistyped one probably means.

/// Longer names are not compared: no known name is that long, and the search gets slower with
/// length.
const LONGEST: usize = 64;

/// The candidate with the smallest edit distance from `name`, if that is small enough. Of several,
/// it is the one with the longest common beginning. Case is ignored.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    // A third of the name may be wrong, so that "xy" does not suggest "brk".
    let mut least = name.chars().count().div_ceil(3).min(4);
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        if candidate.len().abs_diff(name.len()) > least {
            continue;
        }
        let lower = candidate.to_ascii_lowercase();
        let distance = strsim::osa_distance(&name, &lower);
        if distance > least {
            continue;
        }
        let likeness = strsim::jaro_winkler(&name, &lower);
        if distance < least || best.is_none_or(|(so_far, _)| likeness > so_far) {
            (least, best) = (distance, Some((likeness, candidate)));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_candidate_is_found_and_a_far_one_is_not() {
        let names = [
            "read",
            "openat",
            "openat2",
            "SCMP_ACT_ALLOW",
            "SCMP_ACT_LOG",
        ];
        for (typed, meant) in [
            ("raed", Some("read")),
            ("opnat", Some("openat")),
            ("openat22", Some("openat2")),
            ("SCMP_ACT_ALOW", Some("SCMP_ACT_ALLOW")),
            ("scmp_act_log", Some("SCMP_ACT_LOG")),
            ("zzzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
        assert_eq!(nearest(&"r".repeat(65), names), None);
    }
}
