//! The operator's processes. They log to a file, and are killed with the process that started them.

use crate::wait::until;
use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// How much of a log a failure shows.
const SHOWN: usize = 100;

/// A running program of the operator.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a command under a name; its log is NAME.log in a folder.
    pub(crate) fn start(name: &str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        let name = name.to_owned();
        Ok(Self { name, log, child })
    }

    /// The name under which it was started.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), signal)
            .with_context(|| format!("{signal} to {}", self.name))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        let child = &mut self.child;
        until(&format!("{} ends", self.name), async || {
            child.try_wait()?.context("it runs")
        })
        .await
    }

    /// Kills it, as a crash would.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.ended().await.map(drop)
    }

    /// Waits until its log has a text.
    pub(crate) async fn says(&self, text: &str) -> Result<()> {
        self.says_times(1, text).await
    }

    /// Waits until its log has a text so many times.
    pub(crate) async fn says_times(&self, times: usize, text: &str) -> Result<()> {
        let what = format!("{} says {text:?}, {times} times", self.name);
        until(&what, async || {
            let log = fs::read_to_string(&self.log)?;
            if log.matches(text).count() < times {
                bail!("its log:\n{log}");
            }
            Ok(())
        })
        .await
    }

    /// How often its log has a text by now.
    pub(crate) fn count(&self, text: &str) -> Result<usize> {
        Ok(fs::read_to_string(&self.log)?.matches(text).count())
    }

    /// The end of its log, for a failure.
    pub(crate) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<&str> = log.lines().collect();
        let end = &lines[lines.len().saturating_sub(SHOWN)..];
        format!("---- log of {}:\n{}\n", self.name, end.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
