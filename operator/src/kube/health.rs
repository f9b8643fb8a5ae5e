//! Whether the program is alive and ready.
//!
//! Each long-running task has a heartbeat of its own, so that a hanging task is noticed even if the
//! others continue.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often an idle task beats.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a task may go without a beat before the program counts as dead.
const MAX_SILENCE: Duration = Duration::from_secs(90);

/// The program's health. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ready: bool,
    /// Why it is not, if that is known.
    obstacle: Option<String>,
    beats: BTreeMap<&'static str, Instant>,
}

/// A task that has not beaten for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent {
    /// The task.
    pub task: &'static str,
    /// Since its last beat.
    pub silence: Duration,
}

impl Health {
    fn with<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        use_state(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Marks the program as ready.
    pub fn set_ready(&self) {
        self.with(|state| {
            state.ready = true;
            state.obstacle = None;
        });
    }

    /// Marks the program as not ready, and says why.
    pub fn set_unready(&self, why: &str) {
        self.with(|state| {
            state.ready = false;
            state.obstacle = Some(why.to_owned());
        });
    }

    /// Why the program is not ready, if that is known.
    pub fn obstacle(&self) -> Option<String> {
        self.with(|state| state.obstacle.clone())
    }

    /// Whether the program is ready.
    pub fn is_ready(&self) -> bool {
        self.with(|state| state.ready)
    }

    /// Expects beats from a task until the returned heartbeat is dropped.
    pub fn heartbeat(&self, task: &'static str) -> Heartbeat {
        let heartbeat = Heartbeat {
            health: self.clone(),
            task,
        };
        heartbeat.beat();
        heartbeat
    }

    /// The task that has been silent the longest, if it has been too long.
    pub fn silent(&self, now: Instant) -> Option<Silent> {
        let beats = self.with(|state| state.beats.clone());
        let (task, beat) = beats.into_iter().min_by_key(|(_, beat)| *beat)?;
        let silence = now.saturating_duration_since(beat);
        (silence > MAX_SILENCE).then_some(Silent { task, silence })
    }
}

/// The heartbeat of one task.
#[derive(Debug)]
pub struct Heartbeat {
    health: Health,
    task: &'static str,
}

impl Heartbeat {
    /// Shows that the task is alive.
    pub fn beat(&self) {
        let now = Instant::now();
        self.health.with(|state| state.beats.insert(self.task, now));
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.health.with(|state| state.beats.remove(self.task));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_hangs_shows_although_another_beats() {
        let health = Health::default();
        let later = Instant::now() + MAX_SILENCE * 2;
        assert_eq!(health.silent(later), None, "nothing is expected to beat");
        let hanging = health.heartbeat("files");
        let _other = health.heartbeat("profiles");
        assert_eq!(health.silent(Instant::now()), None);
        health.with(|state| state.beats.insert("profiles", later));
        assert_eq!(
            health.silent(later).map(|silent| silent.task),
            Some("files")
        );
        drop(hanging);
        assert_eq!(health.silent(later), None, "it has ended");
    }
}
