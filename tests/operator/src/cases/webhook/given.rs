//! The webhook serves a certificate of the user's own, as cert-manager keeps it in a Secret.

use super::{WEB, bound};
use crate::{
    admission::pod,
    cases::cases,
    crowd::Crowd,
    stage::{NAMESPACE, Stage},
    wait::until,
};
use anyhow::{Result, ensure};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::{Value, json};

cases![
    a_certificate_of_the_users_own_is_served_and_renewed,
    a_certificate_whose_ca_others_tell_the_api_server_goes_live_once_they_have,
];

const SECRET: &str = "own-certificate";
const OPTION: &str = "--webhook-certificate-secret=own-certificate";
const PATH: &str = "operator/web.json";
/// What the leader says when it takes another one.
const REPLACED: &str = "the next certificate is served";

/// A CA, with its certificate as PEM.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Result<Authority> {
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let pem = ca.self_signed(&key)?.pem();
        let issuer = Issuer::new(ca, key);
        Ok(Authority { pem, issuer })
    }

    /// A Secret with a new certificate that ends in this year.
    fn secret(&self, host: &str, year: i32) -> Result<Value> {
        let mut leaf = CertificateParams::new(vec![host.to_owned()])?;
        leaf.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = leaf.signed_by(&key, &self.issuer)?;
        Ok(
            json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": SECRET, "namespace": NAMESPACE},
            "stringData": {"ca.crt": self.pem, "tls.crt": certificate.pem(),
                "tls.key": key.serialize_pem()}}),
        )
    }
}

/// Applies a Secret and waits until the controller's log has a line so many times.
async fn applied(
    stage: &Stage,
    controller: usize,
    secret: &Value,
    (line, times): (&str, usize),
) -> Result<()> {
    stage.kubectl_with(&["apply", "-f", "-"], secret)?;
    until("the controller has looked at the Secret", async || {
        let count = stage.processes[controller].count(line)?;
        ensure!(count >= times, "{line}: {count}");
        Ok(())
    })
    .await
}

/// What the chart adds to the controller's rights.
fn may_read_the_secret(stage: &Stage) -> Result<()> {
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": SECRET, "namespace": NAMESPACE},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET],
            "verbs": ["get"]}]});
    stage.kubectl_with(&["apply", "-f", "-"], &role)?;
    let account = format!("--serviceaccount={NAMESPACE}:portcullis-controller");
    let role = format!("--role={SECRET}");
    stage.kubectl(&[
        "-n",
        NAMESPACE,
        "create",
        "rolebinding",
        SECRET,
        &role,
        &account,
    ])?;
    Ok(())
}

async fn a_certificate_of_the_users_own_is_served_and_renewed(stage: &mut Stage) -> Result<()> {
    let admission = bound(stage).await?;
    may_read_the_secret(stage)?;
    let controller = stage.controller_with(&[OPTION])?;
    let log = "there is no Secret";
    until("the Secret is missed", async || {
        ensure!(stage.processes[controller].count(log)? == 1);
        Ok(())
    })
    .await?;
    let host = "127.0.0.1";
    let first = Authority::new("first")?;
    let expired = first.secret(host, 2000)?;
    applied(stage, controller, &expired, ("certificate expired", 1)).await?;
    let created = ("a new certificate is served", 1);
    applied(stage, controller, &first.secret(host, 2100)?, created).await?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    let crowd = Crowd::begin(stage, PATH);
    // Under the same CA, under another one, and what can't be used in between.
    let renewed = first.secret(host, 2100)?;
    applied(stage, controller, &renewed, (REPLACED, 1)).await?;
    let second = Authority::new("second")?;
    let elsewhere = second.secret("elsewhere.svc", 2100)?;
    applied(stage, controller, &elsewhere, ("not valid for name", 1)).await?;
    let mut other_key = second.secret(host, 2100)?;
    other_key["stringData"]["tls.key"] = renewed["stringData"]["tls.key"].clone();
    applied(stage, controller, &other_key, ("does not fit", 1)).await?;
    applied(
        stage,
        controller,
        &second.secret(host, 2100)?,
        (REPLACED, 2),
    )
    .await?;
    let retired = "the CA before is no longer accepted";
    until("the CA before is retired", async || {
        ensure!(stage.processes[controller].count(retired)? >= 2);
        Ok(())
    })
    .await?;
    eprintln!("{} pods, eight at once", crowd.end()?);
    // The webhook goes on where the Secret goes, also with another controller.
    stage.kubectl(&["-n", NAMESPACE, "delete", "secret", SECRET])?;
    stage.processes.clear();
    stage.controller_with(&[OPTION])?;
    admission.is_effective("bound", &pod("p"), WEB).await
}

async fn a_certificate_whose_ca_others_tell_the_api_server_goes_live_once_they_have(
    stage: &mut Stage,
) -> Result<()> {
    let admission = bound(stage).await?;
    may_read_the_secret(stage)?;
    let authority = Authority::new("first")?;
    let mut secret = authority.secret("127.0.0.1", 2100)?;
    if let Some(data) = secret["stringData"].as_object_mut() {
        data.remove("ca.crt");
    }
    stage.kubectl_with(&["apply", "-f", "-"], &secret)?;
    stage.controller_with(&[OPTION])?;
    let obstacle = "nobody has put a caBundle into";
    admission
        .says("bound", "b", "Live", "False", obstacle)
        .await?;
    // As cert-manager's cainjector does.
    let validating = ["validatingwebhookconfiguration", "portcullis-admission"];
    let bundle = ByteString(authority.pem.clone().into_bytes());
    let change =
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}]);
    let change = change.to_string();
    let how = ["--type=json", "-p", &change];
    stage.kubectl(&[&["patch"][..], &validating, &how].concat())?;
    admission.is_effective("bound", &pod("p"), WEB).await?;
    // It stays, and the other configuration has it too.
    let asked = "-o=jsonpath={.webhooks[*].clientConfig.caBundle}";
    let mutating = ["mutatingwebhookconfiguration", "portcullis-admission"];
    let bundle = serde_json::to_value(&bundle)?;
    for which in [validating, mutating] {
        let found = stage.kubectl(&[&["get"][..], &which, &[asked]].concat())?;
        ensure!(!found.is_empty(), "{which:?} has none");
        for found in found.split_whitespace() {
            ensure!(bundle == found, "{which:?} has {found}");
        }
    }
    Ok(())
}
