//! The status of a binding.

use super::verdicts::Verdict;
use crate::crd::{SeccompBindingStatus, binding::LiveReason, condition::condition};

/// The status that follows from a verdict.
pub(super) fn status(verdict: &Verdict, pods: u64) -> SeccompBindingStatus {
    let binding = &verdict.binding;
    let before = binding.status.as_ref();
    let before = before.map_or(&[][..], |status| &status.conditions);
    let generation = binding.generation;
    let (reason, message) = verdict.valid.clone();
    let valid = condition(reason, message, generation, before);
    let (reason, mut message) = verdict.live.clone();
    if reason == LiveReason::Live {
        "new pods of the namespace get it".clone_into(&mut message);
        if !verdict.ties.is_empty() {
            message = format!(
                "{message}, unless they also fall under {}, whose name sorts first",
                verdict.ties.join(", ")
            );
        }
    }
    let live = condition(reason, message, generation, before);
    SeccompBindingStatus {
        observed_generation: generation,
        conditions: vec![valid, live],
        ties: verdict.ties.clone(),
        pods,
    }
}
