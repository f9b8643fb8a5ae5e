//! Bases in a registry: pulled by the controller, checked, kept, and removed. The registry is a real
//! one (tests/oci/registry).

use super::cases;
use crate::{
    api_server::{program, repository},
    http::free_address,
    objects::profile,
    process::Process,
    stage::Stage,
    wait::until,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

cases![
    a_base_in_a_registry_becomes_a_profile_and_goes_with_the_last_that_names_it,
    a_tampered_base_is_refused_and_a_good_one_outlives_its_registry,
    with_a_key_only_signed_bases_are_pulled,
];

/// A registry with its storage in a folder of the case.
struct Registry {
    at: String,
    process: usize,
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("starting a command")?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The digits of a file's digest.
fn sha256(file: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(file))?;
    let digits = line.split(' ').next().unwrap_or_default();
    Ok(digits.to_owned())
}

/// Makes a key for signatures; gives the private and the public half.
fn key(stage: &Stage, name: &str) -> Result<(PathBuf, PathBuf)> {
    let [private, public] =
        ["pem", "pub"].map(|kind| stage.folder().join(name).with_extension(kind));
    let made = ["genpkey", "-algorithm", "ED25519", "-out"];
    output(Command::new("openssl").args(made).arg(&private))?;
    let mut half = Command::new("openssl");
    half.args(["pkey", "-pubout", "-in"]).arg(&private);
    output(half.arg("-out").arg(&public))?;
    Ok((private, public))
}

fn storage(stage: &Stage) -> PathBuf {
    stage.folder().join("registry")
}

impl Registry {
    async fn start(stage: &mut Stage) -> Result<Registry> {
        let build = repository().join("tests/oci/registry/build");
        let program = output(&mut Command::new(build))?;
        let address = free_address()?;
        let configuration = stage.folder().join("registry.yaml");
        let root = storage(stage);
        fs::write(
            &configuration,
            json!({
                "version": "0.1",
                "storage": { "filesystem": { "rootdirectory": root } },
                "http": { "addr": address },
            })
            .to_string(),
        )?;
        let mut command = Command::new(program);
        command
            .env("OTEL_TRACES_EXPORTER", "none")
            .arg("serve")
            .arg(configuration);
        let process = Process::start("registry", &mut command, stage.folder())?;
        stage.processes.push(process);
        until("the registry answers", async || {
            TcpStream::connect(address)?;
            Ok(())
        })
        .await?;
        Ok(Registry {
            at: address.to_string(),
            process: stage.processes.len() - 1,
        })
    }

    /// Pushes a profile that allows these calls; gives the artifact with its digest.
    fn push(&self, stage: &Stage, calls: &[&str], key: Option<&Path>) -> Result<String> {
        let file = stage.folder().join("pushed.json");
        let text = profile("pushed", &json!({ "allow": calls, "runtimeBase": "Omit" })).to_string();
        fs::write(&file, text)?;
        let mut command = Command::new(program("portcullis")?);
        command.args(["push", "--plain-http"]).arg(&file);
        command.arg(format!("{}/team/base:1", self.at));
        if let Some(key) = key {
            command.arg("--sign-key").arg(key);
        }
        output(&mut command)
    }
}

/// The name of the profile that an artifact becomes.
fn name_of(pushed: &str) -> String {
    let digest = pushed.rsplit(':').next().unwrap_or_default();
    format!("oci-{digest}")
}

/// A profile with a base in a registry, which allows one call itself.
fn based(name: &str, base: &str, own: &str) -> serde_json::Value {
    let base = format!("oci://{base}");
    profile(name, &json!({ "baseProfileName": base, "allow": [own] }))
}

/// The rights that come with the chart's setting.
fn grant(stage: &mut Stage) -> Result<()> {
    stage.is_spoilt = true;
    let rights = repository().join("packaging/manifests/artifacts.yaml");
    let rights = rights.to_str().context("the path")?;
    stage.kubectl(&["apply", "-f", rights])?;
    Ok(())
}

async fn a_base_in_a_registry_becomes_a_profile_and_goes_with_the_last_that_names_it(
    stage: &mut Stage,
) -> Result<()> {
    grant(stage)?;
    let registry = Registry::start(stage).await?;
    let pushed = registry.push(stage, &["mkdirat"], None)?;
    let from = format!("http://{}/team", registry.at);
    stage.controller_with(&["--artifact-registry", &from])?;
    stage.agent().await?;
    for name in ["a", "b"] {
        stage.create(based(name, &pushed, "rmdir")).await?;
        stage.file_says(name, "mkdirat").await?;
        stage.file_says(name, "rmdir").await?;
        stage.is(name, "Ready", "True").await?;
    }
    let name = name_of(&pushed);
    let labels = stage.profiles().get(&name).await?.metadata.labels;
    let labels = labels.unwrap_or_default();
    ensure!(labels["portcullis.dev/source"] == "oci", "{labels:?}");

    // Nobody else says what is in it.
    let edit = profile(&name, &json!({ "allow": ["mount"] }));
    let error = stage.apply(&edit).await.err().context("it was edited")?;
    ensure!(format!("{error:#}").contains("nobody else"), "{error:#}");
    let other = profile(&format!("oci-{}", "0".repeat(64)), &json!({}));
    let error = stage.create(other).await.err().context("it was made")?;
    ensure!(format!("{error:#}").contains("nobody else"), "{error:#}");
    // And if the policy is not there, it does not last.
    let binding = [
        "delete",
        "validatingadmissionpolicybinding",
        "portcullis-artifacts",
    ];
    stage.kubectl(&binding)?;
    until("it can be edited", async || stage.apply(&edit).await).await?;
    until("it is what the artifact says", async || {
        let spec = &stage.profiles().get(&name).await?.data["spec"];
        ensure!(spec["allow"] == json!(["mkdirat"]), "it is {spec}");
        Ok(())
    })
    .await?;

    let unpinned = format!("{}/team/base:1", registry.at);
    stage.create(based("unpinned", &unpinned, "rmdir")).await?;
    stage
        .says("unpinned", "Valid", "has no digest; pin it")
        .await?;
    stage.is("unpinned", "Valid", "False").await?;
    let elsewhere = pushed.replace("/team/", "/other/");
    let elsewhere = elsewhere.replace(&name[4..], &"1".repeat(64));
    stage
        .create(based("elsewhere", &elsewhere, "rmdir"))
        .await?;
    stage
        .says("elsewhere", "Valid", "is in none of the registries")
        .await?;
    stage.is("elsewhere", "Valid", "False").await?;

    stage.delete_profile("a").await?;
    stage.gone("a").await?;
    stage.settled().await?;
    stage.file_says(&name, "mkdirat").await?;
    stage.delete_profile("b").await?;
    stage.gone(&name).await?;
    stage.no_file(&name).await
}

async fn a_tampered_base_is_refused_and_a_good_one_outlives_its_registry(
    stage: &mut Stage,
) -> Result<()> {
    grant(stage)?;
    let registry = Registry::start(stage).await?;
    let pushed = registry.push(stage, &["mkdirat"], None)?;
    let profile_file = stage.folder().join("pushed.json");
    let digest = sha256(&profile_file)?;
    let blob = storage(stage)
        .join("docker/registry/v2/blobs/sha256")
        .join(&digest[..2])
        .join(&digest)
        .join("data");
    let good = fs::read_to_string(&blob)?;
    fs::write(&blob, good.replace("mkdirat", "mountat"))?;
    let tampered = sha256(&blob)?;
    let from = format!("http://{}", registry.at);
    let controller = stage.controller_with(&["--artifact-registry", &from])?;
    stage.agent().await?;
    stage.create(based("a", &pushed, "rmdir")).await?;
    let reason = format!(
        "the profile was tampered with: its digest is sha256:{tampered}, not sha256:{digest}"
    );
    stage.says("a", "Valid", &reason).await?;
    stage.is("a", "Valid", "False").await?;
    ensure!(!stage.file("a").exists(), "it has a file");
    ensure!(
        stage.profiles().get_opt(&name_of(&pushed)).await?.is_none(),
        "the base has a profile"
    );
    // The controller tries again by itself.
    fs::write(&blob, good)?;
    stage.is("a", "Ready", "True").await?;
    stage.file_says("a", "mkdirat").await?;

    stage.processes[registry.process].crash().await?;
    stage.processes[controller].crash().await?;
    stage.controller_with(&["--artifact-registry", &from])?;
    let stays = "its base could not be checked again and stays";
    stage.says("a", "Valid", stays).await?;
    stage.is("a", "Valid", "True").await?;
    stage.apply(&based("a", &pushed, "chmod")).await?;
    stage.file_says("a", "chmod").await?;
    stage.file_says("a", "mkdirat").await?;
    let unknown = pushed.replace(&name_of(&pushed)[4..], &"2".repeat(64));
    stage.create(based("b", &unknown, "rmdir")).await?;
    stage.says("b", "Valid", &registry.at).await?;
    stage.is("b", "Reconciling", "True").await
}

async fn with_a_key_only_signed_bases_are_pulled(stage: &mut Stage) -> Result<()> {
    grant(stage)?;
    let registry = Registry::start(stage).await?;
    let (own, public) = key(stage, "own")?;
    let (foreign, _) = key(stage, "foreign")?;
    let calls = [
        ("unsigned", "mkdirat", None, "it is not signed"),
        (
            "foreign",
            "chmod",
            Some(&*foreign),
            "none of its 1 signatures was made for it with the given key",
        ),
    ];
    let signed = registry.push(stage, &["unlinkat"], Some(&own))?;
    let from = format!("http://{}", registry.at);
    let public = public.to_str().context("the path")?;
    stage.controller_with(&["--artifact-registry", &from, "--artifact-key", public])?;
    stage.agent().await?;
    stage.create(based("signed", &signed, "rmdir")).await?;
    stage.is("signed", "Ready", "True").await?;
    stage.file_says("signed", "unlinkat").await?;
    for (name, call, signer, reason) in calls {
        let pushed = registry.push(stage, &[call], signer)?;
        stage.create(based(name, &pushed, "rmdir")).await?;
        stage.says(name, "Valid", reason).await?;
        stage.is(name, "Valid", "False").await?;
        ensure!(!stage.file(name).exists(), "it has a file");
        // The same artifact, once it is signed with the right key too.
        let again = registry.push(stage, &[call], Some(&own))?;
        ensure!(again == pushed, "{again} instead of {pushed}");
        stage.is(name, "Ready", "True").await?;
        stage.file_says(name, call).await?;
    }
    Ok(())
}
