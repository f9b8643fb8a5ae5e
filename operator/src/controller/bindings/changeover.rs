//! Which carrier is live, and how one takes over from the other: the new one is live before the old
//! one is taken out, so that no pod is created without its rule.

use super::{
    carrier::{CarrierError, Carriers, Written},
    configurations::Configurations,
};
use crate::{
    admission::{configurations::Scope, rules::RuleSet},
    kube::metrics::admission::Carrier,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// How long both are live: the API server takes about a second until a new one is effective.
const BOTH: Duration = Duration::from_secs(5);

/// The carriers.
pub(super) struct Changeover<'a> {
    pub(super) policies: &'a Carriers,
    pub(super) webhook: &'a Configurations,
    /// The one to take where both are installed.
    prefer: Carrier,
    /// Which one was written last without a failure, and since when.
    live: Option<(Carrier, Instant)>,
    /// Whether the API server has been seen to apply the policies as they were written last.
    pub(super) applied: bool,
    /// What was last said about the other carrier.
    said: Option<Carrier>,
}

/// What became of the rules.
pub(super) struct Outcome {
    pub(super) written: Written,
    pub(super) live: Carrier,
    /// Why a carrier that is installed was not written.
    pub(super) failure: Option<CarrierError>,
    /// When the other carrier can be taken out.
    pub(super) due: Option<Instant>,
}

/// What there is to be applied.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) rules: &'a RuleSet,
    pub(super) annotated: &'a BTreeSet<String>,
    pub(super) exempt: &'a [&'a str],
}

/// The carrier to use, of those without an obstacle.
fn choose(prefer: Carrier, can: impl Fn(Carrier) -> bool) -> Carrier {
    let other = other_than(prefer);
    [prefer, other]
        .into_iter()
        .find(|carrier| can(*carrier))
        .unwrap_or(Carrier::None)
}

fn other_than(carrier: Carrier) -> Carrier {
    match carrier {
        Carrier::Webhook => Carrier::Policies,
        Carrier::Policies | Carrier::None => Carrier::Webhook,
    }
}

/// Whether the other carrier keeps its rules: until the one that is live has been so for long enough.
fn keeps_other(chosen: Carrier, live: Option<(Carrier, Instant)>, now: Instant) -> bool {
    match live {
        Some((live, since)) => live != chosen || now < since + BOTH,
        None => true,
    }
}

impl<'a> Changeover<'a> {
    pub(super) fn new(
        policies: &'a Carriers,
        webhook: &'a Configurations,
        prefer: Carrier,
    ) -> Changeover<'a> {
        Changeover {
            policies,
            webhook,
            prefer,
            live: None,
            applied: false,
            said: None,
        }
    }

    /// Whether it is known what the API server has.
    pub(super) fn is_known(&self) -> bool {
        self.policies.is_known() && self.webhook.is_known()
    }

    /// Writes the rules into a carrier, and takes them out of the other one once that is safe.
    pub(super) async fn write(&mut self, wanted: Wanted<'_>) -> Outcome {
        // Whoever tells the API server the CAs needs a webhook to put them into.
        if self.webhook.awaits_bundle()
            && !self.webhook.are_live()
            && let Err(error) = self.webhook.write(None, None).await
        {
            tracing::warn!("the webhook for our own kinds: {error}");
        }
        let obstacles = (self.policies.obstacle(), self.webhook.obstacle());
        let can = |carrier| match carrier {
            Carrier::Policies => obstacles.0.is_none(),
            Carrier::Webhook => obstacles.1.is_none(),
            Carrier::None => false,
        };
        let chosen = choose(self.prefer, can);
        if chosen == Carrier::None {
            self.live = None;
            let problems = [obstacles.0, obstacles.1].into_iter().flatten();
            let problems: Vec<String> = problems.collect();
            return Outcome {
                written: Written::nothing(problems.join("; ")),
                live: chosen,
                failure: None,
                due: None,
            };
        }
        let mut outcome = Outcome {
            written: Written::default(),
            live: chosen,
            failure: None,
            due: None,
        };
        match self.write_into(chosen, Some(wanted)).await {
            Ok(written) => {
                if self.live.is_none_or(|(live, _)| live != chosen) {
                    self.live = Some((chosen, Instant::now()));
                    tracing::info!("admission's rules are applied by: {chosen}");
                }
                outcome.written = written;
            }
            Err(error) => {
                self.live = None;
                outcome.live = Carrier::None;
                outcome.written = Written::nothing(error.to_string());
                outcome.failure = Some(error);
            }
        }
        let other = other_than(chosen);
        if !can(other) {
            return outcome;
        }
        let has_failed = outcome.failure.is_some();
        let is_proven = self.applied || chosen != Carrier::Policies;
        let keeps = !is_proven || keeps_other(chosen, self.live, Instant::now());
        let into_other = if has_failed || keeps && self.is_live(other) {
            outcome.due = self.live.map(|(_, since)| since + BOTH);
            self.write_into(other, Some(wanted)).await
        } else if keeps {
            outcome.due = self.live.map(|(_, since)| since + BOTH);
            return outcome;
        } else {
            self.write_into(other, None).await
        };
        match into_other {
            Ok(written) if has_failed => {
                outcome.live = other;
                outcome.written = written;
            }
            Ok(written) => outcome.written.overwritten.extend(written.overwritten),
            Err(error) => outcome.failure = outcome.failure.or(Some(error)),
        }
        outcome
    }

    fn is_live(&self, carrier: Carrier) -> bool {
        match carrier {
            Carrier::Policies => self.policies.are_live(),
            Carrier::Webhook => self.webhook.are_live(),
            Carrier::None => false,
        }
    }

    /// Writes rules into a carrier, or takes them out.
    async fn write_into(
        &mut self,
        carrier: Carrier,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Written, CarrierError> {
        if carrier == Carrier::Webhook {
            let could_install = self.could_install(wanted.is_some());
            let scope = wanted.map(|wanted| Scope {
                rules: wanted.rules,
                annotated: wanted.annotated,
                exempt: wanted.exempt,
            });
            return self.webhook.write(scope, could_install).await;
        }
        let Some(wanted) = wanted else {
            return self.policies.write(&RuleSet::default(), &[], false).await;
        };
        self.policies.write(wanted.rules, wanted.exempt, true).await
    }

    /// The carrier that the API server could have besides the webhook, as after its upgrade.
    fn could_install(&mut self, is_live: bool) -> Option<&'static str> {
        let could = is_live && self.policies.are_served() && self.policies.obstacle().is_some();
        let could = could.then_some(Carrier::Policies);
        if could != self.said && could.is_some() {
            tracing::info!(
                "the webhook applies admission's rules; this API server could do so itself, with the admission policies (packaging/admission)"
            );
        }
        self.said = could;
        could.map(Carrier::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_carrier_is_taken_and_the_other_one_where_that_can_not_be() {
        use Carrier::{None, Policies, Webhook};
        assert_eq!(choose(Policies, |_| true), Policies);
        assert_eq!(choose(Webhook, |_| true), Webhook);
        assert_eq!(choose(Policies, |carrier| carrier == Webhook), Webhook);
        assert_eq!(choose(Webhook, |carrier| carrier == Policies), Policies);
        assert_eq!(choose(Policies, |_| false), None);
    }

    #[test]
    fn the_old_carrier_keeps_its_rules_until_the_new_one_is_effective() {
        let since = Instant::now();
        let live = Some((Carrier::Policies, since));
        let soon = since + BOTH / 2;
        assert!(keeps_other(Carrier::Policies, live, soon));
        assert!(!keeps_other(Carrier::Policies, live, since + BOTH));
        assert!(
            keeps_other(Carrier::Webhook, live, since + BOTH),
            "another one is live"
        );
        assert!(
            keeps_other(Carrier::Policies, None, soon),
            "it could not be written"
        );
    }
}
