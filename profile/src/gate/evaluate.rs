//! The evaluator: decides on a container from its input and the facts gathered so far.
//!
//! The code reads as if every fact were known. At the first unknown fact it returns the need for
//! it, and is called again once that is gathered. So needs and decisions can't drift apart.

use super::{
    Evaluation, Reason, Standing, Verdict,
    decision_table::{self, Apply, Present, Replacement, Verify, Wanted},
    evaluation::Notes,
    input::{Fact, Gathered, Input, Need, PresentFilter, Recording, Resolved, Stage},
    own_default,
};
use crate::{
    Difference, Filter,
    compose::{
        nri::as_nri_sets_it,
        relax::{allowing_all, relax},
    },
    select::{
        Selection, SelectionError, annotations::DENIALS_LOGGED_ANNOTATION, reference::Reference,
        select,
    },
    settings::{Require, Settings},
};
use std::{borrow::Cow, sync::Arc};

/// Decides on one container, or says what has to be gathered first.
///
/// # Errors
/// The next fact that has to be gathered. Each is asked for at most once.
pub fn evaluate<'a>(input: &'a Input<'a>, gathered: &'a Gathered) -> Result<Evaluation, Need<'a>> {
    let fallback = Settings::default();
    let settings = input.settings.unwrap_or(&fallback);
    let mut evaluation = Evaluation {
        engine: input.engine,
        identity: input.identity.clone(),
        annotation: None,
        reference: None,
        verdict: Verdict::Leave(Standing::Nothing),
        mode: settings.mode,
        notes: Notes::new(),
    };
    let container = Container {
        input,
        gathered,
        settings,
    };
    evaluation.verdict = match container.verdict(&mut evaluation) {
        Ok(verdict) => verdict,
        Err(Stop::Refuse(reason)) => Verdict::Refuse(reason),
        Err(Stop::Need(need)) => return Err(need),
    };
    Ok(evaluation)
}

/// Why the evaluation stops.
pub(super) enum Stop<'a> {
    Need(Need<'a>),
    Refuse(Arc<Reason>),
}

impl From<Reason> for Stop<'_> {
    fn from(reason: Reason) -> Self {
        Stop::Refuse(Arc::new(reason))
    }
}

/// The fact; or the need for it; or the refusal that it amounts to.
pub(super) fn known<'a, T>(
    fact: Option<&'a Fact<T>>,
    need: impl FnOnce() -> Need<'a>,
) -> Result<&'a T, Stop<'a>> {
    match fact {
        None => Err(Stop::Need(need())),
        Some(Err(reason)) => Err(Stop::Refuse(Arc::clone(reason))),
        Some(Ok(value)) => Ok(value),
    }
}

/// One container under one set of settings.
pub(super) struct Container<'a, 's> {
    pub(super) input: &'a Input<'a>,
    pub(super) gathered: &'a Gathered,
    pub(super) settings: &'s Settings,
}

impl<'a> Container<'a, '_> {
    fn verdict(&self, evaluation: &mut Evaluation) -> Result<Verdict, Stop<'a>> {
        if let Recording::Unrecorded(why) = &self.input.recording {
            evaluation.annotation = Some(DENIALS_LOGGED_ANNOTATION.to_owned());
            return Err(Reason::Unrecorded(why.clone()).into());
        }
        let selection = match select(self.input.identity, self.input.annotations, self.settings) {
            Ok(Selection::Sandbox) => return Ok(Verdict::Leave(Standing::Sandbox)),
            Ok(Selection::Exempt) => return Ok(Verdict::Leave(Standing::Exempt)),
            Ok(selection) => selection,
            Err(error) => {
                evaluation.annotation = Some(error.annotation().to_owned());
                evaluation.reference = error.value().map(str::to_owned);
                return Err(refused_selection(error).into());
            }
        };
        let reference = match selection {
            Selection::Selected {
                annotation,
                reference,
            } => {
                evaluation.reference = self.input.annotations.get(&annotation).cloned();
                evaluation.annotation = Some(annotation);
                Some(reference)
            }
            _ => None,
        };
        let asks = !matches!(reference, None | Some(Reference::Unconfined));
        if let Err(error) = self.input.settings
            && asks
        {
            return Err(Reason::Settings(error.to_string()).into());
        }
        let verdict = match self.input.stage {
            Stage::Apply => self.apply(reference, &mut evaluation.notes)?,
            Stage::Verify => self.verify(reference, &mut evaluation.notes)?,
            Stage::Restore if asks || self.settings.require == Require::AnyFilter => {
                return Err(Reason::Restored.into());
            }
            Stage::Restore => return Ok(Verdict::Leave(Standing::Nothing)),
        };
        let verdict = self.with_denials_logged(verdict, &mut evaluation.notes)?;
        let asks = asks || matches!(verdict, Verdict::Leave(Standing::Selected));
        self.look_at_effect(&verdict, asks, &mut evaluation.notes)?;
        self.look_at_what_is_loaded()?;
        Ok(verdict)
    }

    /// The "apply" column of the table.
    fn apply(&self, reference: Option<Reference>, notes: &mut Notes) -> Result<Verdict, Stop<'a>> {
        let (wanted, selected) = self.wanted(reference)?;
        let present = self.present(wanted, selected)?;
        let set = |resolved: &Resolved| Verdict::Set {
            filter: Arc::clone(&resolved.filter),
            denials_logged: false,
        };
        let (replace, require) = (self.settings.replace_default, self.settings.require);
        let verdict = match decision_table::apply(present, wanted, replace, require) {
            Apply::Leave if present == Present::Selected => Verdict::Leave(Standing::Selected),
            Apply::Leave => Verdict::Leave(Standing::Nothing),
            Apply::Keep => Verdict::Leave(Standing::Kept),
            Apply::KeepDefault => {
                notes.push(self.why_own_default_is_looser());
                Verdict::Leave(Standing::DefaultKept)
            }
            Apply::Set => match selected {
                Some(selected) => set(selected),
                None => Verdict::Leave(Standing::Nothing),
            },
            Apply::SetDefault => match self.engine_default()? {
                Ok(default) => {
                    notes.extend(default.warnings.iter().cloned());
                    set(default)
                }
                Err(reason) => return Err(Stop::Refuse(Arc::clone(reason))),
            },
            Apply::Conflict => return Err(self.conflict(selected)?.into()),
            Apply::Required => return Err(Reason::Required.into()),
            Apply::Unknown => return Err(Reason::PresentUnknown.into()),
            Apply::DefaultNeverReplaced => return Err(Reason::DefaultNeverReplaced.into()),
            Apply::DefaultNotCompared => return Err(Reason::DefaultNotCompared.into()),
            Apply::LooserThanDefault => {
                return Err(Reason::LooserThanDefault(self.found_excess()).into());
            }
        };
        if wanted == Wanted::OwnDefault && matches!(verdict, Verdict::Set { .. }) {
            notes.push(own_default::SET.to_owned());
        }
        if let Some(selected) = selected {
            notes.extend(selected.warnings.iter().cloned());
        }
        Ok(verdict)
    }

    /// The "verify" column of the table.
    fn verify(&self, reference: Option<Reference>, notes: &mut Notes) -> Result<Verdict, Stop<'a>> {
        let (wanted, selected) = self.wanted(reference)?;
        let present = self.present(wanted, selected)?;
        let (replace, require) = (self.settings.replace_default, self.settings.require);
        let standing = match decision_table::verify(present, wanted, replace, require) {
            Verify::Accept if present == Present::Selected => Standing::Selected,
            Verify::Accept => Standing::Nothing,
            Verify::Keep if wanted == Wanted::RuntimeDefault && self.default_is_there()? => {
                Standing::EngineDefault
            }
            Verify::Keep => Standing::Kept,
            Verify::Missing => return Err(Reason::FilterMissing.into()),
            Verify::Required => return Err(Reason::Required.into()),
            Verify::Unknown => return Err(Reason::PresentUnknown.into()),
            Verify::Conflict => return Err(self.conflict(selected)?.into()),
        };
        if let Some(selected) = selected {
            notes.extend(selected.warnings.iter().cloned());
        }
        Ok(Verdict::Leave(standing))
    }

    /// What the reference asks for, with the selected profile if it names one.
    fn wanted(
        &self,
        reference: Option<Reference>,
    ) -> Result<(Wanted, Option<&'a Resolved>), Stop<'a>> {
        let selects = matches!(reference, Some(Reference::Localhost(_)));
        if !selects && let Some(own) = self.own_default()? {
            return Ok((Wanted::OwnDefault, Some(own)));
        }
        Ok(match reference {
            None => (Wanted::Nothing, None),
            Some(Reference::Unconfined) => (Wanted::Unconfined, None),
            Some(Reference::RuntimeDefault) => (Wanted::RuntimeDefault, None),
            Some(Reference::Localhost(path)) => {
                let profile = known(self.gathered.profile.as_ref(), || Need::Profile(path))?;
                (Wanted::Profile, Some(profile))
            }
        })
    }

    /// How the container's filter relates to the selected one.
    fn present(&self, wanted: Wanted, selected: Option<&'a Resolved>) -> Result<Present, Stop<'a>> {
        let asks = !matches!(wanted, Wanted::Nothing | Wanted::Unconfined);
        let is_read = asks || self.settings.require == Require::AnyFilter;
        let there = match self.input.present {
            PresentFilter::None => return Ok(Present::None),
            PresentFilter::Unknown => return Ok(Present::Unknown),
            // The node's own default is not the engine's, which is not to be had.
            PresentFilter::EngineDefault if wanted == Wanted::OwnDefault => {
                return Ok(Present::EngineDefault(Replacement::NotCompared));
            }
            PresentFilter::EngineDefault => return self.default_by_word(selected),
            // A filter that nothing depends on is not read; the runtime deals with it.
            PresentFilter::Document(_) if !is_read => return Ok(Present::Other),
            PresentFilter::Document(text) => match self.present_filter(text)? {
                None => return Ok(Present::None),
                Some(there) => there,
            },
        };
        let Some(selected) = selected else {
            return Ok(Present::Other);
        };
        let selected = &*selected.filter;
        if *known(self.gathered.equals_selected.as_ref(), || {
            Need::EqualsSelected(there, selected)
        })? {
            return Ok(Present::Selected);
        }
        // Whatever set this filter also marked the container, so it is either recorded or refused.
        if self.input.recording == Recording::Logged
            && self
                .input
                .annotations
                .contains_key(DENIALS_LOGGED_ANNOTATION)
            && let Some(relaxed) = relax(selected)
            && *known(self.gathered.equals_relaxed.as_ref(), || {
                Need::EqualsRelaxed(there, Box::new(relaxed))
            })?
        {
            return Ok(Present::Selected);
        }
        if self.input.set_by_nri
            && let Some(set) = as_nri_sets_it(selected)
            && *known(self.gathered.equals_as_set_by_nri.as_ref(), || {
                Need::EqualsAsSetByNri(there, Box::new(set))
            })?
        {
            return Ok(Present::Selected);
        }
        // If the container can't be changed any more, the origin of its filter matters only to the
        // node's own default.
        let matters = self.input.stage == Stage::Apply || wanted == Wanted::OwnDefault;
        if matters && self.is_default(there)? {
            return self
                .replacement(selected, there)
                .map(Present::EngineDefault);
        }
        Ok(Present::Other)
    }

    /// The container's filter; `None` if the runtime would load none.
    fn present_filter(&self, text: &'a str) -> Result<Option<&'a Filter>, Stop<'a>> {
        known(self.gathered.present.as_ref(), || Need::Present(text)).map(Option::as_ref)
    }

    /// For a container of which the engine says only that it has the engine's default.
    fn default_by_word(&self, selected: Option<&'a Resolved>) -> Result<Present, Stop<'a>> {
        let Some(selected) = selected else {
            return Ok(Present::Other);
        };
        let Ok(default) = self.engine_default()? else {
            return Ok(Present::EngineDefault(Replacement::NotCompared));
        };
        if *known(self.gathered.equals_selected.as_ref(), || {
            Need::EqualsSelected(&default.filter, &selected.filter)
        })? {
            return Ok(Present::Selected);
        }
        self.replacement(&selected.filter, &default.filter)
            .map(Present::EngineDefault)
    }

    /// How the selected filter compares with the engine's default that it would replace.
    fn replacement(
        &self,
        selected: &'a Filter,
        default: &'a Filter,
    ) -> Result<Replacement, Stop<'a>> {
        let excess = known(self.gathered.excess.as_ref(), || {
            Need::Excess(selected, default)
        })?;
        Ok(match excess {
            None if self.is_looser_than_own_default(selected)? => Replacement::Looser,
            None => Replacement::Stricter,
            Some(_) => Replacement::Looser,
        })
    }

    /// Whether the container's filter is the engine's default: because the engine says so, or
    /// because it equals the default profile, if that is available.
    fn is_default(&self, there: &'a Filter) -> Result<bool, Stop<'a>> {
        if self.input.says_default {
            return Ok(true);
        }
        match self.engine_default()? {
            Err(_) => Ok(false),
            Ok(default) => known(self.gathered.equals_default.as_ref(), || {
                Need::EqualsDefault(there, &default.filter)
            })
            .copied(),
        }
    }

    /// The same for verifying `runtime/default`: the filter is kept anyway, so a default profile
    /// that can't be used or compared is no reason to refuse.
    fn default_is_there(&self) -> Result<bool, Stop<'a>> {
        let PresentFilter::Document(text) = self.input.present else {
            return Ok(self.input.says_default);
        };
        let Some(there) = self.present_filter(text)? else {
            return Ok(false);
        };
        match self.is_default(there) {
            Err(Stop::Refuse(_)) => Ok(false),
            other => other,
        }
    }

    pub(super) fn engine_default(&self) -> Result<&'a Result<Resolved, Arc<Reason>>, Stop<'a>> {
        known(self.gathered.engine_default.as_ref(), || {
            Need::EngineDefault
        })
    }

    fn conflict(&self, selected: Option<&Resolved>) -> Result<Reason, Stop<'a>> {
        let PresentFilter::Document(text) = self.input.present else {
            return Ok(Reason::FilterMissing);
        };
        Ok(match (self.present_filter(text)?, selected) {
            (Some(there), Some(selected)) => {
                Reason::Conflict(Difference::between(there, &selected.filter))
            }
            _ => Reason::FilterMissing,
        })
    }

    /// Adapts the verdict to a container whose denials are logged. One without a filter gets one
    /// that allows everything, which shows the recorder where the runtime's own set-up ends.
    fn with_denials_logged(
        &self,
        verdict: Verdict,
        notes: &mut Notes,
    ) -> Result<Verdict, Stop<'a>> {
        match (self.input.stage, &self.input.recording) {
            (_, Recording::Kept(why)) => {
                notes.push(format!("its denials stay in force: {why}"));
                return Ok(verdict);
            }
            (Stage::Apply, Recording::Logged) => {}
            (Stage::Verify, Recording::Logged) => return Ok(Verdict::Leave(Standing::Logged)),
            _ => return Ok(verdict),
        }
        let there = match (&verdict, self.input.present) {
            (Verdict::Set { filter, .. }, _) => Some(&**filter),
            (_, PresentFilter::None) => None,
            (_, PresentFilter::Document(text)) => match self.present_filter(text) {
                Ok(there) => there,
                // Nothing depends on this filter; the runtime deals with it.
                Err(Stop::Refuse(reason)) => {
                    notes.push(format!("its denials stay in force: {reason}"));
                    return Ok(verdict);
                }
                Err(need) => return Err(need),
            },
            (_, PresentFilter::EngineDefault | PresentFilter::Unknown) => {
                notes.push("its denials stay in force: the engine does not show its filter".into());
                return Ok(verdict);
            }
        };
        let relaxed = there.map_or_else(|| Some(allowing_all()), relax);
        Ok(match relaxed {
            // It denies nothing.
            None => verdict,
            Some(filter) => Verdict::Set {
                filter: Arc::new(filter),
                denials_logged: true,
            },
        })
    }

    /// Requires that the program of a selected or required filter does what the filter says.
    fn look_at_effect(
        &self,
        verdict: &Verdict,
        asks: bool,
        notes: &mut Notes,
    ) -> Result<(), Stop<'a>> {
        let effect = self.gathered.effect.as_ref();
        let said = match (verdict, self.input.present) {
            (Verdict::Set { filter, .. }, _) => known(effect, || {
                Need::Effect(Box::new(Cow::Owned(Filter::clone(filter))))
            })?,
            (_, PresentFilter::Document(text))
                if asks || self.settings.require == Require::AnyFilter =>
            {
                match self.present_filter(text)? {
                    Some(there) => known(effect, || Need::Effect(Box::new(Cow::Borrowed(there))))?,
                    None => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        notes.extend(said.iter().cloned());
        Ok(())
    }

    /// Requires that the runtime will load what the filter says, whoever set it.
    fn look_at_what_is_loaded(&self) -> Result<(), Stop<'a>> {
        if let (Stage::Verify, PresentFilter::Document(text)) =
            (self.input.stage, self.input.present)
        {
            known(self.gathered.loaded.as_ref(), || Need::Loaded(text))?;
        }
        Ok(())
    }
}

fn refused_selection(error: SelectionError) -> Reason {
    match error {
        SelectionError::RuntimeAnnotation { .. } => Reason::RuntimeAnnotation(error),
        SelectionError::HookOutput { .. } => Reason::HookOutput(error),
        SelectionError::Ambiguous { .. } | SelectionError::Reference { .. } => {
            Reason::Selection(error)
        }
    }
}
