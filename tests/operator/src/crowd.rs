//! Clients that create pods all the time, eight at once, while something else happens. They run on a
//! thread of their own, since a case waits for programs.

use crate::{
    admission::{Admission, pod},
    stage::Stage,
};
use anyhow::{Context, Result, anyhow, ensure};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};
use tokio::task::JoinSet;

/// How many pods are created at once.
const AT_ONCE: usize = 8;

/// Clients that create pods in the namespace `bound`, each of which has to get a profile.
pub(crate) struct Crowd {
    enough: Arc<AtomicBool>,
    created: Arc<AtomicUsize>,
    thread: JoinHandle<Result<()>>,
}

impl Crowd {
    /// Begins; every pod has to get the file `path` by its container's field.
    pub(crate) fn begin(stage: &Stage, path: &'static str) -> Crowd {
        let (enough, created) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let kubeconfig = stage.kubeconfig().to_owned();
        let carrier = stage.carrier;
        let (stop, count) = (Arc::clone(&enough), Arc::clone(&created));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                let mut clients = JoinSet::new();
                for _ in 0..AT_ONCE {
                    let admission = Admission::of(&kubeconfig, carrier).await?;
                    let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
                    clients.spawn(async move {
                        while !stop.load(Ordering::Relaxed) {
                            let made = admission.create("bound", &pod("p")).await;
                            let number = count.fetch_add(1, Ordering::Relaxed);
                            let made = made.with_context(|| format!("pod {number}"))?;
                            let field =
                                &made["spec"]["containers"][0]["securityContext"]["seccompProfile"];
                            ensure!(
                                field["localhostProfile"] == path,
                                "pod {number} misses its rule: {made}"
                            );
                        }
                        Ok(())
                    });
                }
                // The first failure ends all.
                while let Some(ended) = clients.join_next().await {
                    ended??;
                }
                Ok(())
            })
        });
        Crowd {
            enough,
            created,
            thread,
        }
    }

    /// How many pods were created so far.
    pub(crate) fn created(&self) -> usize {
        self.created.load(Ordering::Relaxed)
    }

    /// Whether nothing has failed yet.
    pub(crate) fn is_well(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it: how many pods were created, or what failed.
    pub(crate) fn end(self) -> Result<usize> {
        self.enough.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.unwrap_or_else(|_| Err(anyhow!("it panicked")))?;
        Ok(self.created.load(Ordering::Relaxed))
    }
}
