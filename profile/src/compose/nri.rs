//! A filter as it reaches `config.json` by way of NRI, which drops its default errno.

use crate::Filter;

/// The filter that is left where NRI sets this one; `None` if that is the same. Calls that no rule
/// names then fail with the runtime's own default errno (EPERM).
#[must_use]
pub fn as_nri_sets_it(filter: &Filter) -> Option<Filter> {
    filter.default_errno_ret?;
    Some(Filter {
        default_errno_ret: None,
        ..filter.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Action;

    #[test]
    fn only_a_default_errno_is_lost() {
        let plain = Filter::new(Action::Errno);
        assert_eq!(as_nri_sets_it(&plain), None);
        let own = Filter {
            default_errno_ret: Some(38),
            ..plain.clone()
        };
        assert_eq!(as_nri_sets_it(&own), Some(plain));
    }
}
