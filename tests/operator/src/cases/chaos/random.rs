//! What happens, and how often.

/// How many profiles there are at most.
pub(super) const NAMES: usize = super::truth::CALLS.len();

/// What may happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// A profile is created or edited.
    Edit,
    /// The same, and it is not valid.
    Break,
    Disable,
    Delete,
    StartPod,
    EndPod,
    Kill(&'static str),
    /// What does not run is started again.
    Start,
    KillApiServer,
    StopOrStartApiServer,
    StealLease,
    DeleteLease,
    ReplaceNode,
    FillOrFreeDisk,
    SpoilFile,
}

/// Each action with its weight.
const WEIGHTS: [(Action, u32); 16] = [
    (Action::Edit, 220),
    (Action::Break, 40),
    (Action::Disable, 30),
    (Action::Delete, 80),
    (Action::StartPod, 220),
    (Action::EndPod, 130),
    (Action::Kill("agent"), 30),
    (Action::Kill("controller"), 25),
    (Action::Start, 110),
    (Action::KillApiServer, 8),
    (Action::StopOrStartApiServer, 8),
    (Action::StealLease, 5),
    (Action::DeleteLease, 8),
    (Action::ReplaceNode, 10),
    (Action::FillOrFreeDisk, 30),
    (Action::SpoilFile, 50),
];

impl Action {
    /// Whether it needs no API server.
    fn is_local(self) -> bool {
        matches!(
            self,
            Action::Kill(_) | Action::Start | Action::FillOrFreeDisk
        )
    }

    /// One of them. Without an API server only what needs none happens, or it comes back.
    pub(super) fn random(random: &mut fastrand::Rng, is_api_up: bool) -> Action {
        let weight = |(action, weight): &(Action, u32)| match action {
            Action::StopOrStartApiServer if !is_api_up => 30,
            action if is_api_up || action.is_local() => *weight,
            _ => 0,
        };
        let all: u32 = WEIGHTS.iter().map(weight).sum();
        let mut left = random.u32(..all);
        for each in &WEIGHTS {
            match left.checked_sub(weight(each)) {
                Some(rest) => left = rest,
                None => return each.0,
            }
        }
        Action::Edit
    }
}
