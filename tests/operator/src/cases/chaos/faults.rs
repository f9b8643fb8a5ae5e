//! What fails: processes, the API server, leases, nodes, disks and files.

use super::{
    Chaos,
    ask::{ask, gone},
    random::NAMES,
    truth::name_of,
};
use crate::{
    objects::{api, create, nodes},
    stage::NODE,
    wait::until,
};
use anyhow::{Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::{
    fs,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The controllers' lease.
const LEASE: &str = "portcullis-controller";
/// Who holds it after a theft.
const THIEF: &str = "thief";
/// How long it may take until a controller leads.
const DEADLINE: Duration = Duration::from_secs(90);
/// How often to look.
const INTERVAL: Duration = Duration::from_millis(50);

impl Chaos<'_> {
    pub(super) fn running(&self, part: &str) -> Option<usize> {
        let processes = self.stage.processes.iter();
        processes
            .enumerate()
            .find(|(_, process)| process.name().starts_with(part))
            .map(|(index, _)| index)
    }

    pub(super) async fn kill(&mut self, part: &'static str) -> Result<()> {
        let Some(index) = self.running(part) else {
            return Ok(());
        };
        let kind = match part {
            "agent" => "kills of the agent",
            _ => "kills of the controller",
        };
        self.did(kind, "");
        let mut process = self.stage.processes.remove(index);
        process.crash().await
    }

    /// Starts what does not run, as the kubelet would.
    pub(super) async fn start(&mut self) -> Result<()> {
        for part in ["agent", "controller"] {
            if let Some(index) = self.running(part)
                && !self.stage.processes[index].is_running()?
            {
                self.did("exits", part);
                self.stage.processes.remove(index);
            }
            if self.running(part).is_some() {
                continue;
            }
            self.did("starts", part);
            if part == "agent" {
                self.stage.agent().await?;
            } else {
                self.stage.controller()?;
            }
        }
        Ok(())
    }

    /// Waits until a controller leads: it renews the lease.
    pub(super) async fn lead(&mut self) -> Result<()> {
        let mut first = None;
        let begun = Instant::now();
        loop {
            self.start().await?;
            let lease = self.stage.leases().get(LEASE).await;
            let spec = lease.ok().and_then(|lease| lease.spec);
            if let Some(spec) = spec.filter(|it| it.holder_identity.as_deref() != Some(THIEF)) {
                let renewed = spec.renew_time;
                if *first.get_or_insert_with(|| renewed.clone()) != renewed {
                    return Ok(());
                }
            }
            ensure!(begun.elapsed() < DEADLINE, "no controller leads");
            sleep(INTERVAL).await;
        }
    }

    pub(super) fn stop_or_start_api_server(&mut self) -> Result<()> {
        if self.is_api_up {
            self.did("outages of the API server", "");
            self.stage.api_server("stop")?;
        } else {
            self.did("ends of an outage", "");
            self.stage.api_server("start")?;
        }
        self.is_api_up = !self.is_api_up;
        Ok(())
    }

    pub(super) async fn steal_lease(&mut self) -> Result<()> {
        self.did("stolen leases", "");
        let theft = Patch::Merge(json!({ "spec": { "holderIdentity": THIEF } }));
        let (leases, parameters) = (self.stage.leases(), PatchParams::default());
        let stolen = ask("a theft", async || {
            leases.patch(LEASE, &parameters, &theft).await
        });
        match stolen.await? {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => {
                other?;
                Ok(())
            }
        }
    }

    pub(super) async fn delete_lease(&mut self) -> Result<()> {
        self.did("deleted leases", "");
        let (leases, parameters) = (self.stage.leases(), DeleteParams::default());
        ask("a deletion", async || {
            match leases.delete(LEASE, &parameters).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                other => other.map(drop),
            }
        })
        .await??;
        Ok(())
    }

    /// The node is deleted, with what it said, and registers again.
    pub(super) async fn replace_node(&mut self) -> Result<()> {
        self.did("replaced nodes", "");
        let kind = ("", "v1", "Node", "nodes");
        let api = api(&self.stage.client, kind.0, kind.1, kind.2, kind.3);
        gone(&api, NODE).await?;
        gone(&nodes(&self.stage.client), NODE).await?;
        let labels = json!({ "kubernetes.io/os": "linux" });
        let metadata = json!({ "name": NODE, "labels": labels });
        let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata });
        until("the node registers again", async || {
            if api.get_opt(NODE).await?.is_none() {
                create(&api, node.clone()).await?;
            }
            Ok(())
        })
        .await
    }

    pub(super) fn fill_or_free_disk(&mut self) -> Result<()> {
        if self.fillers.is_empty() {
            let disk = self.stage.random.usize(..self.disks.len());
            self.did("full disks", &format!("number {disk}"));
            self.fillers.push(self.disks[disk].fill()?);
            return Ok(());
        }
        self.did("disks with room again", "");
        self.free_disks()
    }

    pub(super) fn free_disks(&mut self) -> Result<()> {
        for filler in self.fillers.drain(..) {
            fs::remove_file(filler)?;
        }
        Ok(())
    }

    /// Somebody changes or removes a file that no pod uses, and waits until it is right again.
    pub(super) async fn spoil_file(&mut self) -> Result<()> {
        let name = name_of(self.stage.random.usize(..NAMES));
        let file = self.stage.file(&name);
        let is_used = self.pods.values().any(|selected| *selected == name);
        let can_be_repaired = self.fillers.is_empty() && self.running("agent").is_some();
        let profiles = self.profiles().await?;
        if is_used || !can_be_repaired || !profiles.can_be_used(&name, &file) {
            return Ok(());
        }
        self.did("spoilt files", &name);
        if self.stage.random.bool() {
            fs::write(&file, "{}")?;
        } else {
            fs::remove_file(&file)?;
        }
        until("the file is repaired", async || {
            ensure!(profiles.can_be_used(&name, &file), "it is not");
            Ok(())
        })
        .await
    }
}
