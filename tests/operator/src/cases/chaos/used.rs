//! The files that pods use, looked at all the time, as an engine would that restarts their
//! containers.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long a look is from the next.
const INTERVAL: Duration = Duration::from_millis(3);

#[derive(Debug, Default)]
struct Shared {
    /// By pod.
    files: Mutex<BTreeMap<String, PathBuf>>,
    /// The first pod that could not have been restarted, and why.
    lacking: Mutex<Option<String>>,
    looks: AtomicU64,
    is_over: AtomicBool,
}

/// Looks at them until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Used {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Used {
    pub(super) fn watch() -> Used {
        let shared = Arc::new(Shared::default());
        let looked_at = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !looked_at.is_over.load(Ordering::Relaxed) {
                looked_at.look();
                thread::sleep(INTERVAL);
            }
        });
        Used {
            shared,
            thread: Some(thread),
        }
    }

    /// A pod has started, with this file.
    pub(super) fn add(&self, pod: &str, file: PathBuf) {
        lock(&self.shared.files).insert(pod.to_owned(), file);
    }

    /// A pod ends.
    pub(super) fn remove(&self, pod: &str) {
        lock(&self.shared.files).remove(pod);
    }

    /// The first pod that could not have been restarted so far, and why.
    pub(super) fn lacking(&self) -> Option<String> {
        lock(&self.shared.lacking).clone()
    }

    /// How often a file was read.
    pub(super) fn looks(&self) -> u64 {
        self.shared.looks.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn look(&self) {
        // Held meanwhile, so that no pod ends in between.
        let files = lock(&self.files);
        for (pod, file) in files.iter() {
            self.looks.fetch_add(1, Ordering::Relaxed);
            let problem = match fs::read(file) {
                Ok(text) => serde_json::from_slice::<Value>(&text)
                    .err()
                    .map(|error| format!("{error}: {}", String::from_utf8_lossy(&text))),
                Err(error) => Some(error.to_string()),
            };
            if let Some(problem) = problem {
                let said = format!("the pod {pod} lacks {}: {problem}", file.display());
                lock(&self.lacking).get_or_insert(said);
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Used {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
