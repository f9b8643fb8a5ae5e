//! Enums whose variants are fixed words: condition types and reasons, event reasons, metric labels.

/// Declares an enum and the word of each variant. Words are stable: they appear in objects, events
/// and metrics, so renaming a variant must not change its word.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
        }

        impl $name {
            /// Every variant, in the order of their declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The variant's stable word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }

            /// The variant with this word, or `None`.
            pub fn parse(word: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|variant| variant.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> std::fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use crate::kube::metrics::EventResult;

    #[test]
    fn a_word_leads_back_to_its_variant_and_no_other_word_does() {
        for result in EventResult::ALL {
            assert_eq!(EventResult::parse(result.as_str()), Some(*result));
            assert_eq!(result.to_string(), result.as_str());
        }
        assert_eq!(EventResult::parse("RateLimited"), None);
    }
}
