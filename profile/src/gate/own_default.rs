//! The node's own default (`runtime_default`), in place of an engine's that is compiled in: for a
//! container whose field asked for the engine's default and that selects no profile.

use super::{
    PresentFilter,
    evaluate::{Container, Stop, known},
    input::{Need, Resolved},
};
use crate::{
    Filter, compare::subset::Excess, select::engine::DefaultProfile, settings::ReplaceDefault,
};

/// The remark about a container that gets it.
pub(super) const SET: &str = "it is the node's own default, in place of the engine's";

impl<'a> Container<'a, '_> {
    /// The node's own default, where it would take the place of the container's filter.
    pub(super) fn own_default(&self) -> Result<Option<&'a Resolved>, Stop<'a>> {
        let is_asked_for = self.input.says_default
            && self.settings.runtime_default.is_some()
            && self.settings.replace_default != ReplaceDefault::Never
            && self.input.engine.default_profile() == DefaultProfile::BuiltIn;
        if !is_asked_for {
            return Ok(None);
        }
        Ok(self.engine_default()?.as_ref().ok())
    }

    /// Whether a selected filter that would replace the engine's default allows something that the
    /// node's own denies, which the container would have had otherwise.
    pub(super) fn is_looser_than_own_default(
        &self,
        selected: &'a Filter,
    ) -> Result<bool, Stop<'a>> {
        let Some(own) = self.own_default()? else {
            return Ok(false);
        };
        let excess = known(self.gathered.excess_over_own.as_ref(), || {
            Need::ExcessOverOwn(selected, &own.filter)
        })?;
        Ok(excess.is_some())
    }

    /// What the filter that was compared allows too much.
    pub(super) fn found_excess(&self) -> Excess {
        let found = [&self.gathered.excess, &self.gathered.excess_over_own];
        let mut found = found.into_iter().flatten().flatten().flatten();
        found.next().cloned().unwrap_or_default()
    }

    /// Why the node's own default does not replace the engine's.
    pub(super) fn why_own_default_is_looser(&self) -> String {
        match self.input.present {
            PresentFilter::Document(_) => format!(
                "it may only be replaced by a stricter one (replace_default = \"any\" lifts that), and runtime_default {}",
                self.found_excess()
            ),
            _ => "it may only be replaced by a stricter one (replace_default = \"any\" lifts that), and the engine does not show it for comparison".to_owned(),
        }
    }
}
