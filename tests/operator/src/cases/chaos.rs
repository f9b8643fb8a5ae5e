//! Everything happens to a cluster at once, at random: edits, kills, outages, full disks, pods that
//! come and go. A file that a pod uses never goes, and as soon as it is quiet, what is said is true.
//!
//! `CHAOS_SECONDS` says for how long: 60 unless told, 300 where `CI` is `true`.

mod ask;
mod clock;
mod faults;
mod random;
mod truth;
mod used;

use super::cases;
use crate::{
    mount::Mount,
    objects::{annotated_pod, file_name, nodes, pod_with_path, profile},
    stage::{NODE, SHORT_LEASE, Stage},
};
use anyhow::{Context, Result, anyhow};
use ask::{ask, gone};
use clock::Clock;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use random::{Action, NAMES};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    env,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use truth::{CALLS, Profiles, UNKNOWN, name_of};
use used::Used;

cases![in_chaos_no_used_file_goes_and_what_is_said_is_true_once_it_is_quiet];

/// How many actions there are between quiet times.
const ACTIONS: usize = 60;
/// How many pods run at most.
const PODS: usize = 6;
/// The longest pause after an action, in milliseconds.
const PAUSE: u64 = 120;
/// How soon everything that is said is true, on a machine at rest (see [`Clock`]), once nothing
/// happens any more and all runs: the API server answers, and a controller leads.
const QUIET: Duration = Duration::from_secs(10);
/// How long that may take on any machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How many actions a failure shows.
const SHOWN: usize = 40;

/// The environment variable with the duration.
const SECONDS: &str = "CHAOS_SECONDS";

fn duration() -> Result<Duration> {
    let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    let seconds = match env::var(SECONDS) {
        Ok(seconds) => seconds
            .parse()
            .with_context(|| format!("{SECONDS}={seconds}"))?,
        Err(_) if is_ci => 300,
        Err(_) => 60,
    };
    Ok(Duration::from_secs(seconds))
}

async fn in_chaos_no_used_file_goes_and_what_is_said_is_true_once_it_is_quiet(
    stage: &mut Stage,
) -> Result<()> {
    let duration = duration()?;
    stage.lease_seconds = SHORT_LEASE;
    let mut chaos = Chaos::on(stage)?;
    let result = chaos.run(duration).await;
    let counts: Vec<String> = chaos
        .counts
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    eprintln!(
        "chaos: {}; {} looks at used files; at most {:.1} s until all was true (last: {})",
        counts.join(", "),
        chaos.used.looks(),
        chaos.slowest.0.as_secs_f64(),
        chaos.slowest.1,
    );
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(chaos.explain(&error).await),
    }
}

struct Chaos<'a> {
    stage: &'a mut Stage,
    disks: [Mount; 2],
    /// What fills a disk.
    fillers: Vec<PathBuf>,
    is_api_up: bool,
    /// The pods that run, each with the profile that it selects.
    pods: BTreeMap<String, String>,
    used: Used,
    /// Distinguishes rules and pods.
    number: u32,
    counts: BTreeMap<&'static str, u32>,
    last: VecDeque<String>,
    begun: Instant,
    /// The longest time until all was true, and what was not until then.
    slowest: (Duration, String),
}

impl<'a> Chaos<'a> {
    fn on(stage: &'a mut Stage) -> Result<Chaos<'a>> {
        Ok(Chaos {
            disks: [
                Mount::on(&stage.seccomp_root())?,
                Mount::on(&stage.state())?,
            ],
            stage,
            fillers: Vec::new(),
            is_api_up: true,
            pods: BTreeMap::new(),
            used: Used::watch(),
            number: 0,
            counts: BTreeMap::new(),
            last: VecDeque::new(),
            begun: Instant::now(),
            slowest: (Duration::ZERO, String::new()),
        })
    }

    async fn run(&mut self, duration: Duration) -> Result<()> {
        self.quiet().await?;
        while self.begun.elapsed() < duration {
            for _ in 0..ACTIONS {
                let action = Action::random(&mut self.stage.random, self.is_api_up);
                self.act(action)
                    .await
                    .with_context(|| format!("{action:?}"))?;
                sleep(Duration::from_millis(self.stage.random.u64(..PAUSE))).await;
                if let Some(lacking) = self.used.lacking() {
                    return Err(anyhow!(lacking));
                }
            }
            self.quiet().await?;
        }
        Ok(())
    }

    /// Takes note of an action.
    fn did(&mut self, kind: &'static str, what: &str) {
        *self.counts.entry(kind).or_default() += 1;
        if self.last.len() == SHOWN {
            self.last.pop_front();
        }
        let at = self.begun.elapsed().as_secs_f64();
        self.last.push_back(format!("{at:8.3} {kind}: {what}"));
    }

    /// What is known for a failure.
    async fn explain(&self, error: &anyhow::Error) -> anyhow::Error {
        let folder = self.stage.seccomp_root().join("operator");
        let mut state = vec![
            format!("files: {:?}", truth::files(&folder)),
            format!("pods: {:?}", self.pods),
            format!("full disks: {:?}", self.fillers),
        ];
        let all = ListParams::default();
        for api in [self.stage.profiles(), nodes(&self.stage.client)] {
            match api.list(&all).await {
                Ok(objects) => state.extend(objects.into_iter().map(|object| {
                    let meta = &object.metadata;
                    let name = meta.name.as_deref().unwrap_or_default();
                    let generation = meta.generation;
                    let going = meta.deletion_timestamp.is_some();
                    format!("{name} ({generation:?}, going: {going}): {}", object.data)
                })),
                Err(error) => state.push(error.to_string()),
            }
        }
        let last: Vec<&str> = self.last.iter().map(String::as_str).collect();
        anyhow!(
            "{error:#}\nafter {:.3} s; {}={}\n---- the last actions:\n{}\n---- the state:\n{}",
            self.begun.elapsed().as_secs_f64(),
            crate::SEED,
            self.stage.seed,
            last.join("\n"),
            state.join("\n")
        )
    }

    async fn act(&mut self, action: Action) -> Result<()> {
        match action {
            Action::Edit => self.edit(false).await,
            Action::Break => self.edit(true).await,
            Action::Disable => self.disable().await,
            Action::Delete => self.delete().await,
            Action::StartPod => self.start_pod().await,
            Action::EndPod => self.end_pod().await,
            Action::Kill(part) => self.kill(part).await,
            Action::Start => self.start().await,
            Action::KillApiServer => {
                self.did("kills of the API server", "");
                // It may be dead still.
                let _ = self.stage.api_server("kill");
                Ok(())
            }
            Action::StopOrStartApiServer => self.stop_or_start_api_server(),
            Action::StealLease => self.steal_lease().await,
            Action::DeleteLease => self.delete_lease().await,
            Action::ReplaceNode => self.replace_node().await,
            Action::FillOrFreeDisk => self.fill_or_free_disk(),
            Action::SpoilFile => self.spoil_file().await,
        }
    }

    fn next(&mut self) -> u32 {
        self.number += 1;
        self.number
    }

    /// The profiles as they are now.
    async fn profiles(&self) -> Result<Profiles> {
        let api = self.stage.profiles();
        let listed = ask("a list", async || api.list(&ListParams::default()).await).await?;
        Ok(Profiles::new(listed?.items))
    }

    async fn apply(&mut self, kind: &'static str, name: &str, spec: &Value) -> Result<()> {
        self.did(kind, &format!("{name}: {spec}"));
        let manifest = Patch::Apply(profile(name, spec));
        let parameters = PatchParams::apply("tests").force();
        let api = self.stage.profiles();
        ask("an edit", async || {
            api.patch(name, &parameters, &manifest).await
        })
        .await??;
        Ok(())
    }

    /// A specification that denies the profile's own call, with an errno that no other has.
    fn spec(&mut self, number: usize) -> Value {
        let errno = 1 + self.next() % 4000;
        let rule =
            json!({ "names": [CALLS[number]], "action": "SCMP_ACT_ERRNO", "errnoRet": errno });
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] })
    }

    async fn edit(&mut self, wrongly: bool) -> Result<()> {
        let number = self.stage.random.usize(..NAMES);
        let mut spec = self.spec(number);
        // It may be missing, not valid, disabled, or be based on this one.
        if self.stage.random.u8(..3) == 0 {
            let base = self.stage.random.usize(..NAMES);
            spec["baseProfileName"] = json!(name_of(base));
        }
        let kind = if wrongly {
            spec["syscalls"][0]["names"][0] = json!(UNKNOWN);
            "invalid edits"
        } else {
            "edits"
        };
        self.apply(kind, &name_of(number), &spec).await
    }

    async fn disable(&mut self) -> Result<()> {
        let number = self.stage.random.usize(..NAMES);
        let mut spec = self.spec(number);
        spec["state"] = json!("Disabled");
        self.apply("disabled profiles", &name_of(number), &spec)
            .await
    }

    async fn delete(&mut self) -> Result<()> {
        let name = name_of(self.stage.random.usize(..NAMES));
        self.did("deletions", &name);
        gone(&self.stage.profiles(), &name).await
    }

    async fn start_pod(&mut self) -> Result<()> {
        if self.pods.len() == PODS {
            return self.end_pod().await;
        }
        let name = name_of(self.stage.random.usize(..NAMES));
        let file = self.stage.file(&name);
        if !self.profiles().await?.can_be_used(&name, &file) {
            return Ok(());
        }
        let pod = format!("pod-{}", self.next());
        self.did("pods", &format!("{pod} with {name}"));
        let manifest = if self.stage.random.bool() {
            annotated_pod(&pod, &name)
        } else {
            pod_with_path(&pod, &format!("operator/{}", file_name(&name)))
        };
        let manifest = serde_json::from_value(manifest)?;
        let api = self.stage.pods();
        let made = ask("a pod", async || {
            api.create(&PostParams::default(), &manifest).await
        });
        match made.await? {
            // It was created by a request whose answer was lost.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => drop(other?),
        }
        self.used.add(&pod, file);
        self.pods.insert(pod, name);
        Ok(())
    }

    async fn end_pod(&mut self) -> Result<()> {
        let names: Vec<&String> = self.pods.keys().collect();
        let Some(pod) = self.stage.random.choice(names).cloned() else {
            return Ok(());
        };
        self.pods.remove(&pod);
        self.used.remove(&pod);
        let api = self.stage.pods();
        if self.stage.random.bool() {
            self.did("deleted pods", &pod);
            let now = DeleteParams::default().grace_period(0);
            ask("a deletion", async || match api.delete(&pod, &now).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            })
            .await??;
        } else {
            self.did("completed pods", &pod);
            let completed = Patch::Merge(json!({ "status": { "phase": "Succeeded" } }));
            let parameters = PatchParams::default();
            ask("a completion", async || {
                api.patch_status(&pod, &parameters, &completed).await
            })
            .await??;
        }
        Ok(())
    }

    /// Mends everything, and waits until what is said is true.
    async fn quiet(&mut self) -> Result<()> {
        self.free_disks()?;
        if !self.is_api_up {
            self.stop_or_start_api_server()?;
        }
        self.did("quiet times", "");
        self.lead().await?;
        let mut clock = Clock::default();
        let mut last = String::new();
        loop {
            self.start().await?;
            let said = self.is_true().await;
            if let Some(lacking) = self.used.lacking() {
                return Err(anyhow!(lacking));
            }
            let Err(said) = said else {
                break;
            };
            last = said.root_cause().to_string();
            if clock.rest() > QUIET || clock.all() > LIMIT {
                return Err(said.context(format!(
                    "not true {:.1} s after the last action ({:.1} s of a machine at rest)",
                    clock.all().as_secs_f64(),
                    clock.rest().as_secs_f64()
                )));
            }
            clock.tick().await;
        }
        if clock.rest() > self.slowest.0 {
            self.slowest = (clock.rest(), last);
        }
        Ok(())
    }

    async fn is_true(&self) -> Result<()> {
        let profiles = self.profiles().await?;
        let report = nodes(&self.stage.client).get(NODE).await?;
        let folder = self.stage.seccomp_root().join("operator");
        profiles.check(&folder, &report, &self.pods)
    }
}
