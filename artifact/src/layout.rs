//! How a profile lies in an artifact: manifests, media types, and which layer is for a platform.

use crate::{ArtifactError, Content, Digest};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// An image manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A list of manifests.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The same two by Docker.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The artifact type of manifests of a `SeccompProfile`, as ORAS writes it.
const UNKNOWN: &str = "application/vnd.unknown.config.v1+json";
/// The empty configuration.
pub(crate) const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The layer of such a manifest, as ORAS writes it.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// An artifact with a runtime-spec document, which container runtimes read too (KEP-6061).
const RUNTIME: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";
/// The layer of such an artifact.
const JSON: &str = "application/json";
/// The annotation with the name of a layer's file.
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation with the time of creation: fixed, so that the same profile has the same digest.
const CREATED: &str = "org.opencontainers.image.created";

/// The configuration of every artifact.
pub(crate) const CONFIG: &[u8] = b"{}";
/// How many layers or manifests are looked at.
const MAX_ENTRIES: usize = 64;

/// A platform: `linux/amd64`, or with a variant, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    variant: String,
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "String::is_empty"
    )]
    os_version: String,
}

impl Platform {
    /// This machine's.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: String::new(),
            os_version: String::new(),
        }
    }

    /// Whether both are the same, whether or not the usual variant is written.
    fn is(&self, other: &Platform) -> bool {
        fn variant(platform: &Platform) -> &str {
            match (platform.architecture.as_str(), platform.variant.as_str()) {
                ("arm64", "v8") | ("amd64", "v1") => "",
                ("arm", "") => "v7",
                (_, variant) => variant,
            }
        }
        self.os == other.os
            && self.architecture == other.architecture
            && variant(self) == variant(other)
            && self.os_version == other.os_version
    }

    fn file_name(&self) -> String {
        let parts = [
            &self.os,
            &self.architecture,
            &self.variant,
            &self.os_version,
        ];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let parts: String = parts.flat_map(|part| ["-", part]).collect();
        format!("profile{parts}.yaml")
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() {
            return Ok(());
        }
        write!(to, "/{}", self.variant)
    }
}

impl FromStr for Platform {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Platform, &'static str> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_part = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => return Err("a platform is OS/ARCHITECTURE[/VARIANT], such as linux/arm64"),
        };
        if !parts.iter().all(is_part) {
            return Err("a platform consists of letters and digits, such as linux/arm64");
        }
        Ok(Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: String::new(),
        })
    }
}

/// What points to a blob or a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes).to_string(),
            size: bytes.len() as u64,
            data: None,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }

    fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE).map(String::as_str)
    }
}

/// An image manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    #[serde(default = "manifest_type")]
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

fn manifest_type() -> String {
    MANIFEST.to_owned()
}

/// What a manifest's text is.
pub(crate) enum Parsed {
    Manifest(Box<Manifest>),
    Index(Vec<Descriptor>),
}

/// Parses a manifest or an index.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, ArtifactError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Index {
        #[serde(default)]
        media_type: Option<String>,
        manifests: Option<Vec<Descriptor>>,
    }
    let wrong = |error: serde_json::Error| {
        ArtifactError::Layout(format!("its manifest can't be parsed: {error}"))
    };
    let index: Index = serde_json::from_slice(bytes).map_err(wrong)?;
    let says_index = matches!(index.media_type.as_deref(), Some(INDEX | DOCKER_LIST));
    match index.manifests {
        Some(manifests) if manifests.len() > MAX_ENTRIES => Err(too_many()),
        Some(manifests) if says_index || index.media_type.is_none() => Ok(Parsed::Index(manifests)),
        _ => {
            let manifest: Manifest = serde_json::from_slice(bytes).map_err(wrong)?;
            if manifest.layers.len() > MAX_ENTRIES {
                return Err(too_many());
            }
            Ok(Parsed::Manifest(Box::new(manifest)))
        }
    }
}

fn too_many() -> ArtifactError {
    ArtifactError::Layout(format!(
        "it has more than {MAX_ENTRIES} layers or manifests"
    ))
}

/// The manifest of an index for a platform. A single one without a platform is for all.
pub(crate) fn select_manifest<'a>(
    manifests: &'a [Descriptor],
    platform: &Platform,
) -> Result<&'a Descriptor, ArtifactError> {
    let matches = |it: &&Descriptor| it.platform.as_ref().is_some_and(|own| own.is(platform));
    match manifests {
        [only] if only.platform.is_none() => Some(only),
        _ => manifests.iter().find(matches),
    }
    .ok_or_else(|| ArtifactError::Layout(format!("it has no profile for {platform}")))
}

/// The layer with the profile for a platform: the platform's own, or the one for all.
pub(crate) fn select_layer<'a>(
    manifest: &'a Manifest,
    platform: &Platform,
) -> Result<&'a Descriptor, ArtifactError> {
    let layers = &manifest.layers;
    let is_runtime =
        manifest.config.media_type == RUNTIME || manifest.artifact_type.as_deref() == Some(RUNTIME);
    if let ([only], true) = (&layers[..], is_runtime) {
        return Ok(only);
    }
    if is_runtime {
        let problem = format!("it has {} layers instead of one", layers.len());
        return Err(ArtifactError::Layout(problem));
    }
    let own_name = platform.file_name();
    let titled = |name: &str| {
        layers
            .iter()
            .find(|layer| layer.platform.is_none() && layer.title() == Some(name))
    };
    let own = |layer: &&Descriptor| layer.platform.as_ref().is_some_and(|own| own.is(platform));
    let is_for_another = |layer: &Descriptor| {
        layer.platform.is_some()
            || layer
                .title()
                .and_then(|title| title.strip_prefix("profile-")?.strip_suffix(".yaml"))
                .is_some()
    };
    let only = match &layers[..] {
        [only] if !is_for_another(only) => Some(only),
        _ => None,
    };
    layers
        .iter()
        .find(own)
        .or_else(|| titled(&own_name))
        .or_else(|| titled("profile.yaml"))
        .or_else(|| titled("profile.json"))
        .or(only)
        .ok_or_else(|| {
            ArtifactError::Layout(format!(
                "none of its {} layers is a profile for {platform}",
                layers.len()
            ))
        })
}

/// The manifest of an artifact with a profile, whose text is its only layer.
pub(crate) fn pack(content: &Content, text: &[u8], platform: Option<&Platform>) -> Manifest {
    let (artifact_type, config_type, layer_type, title) = if content.is_document() {
        (RUNTIME, RUNTIME, JSON, "profile.json".to_owned())
    } else {
        let title = platform.map_or_else(|| "profile.yaml".to_owned(), Platform::file_name);
        (UNKNOWN, EMPTY, LAYER, title)
    };
    let mut layer = Descriptor::of(layer_type, text);
    layer.annotations.insert(TITLE.to_owned(), title);
    if !content.is_document() {
        layer.platform = platform.cloned();
    }
    let mut config = Descriptor::of(config_type, CONFIG);
    config.data = (config_type == EMPTY).then(|| "e30=".to_owned());
    let created = (CREATED.to_owned(), "1970-01-01T00:00:00Z".to_owned());
    Manifest {
        schema_version: 2,
        media_type: manifest_type(),
        artifact_type: Some(artifact_type.to_owned()),
        config,
        layers: vec![layer],
        annotations: [created].into(),
    }
}

/// A manifest of an image, with these layers.
pub(crate) fn image(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
    Manifest {
        schema_version: 2,
        media_type: manifest_type(),
        artifact_type: None,
        config,
        layers,
        annotations: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn layer(title: &str, platform: Option<&str>) -> Value {
        let mut layer = json!({"mediaType": LAYER, "digest": "sha256:0", "size": 1,
            "annotations": {TITLE: title}});
        if let Some(platform) = platform {
            layer["platform"] =
                serde_json::to_value(platform.parse::<Platform>().unwrap()).unwrap();
        }
        layer
    }

    fn selected(config: &str, layers: &[Value], platform: &str) -> Result<String, ArtifactError> {
        let text = json!({"schemaVersion": 2, "layers": layers,
            "config": {"mediaType": config, "digest": "sha256:0", "size": 2}});
        let Parsed::Manifest(manifest) = parse(text.to_string().as_bytes())? else {
            panic!("it is no index");
        };
        let layer = select_layer(&manifest, &platform.parse().unwrap())?;
        Ok(layer.title().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_layer_of_the_platform_comes_before_the_one_for_all() {
        let all = layer("profile.yaml", None);
        let own = layer("profile-linux-arm64.yaml", Some("linux/arm64/v8"));
        let layers = [all, own];
        assert_eq!(
            selected(EMPTY, &layers, "linux/arm64").unwrap(),
            "profile-linux-arm64.yaml"
        );
        assert_eq!(
            selected(EMPTY, &layers, "linux/amd64").unwrap(),
            "profile.yaml"
        );
        assert!(selected(EMPTY, &layers[1..], "linux/amd64").is_err());
        let named = [layer("profile-linux-arm64.yaml", None)];
        assert!(selected(EMPTY, &named, "linux/amd64").is_err());
        assert!(selected(EMPTY, &named, "linux/arm64").is_ok());
    }

    #[test]
    fn a_single_layer_needs_no_name_and_a_runtimes_artifact_has_exactly_one() {
        let any = layer("x.yaml", None);
        assert_eq!(
            selected(EMPTY, std::slice::from_ref(&any), "linux/amd64").unwrap(),
            "x.yaml"
        );
        assert!(selected(EMPTY, &[any.clone(), any.clone()], "linux/amd64").is_err());
        assert!(selected(RUNTIME, std::slice::from_ref(&any), "linux/amd64").is_ok());
        assert!(selected(RUNTIME, &[any.clone(), any], "linux/amd64").is_err());
        assert!(selected(EMPTY, &[], "linux/amd64").is_err());
    }

    #[test]
    fn an_artifact_is_laid_out_as_its_consumers_expect() {
        let document = br#"{"defaultAction": "SCMP_ACT_LOG"}"#;
        let content = Content::read(document).unwrap();
        let manifest = serde_json::to_value(pack(&content, document, None)).unwrap();
        assert_eq!(manifest["artifactType"], RUNTIME);
        assert_eq!(manifest["config"]["mediaType"], RUNTIME);
        assert_eq!(manifest["layers"][0]["mediaType"], JSON);
        let yaml =
            b"apiVersion: portcullis.dev/v1alpha1\nkind: SeccompProfile\nspec: {allow: [read]}\n";
        let content = Content::read(yaml).unwrap();
        let platform = "linux/arm64".parse().unwrap();
        let manifest = serde_json::to_value(pack(&content, yaml, Some(&platform))).unwrap();
        assert_eq!(manifest["config"]["mediaType"], EMPTY);
        let layer = &manifest["layers"][0];
        assert_eq!(layer["annotations"][TITLE], "profile-linux-arm64.yaml");
        assert_eq!(
            layer["platform"],
            json!({"os": "linux", "architecture": "arm64"})
        );
    }
}
