//! Decides on containers: asks the evaluator, remembers and reports the decision, and makes the answer
//! to the runtime. Everything here may block, unless it says otherwise.

use super::{
    Options, Shared,
    container::Subject,
    hook,
    known::{Known, Question},
    ledger::Ledger,
    settings::{Loaded, SettingsFile},
};
use portcullis_nri::{Answer, Creation, Refusal, api::ContainerAdjustment};
use portcullis_profile::{
    Document,
    document::kernel::KernelVersion,
    filter::reader::Runtime,
    gate::{
        Evaluation, Gathered, Input, PresentFilter, Reason, Recording, Stage, Standing, Verdict,
        decision::{Decision, Outcome, plain},
        evaluate,
    },
    gather::{
        Source,
        crun::{CachedProgram, CrunError},
        decide_with,
        files::Files,
    },
    program::Memo,
    root::ReadError,
    select::reference::{ProfilePath, Reference},
    settings::{Mode, Require, Settings},
    stamp,
};
use std::{
    collections::BTreeSet,
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The plugin's verb in decisions and stamps.
const VERB: &str = "nri";

/// What a gap's event and log line begin with.
const GAP: &str =
    "it was created while the NRI plugin was not connected, and nothing else decided on it";

/// The same, if the plugin has answered with a filter and the runtime did not take it.
const LOST: &str = "the NRI plugin has set its filter, but the runtime did not take it";

/// The same for a container that selects nothing and lacks the node's own default. One that was created
/// before there was any is not in the ledger either.
const OLDER: &str = "it was created without the NRI plugin, or before runtime_default was set";

/// What the connected runtime can do.
#[derive(Clone, Debug)]
pub(super) struct Abilities {
    /// Its name and version, for messages.
    pub(super) runtime: String,
    /// Whether it sets the policies of plugins.
    pub(super) sets_filters: bool,
    /// Within which time it needs the answer.
    pub(super) limit: Duration,
}

/// What comes of a decision.
pub(super) struct Concluded {
    pub(super) answer: Answer<Creation>,
    pub(super) decision: Decision,
}

/// The gate.
pub(super) struct Gate {
    options: Options,
    shared: Shared,
    pub(super) ledger: Ledger,
    settings: SettingsFile,
    known: Known,
}

impl Gate {
    pub(super) fn new(options: Options, shared: Shared, ledger: Ledger) -> Gate {
        let settings = SettingsFile::new(&options.settings, &shared.root);
        Gate {
            options,
            shared,
            ledger,
            settings,
            known: Known::default(),
        }
    }

    /// The verify hook's path on the node, if the node has it.
    pub(super) fn verify_hook(&self) -> Option<String> {
        let path = || self.options.hook.display().to_string();
        hook::is_there(&self.options).then(path)
    }

    /// Whether there is nothing to do for a container: it does not ask to be recorded, and it selects
    /// nothing and needs nothing, or its namespace is exempt. Nothing is read for that but the settings.
    pub(super) fn leaves(&self, subject: &Subject) -> bool {
        !subject.asks_for_recording() && self.needs_no_filter(subject)
    }

    fn needs_no_filter(&self, subject: &Subject) -> bool {
        let settings = self.settings.read();
        let input = input(Stage::Apply, subject, subject.present(None), &settings);
        let gathered = Gathered::default();
        let Ok(evaluation) = evaluate(&input, &gathered) else {
            return false;
        };
        let requires = settings
            .as_ref()
            .as_ref()
            .is_ok_and(|settings| settings.require != Require::None);
        match evaluation.verdict {
            Verdict::Leave(Standing::Exempt) => true,
            Verdict::Leave(Standing::Nothing) => !requires && evaluation.annotation.is_none(),
            _ => false,
        }
    }

    /// Decides on a container that is about to be created. [`Gate::conclude`] has to follow.
    pub(super) fn decide(&self, subject: &Subject, abilities: &Abilities) -> Evaluation {
        let mut evaluation = self.evaluate(Stage::Apply, subject, abilities.limit);
        fit(&mut evaluation, abilities);
        if subject.asks_for_recording() {
            evaluation.notes.push(if hook::is_there(&self.options) {
                "it asks to be recorded, which the node's hook decides on".to_owned()
            } else {
                let hook = self.options.hook.display();
                format!("it asks to be recorded, but the node has no hook {hook}")
            });
        }
        evaluation
    }

    /// The answer, if everything that it depends on is known and has not changed since, and the kernel can tell that
    /// without waiting for a disk; `None` otherwise. Does not block: what is written here is in memory.
    pub(super) fn conclude_at_once(
        &self,
        subject: &Subject,
        abilities: &Abilities,
    ) -> Option<Concluded> {
        if subject.asks_for_recording() {
            return None;
        }
        let settings = self.settings.at_once()?;
        let input = input(Stage::Apply, subject, subject.present(None), &settings);
        let question = Question::at_once(&input, &settings)?;
        let facts = self.known.facts(&question)?;
        let mut evaluation = evaluate(&input, &facts).ok()?;
        let has_hook = hook::is_there_at_once(&self.options)?;
        fit(&mut evaluation, abilities);
        Some(self.conclude_with(subject, &evaluation, has_hook))
    }

    /// The refusal of a container that was not decided on in time.
    pub(super) fn too_late(subject: &Subject, limit: Duration) -> Evaluation {
        Evaluation {
            engine: subject.engine,
            identity: subject.identity.clone(),
            annotation: None,
            reference: None,
            verdict: Verdict::Refuse(Arc::new(Reason::TooLate(limit.as_millis()))),
            mode: Mode::Enforce,
            notes: Vec::new(),
        }
    }

    /// Remembers the decision that counts, and makes the answer of it. [`Gate::publish`] has to follow.
    pub(super) fn conclude(&self, subject: &Subject, evaluation: &Evaluation) -> Concluded {
        self.conclude_with(subject, evaluation, hook::is_there(&self.options))
    }

    fn conclude_with(
        &self,
        subject: &Subject,
        evaluation: &Evaluation,
        has_hook: bool,
    ) -> Concluded {
        self.remember(&subject.id, evaluation);
        Concluded {
            answer: self.answer(subject, evaluation, has_hook),
            decision: Decision::of(evaluation, VERB, Some(&subject.id), now()),
        }
    }

    fn evaluate(&self, stage: Stage, subject: &Subject, limit: Duration) -> Evaluation {
        let settings = self.settings.read();
        let document = subject.document();
        let present = subject.present(document.as_deref());
        let wait = u64::try_from(limit.as_millis() / 2).unwrap_or(u64::MAX);
        let usable = match &*settings {
            Ok(settings) => settings.clone(),
            Err(_) => Settings::default(),
        };
        let usable = Settings {
            wait_ms: if stage == Stage::Apply {
                usable.wait_ms.min(wait)
            } else {
                0
            },
            ..usable
        };
        let source = Profiles(Files {
            settings: &usable,
            runtime: Runtime::Either,
            crun: None,
            executed: None,
            memo: &self.shared.memo,
        });
        let input = input(stage, subject, present, &settings);
        let question = Question::of(&input, &settings);
        let answer = question
            .as_ref()
            .and_then(|question| self.known.facts(question));
        let is_known = answer.is_some();
        let mut gathered = answer.unwrap_or_default();
        let evaluation = decide_with(&input, &source, &mut gathered);
        if let Some(question) = question.filter(|_| !is_known)
            && let Verdict::Set { filter, .. } = &evaluation.verdict
        {
            self.known.remember(question, gathered, filter);
        }
        evaluation
    }

    fn answer(
        &self,
        subject: &Subject,
        evaluation: &Evaluation,
        has_hook: bool,
    ) -> Answer<Creation> {
        if evaluation.refusal().is_some() {
            return Err(Refusal::failed_precondition(evaluation.line()));
        }
        let set = match &evaluation.verdict {
            Verdict::Set { filter, .. } => Some(self.known.policy(filter)),
            Verdict::Leave(_) | Verdict::Refuse(_) => None,
        };
        let is_warned = evaluation.reason().is_some();
        let verifies = set.is_some() || asks(evaluation) && !is_warned;
        let hooks = hook::Builder {
            options: &self.options,
            subject,
            evaluation,
        };
        let hooks = has_hook.then(|| hooks.hooks(verifies, set.is_some()));
        let hooks = hooks.flatten();
        let adjust = hooks.map(|hooks| ContainerAdjustment {
            hooks: Some(hooks),
            ..ContainerAdjustment::default()
        });
        Ok(Creation {
            adjust,
            seccomp_policy: set,
            ..Creation::default()
        })
    }

    /// Remembers a decision, and logs it. Failing at that never fails a container.
    fn remember(&self, id: &str, evaluation: &Evaluation) {
        let is_set = matches!(evaluation.verdict, Verdict::Set { .. });
        if let Err(error) = self.ledger.note(id, is_set) {
            tracing::warn!("NRI: the decision on container {id} can't be remembered: {error}");
        }
        let outcome = evaluation.outcome();
        let folder = &self.shared.decided;
        let _ = stamp::leave(folder, evaluation.engine, id, VERB, outcome.as_str());
        if !matches!(outcome, Outcome::Refused | Outcome::Warned) {
            tracing::info!("NRI: {}: {}", outcome.as_str(), evaluation.line());
        }
    }

    /// Has a decision counted and published. Does not block.
    pub(super) fn publish(&self, decision: Decision) {
        if self.shared.decisions.try_send(decision).is_err() {
            tracing::debug!("NRI: too many decisions at once; one is not counted");
        }
    }

    /// The containers among these that run without the filter that they select, because nothing decided
    /// on them or the runtime did not take the answer, as `NAMESPACE/POD/CONTAINER`. Each is reported.
    pub(super) fn gaps(&self, running: &[Subject], limit: Duration) -> Vec<String> {
        let ids: BTreeSet<&str> = running.iter().map(|subject| subject.id.as_str()).collect();
        let stamps = stamp::read(&self.shared.decided).unwrap_or_default();
        let stamped: BTreeSet<String> = stamps.into_iter().map(|stamp| stamp.id).collect();
        let mut gaps = Vec::new();
        for subject in running {
            // The answer may not have reached the runtime.
            let may_be_lost = subject.has_none() || subject.says_default;
            let is_lost = may_be_lost && self.ledger.has_set(&subject.id);
            let is_decided = self.ledger.knows(&subject.id) || stamped.contains(&subject.id);
            if self.needs_no_filter(subject) || is_decided && !is_lost {
                continue;
            }
            let evaluation = self.evaluate(Stage::Verify, subject, limit);
            if evaluation.reason().is_none() {
                continue;
            }
            let mut decision = Decision::of(&evaluation, VERB, Some(&subject.id), now());
            decision.outcome = Outcome::Warned;
            decision.code = 0;
            let why = match (is_lost, &evaluation.reference) {
                (true, _) => LOST,
                (false, None) if subject.says_default => OLDER,
                (false, _) => GAP,
            };
            decision.message = plain(&format!("{why}: {}", decision.message));
            self.publish(decision);
            let part = |value: &Option<String>| plain(value.as_deref().unwrap_or("-"));
            let identity = &subject.identity;
            let gap = format!(
                "{}/{}/{}",
                part(&identity.namespace),
                part(&identity.pod),
                part(&identity.container)
            );
            // Events are limited, and so is the report: the log has all of them.
            tracing::warn!("NRI: {gap} runs without its filter: {why}");
            gaps.push(gap);
        }
        if let Err(error) = self.ledger.keep_only(&ids) {
            tracing::warn!("NRI: the ledger of decisions: {error}");
        }
        gaps
    }
}

/// Fits a decision to what the runtime can do.
fn fit(evaluation: &mut Evaluation, abilities: &Abilities) {
    if let Verdict::Set { filter, .. } = &evaluation.verdict {
        if !abilities.sets_filters {
            let reason = Reason::DroppedByRuntime(abilities.runtime.clone());
            evaluation.verdict = Verdict::Refuse(Arc::new(reason));
        } else if let Some(errno) = filter.default_errno_ret {
            evaluation.notes.push(format!(
                "NRI drops its default errno {errno}: calls that it does not name fail with 1 (EPERM)"
            ));
        }
    }
}

fn input<'a>(
    stage: Stage,
    subject: &'a Subject,
    present: PresentFilter<'a>,
    settings: &'a Loaded,
) -> Input<'a> {
    Input {
        stage,
        engine: subject.engine,
        identity: &subject.identity,
        annotations: &subject.annotations,
        settings: settings.as_ref().as_ref(),
        present,
        says_default: subject.says_default,
        bounding: None,
        kernel: KernelVersion::running_or_oldest(),
        recording: recording(subject, settings),
        set_by_nri: stage == Stage::Verify,
    }
}

/// The plugin never logs denials: whether a container will really be recorded, it can't know.
fn recording(subject: &Subject, settings: &Loaded) -> Recording {
    let settings = settings.as_ref().as_ref();
    let logs = settings.is_ok_and(|settings| settings.record.log_denials);
    if logs && subject.asks_for_recording() {
        Recording::Kept("the NRI plugin does not log them".to_owned())
    } else {
        Recording::Enforced
    }
}

/// Whether a container selects a filter.
fn asks(evaluation: &Evaluation) -> bool {
    let reference = evaluation.reference.as_deref();
    let reference = reference.and_then(|text| text.parse::<Reference>().ok());
    matches!(
        reference,
        Some(Reference::Localhost(_) | Reference::RuntimeDefault)
    )
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The synced files, without those that can't be resolved here: runtimes do not tell plugins which
/// capabilities a container has.
struct Profiles<'a>(Files<'a>);

fn independent(text: Vec<u8>) -> Result<Vec<u8>, String> {
    match Document::parse(&text) {
        Ok(document) if document.depends_on_capabilities() => {
            Err("it depends on the container's capabilities, which NRI does not tell".to_owned())
        }
        // One that is not valid is refused where it is resolved.
        _ => Ok(text),
    }
}

impl Source for Profiles<'_> {
    fn profile(&self, path: &ProfilePath) -> Result<Vec<u8>, ReadError> {
        independent(self.0.profile(path)?).map_err(|why| ReadError::Io {
            source: io::Error::other(why),
        })
    }

    fn engine_default(&self, input: &Input<'_>) -> Result<(PathBuf, Vec<u8>), Reason> {
        let (path, text) = self.0.engine_default(input)?;
        match independent(text) {
            Ok(text) => Ok((path, text)),
            Err(reason) => Err(Reason::DefaultUnusable {
                path: path.display().to_string(),
                reason,
            }),
        }
    }

    fn runtime(&self) -> Runtime {
        self.0.runtime()
    }

    fn cached_program(&self) -> Result<Option<CachedProgram>, CrunError> {
        self.0.cached_program()
    }

    fn memo(&self) -> &Memo {
        self.0.memo()
    }
}

#[cfg(test)]
mod tests;
