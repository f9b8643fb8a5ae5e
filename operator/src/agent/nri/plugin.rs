//! The plugin's side of the connection: what the runtime says of itself, and its calls.

use super::{
    container::{Subject, engine, tells_filters},
    gate::{Abilities, Gate},
};
use crate::crd::nri::{MAX_GAPS, NodeNri, NriState};
use portcullis_nri::{
    Answer, Code, Creation, Events, Plugin, Refusal, Runtime, RuntimeInfo,
    api::{Container, ContainerState, ContainerUpdate, Event, FailurePolicy, PodSandbox},
};
use portcullis_profile::Engine;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

/// How long runtimes wait for an answer by default.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// The plugin, connection after connection.
pub(super) struct Connection {
    gate: Arc<Gate>,
    runtime: Mutex<Option<Configured>>,
    report: watch::Sender<Option<NodeNri>>,
}

/// The runtime of the current connection.
#[derive(Clone)]
struct Configured {
    engine: Engine,
    tells_filters: bool,
    abilities: Arc<Abilities>,
}

impl Connection {
    pub(super) fn new(gate: Arc<Gate>, report: watch::Sender<Option<NodeNri>>) -> Connection {
        Connection {
            gate,
            runtime: Mutex::new(None),
            report,
        }
    }

    fn configured(&self) -> Answer<Configured> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime
            .clone()
            .ok_or_else(|| Refusal::failed_precondition("the plugin is not configured"))
    }
}

impl Configured {
    /// `None` for runtimes whose annotations are not known.
    fn of(info: &RuntimeInfo) -> Option<Configured> {
        let engine = engine(&info.name)?;
        Some(Configured {
            engine,
            tells_filters: tells_filters(engine, &info.version),
            abilities: Arc::new(Abilities {
                runtime: format!("{} {}", info.name, info.version),
                sets_filters: info.capabilities().seccomp_policy == Some(true),
                limit: info.request_timeout.unwrap_or(REQUEST_TIMEOUT) / 2,
            }),
        })
    }

    fn subject(&self, pod: PodSandbox, container: Container) -> Subject {
        Subject::new(self.engine, self.tells_filters, pod, container)
    }

    fn report(&self, info: &RuntimeInfo, verify_hook: Option<String>) -> NodeNri {
        let sets = info.capabilities().seccomp_policy;
        let runtime = &self.abilities.runtime;
        NodeNri {
            state: NriState::Registered.as_str().to_owned(),
            runtime: Some(runtime.clone()),
            version: info
                .nri
                .map(|nri| format!("{}.{}.{}", nri.major, nri.minor, nri.patch)),
            sets_filters: sets,
            tells_filters: self.tells_filters,
            verify_hook,
            problem: (sets != Some(true)).then(|| {
                format!("{runtime} drops seccomp policies of plugins, as far as is known: containers that need one are refused")
            }),
            ..NodeNri::default()
        }
    }
}

/// Which of two answers to one request counts and is reported: the decision or, where that takes too long, the refusal.
#[derive(Default)]
struct Turn(AtomicBool);

impl Turn {
    /// Whether nobody has taken it before.
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}

fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, format!("portcullis: {error}"))
}

impl Plugin for Connection {
    fn events(&self) -> Events {
        [Event::CreateContainer, Event::RemoveContainer]
            .into_iter()
            .collect()
    }

    /// A container whose decision died with the plugin is not created.
    fn failure_policy(&self) -> Option<FailurePolicy> {
        Some(FailurePolicy {
            fail_request: true,
            ..FailurePolicy::default()
        })
    }

    async fn configure(&self, _config: &str, info: &RuntimeInfo) -> Answer<()> {
        let Some(configured) = Configured::of(info) else {
            let problem = format!("the runtime {} is not known", info.name);
            self.report
                .send_replace(Some(NodeNri::disconnected(problem.clone())));
            return Err(Refusal::failed_precondition(problem));
        };
        let report = configured.report(info, self.gate.verify_hook());
        tracing::info!(
            "NRI: registered with {}, NRI {}",
            configured.abilities.runtime,
            report.version.as_deref().unwrap_or("of unknown version")
        );
        if let Some(problem) = &report.problem {
            tracing::warn!("NRI: {problem}");
        }
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(configured);
        self.report.send_replace(Some(report));
        Ok(())
    }

    async fn synchronize(
        &self,
        pods: Vec<PodSandbox>,
        containers: Vec<Container>,
        _runtime: Runtime,
    ) -> Answer<Vec<ContainerUpdate>> {
        let configured = self.configured()?;
        let gate = Arc::clone(&self.gate);
        let gaps = spawn_blocking(move || {
            let pods: BTreeMap<String, PodSandbox> =
                pods.into_iter().map(|pod| (pod.id.clone(), pod)).collect();
            let is_there = |container: &Container| container.state() != ContainerState::Stopped;
            let subjects: Vec<Subject> = containers
                .into_iter()
                .filter(is_there)
                .filter_map(|container| {
                    let pod = pods.get(&container.pod_sandbox_id)?.clone();
                    Some(configured.subject(pod, container))
                })
                .collect();
            gate.gaps(&subjects, configured.abilities.limit)
        });
        let mut gaps = gaps.await.map_err(failed)?;
        self.report.send_modify(|report| {
            let report = report.get_or_insert_default();
            report.gap_count = gaps.len() as u64;
            gaps.truncate(MAX_GAPS);
            report.gaps = gaps;
        });
        Ok(Vec::new())
    }

    async fn create_container(&self, pod: PodSandbox, container: Container) -> Answer<Creation> {
        let configured = self.configured()?;
        let subject = Arc::new(configured.subject(pod, container));
        if let Some(known) = self.gate.conclude_at_once(&subject, &configured.abilities) {
            self.gate.publish(known.decision);
            return known.answer;
        }
        if self.gate.leaves(&subject) {
            return Ok(Creation::default());
        }
        let limit = configured.abilities.limit;
        let turn = Arc::new(Turn::default());
        let mut answering = spawn_blocking({
            let (gate, subject, turn) = (
                Arc::clone(&self.gate),
                Arc::clone(&subject),
                Arc::clone(&turn),
            );
            move || {
                let evaluation = gate.decide(&subject, &configured.abilities);
                turn.take().then(|| gate.conclude(&subject, &evaluation))
            }
        });
        let in_time = match timeout(limit, &mut answering).await {
            Err(_) if turn.take() => None,
            Err(_) => answering.await.map_err(failed)?,
            Ok(answered) => answered.map_err(failed)?,
        };
        let concluded = if let Some(concluded) = in_time {
            concluded
        } else {
            let gate = Arc::clone(&self.gate);
            let refusing = spawn_blocking(move || {
                let evaluation = Gate::too_late(&subject, limit);
                gate.conclude(&subject, &evaluation)
            });
            refusing.await.map_err(failed)?
        };
        self.gate.publish(concluded.decision);
        concluded.answer
    }

    async fn remove_container(&self, _pod: PodSandbox, container: Container) -> Answer<()> {
        if let Err(error) = self.gate.ledger.forget(&container.id) {
            tracing::debug!("NRI: the ledger of decisions: {error}");
        }
        Ok(())
    }
}
