//! Which of our handlers CRI-O still needs for containers that exist.
//!
//! CRI-O keeps a pod's handler in its sandbox's `config.json`. It is empty for pods that asked for
//! none: CRI-O handles their containers by whatever handler is the default one.

use crate::node::{
    Node,
    containers::{self, Known, json},
};
use portcullis_profile::{
    Engine,
    select::annotations::{MANAGER, crio},
    settings::crio::Handler,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// How many containers are named in one line.
const NAMED: usize = 3;

/// The handlers that are still needed, and what needs them. What can't be looked at counts for
/// every handler.
pub(super) fn look(node: &Node, ours: &BTreeMap<String, Handler>) -> BTreeMap<String, String> {
    let roots: BTreeSet<PathBuf> = ours.values().filter_map(|own| own.root.clone()).collect();
    let (known, unreadable) = containers::known(node, &roots);
    let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut unknown = unreadable;
    for container in &known {
        match handler(node, container) {
            Ok(Some(name)) if ours.contains_key(&name) => {
                needed.entry(name).or_default().push(container.id());
            }
            Ok(_) => {}
            Err(wrong) => unknown.push(wrong),
        }
    }
    if let Some(wrong) = unknown.first() {
        let all = ours.keys();
        let text = format!("whether a container needs it is not known ({wrong})");
        return all.map(|name| (name.clone(), text.clone())).collect();
    }
    needed
        .into_iter()
        .map(|(name, ids)| {
            let short = |id: &String| id.chars().take(12).collect::<String>();
            let named: Vec<String> = ids.iter().take(NAMED).map(short).collect();
            let more = if ids.len() > NAMED { ", …" } else { "" };
            let named = named.join(", ");
            let plural = if ids.len() == 1 { "" } else { "s" };
            let text = format!("needed by {} container{plural} ({named}{more})", ids.len());
            (name, text)
        })
        .collect()
}

/// The handler of a container of CRI-O's; `None` for those of others, and for the default one.
///
/// # Errors
/// Its sandbox is not known.
fn handler(node: &Node, container: &Known) -> Result<Option<String>, String> {
    if container.annotation(MANAGER) != Engine::CriO.manager() {
        return Ok(None);
    }
    let named = |config: &serde_json::Value| {
        let name = config["annotations"][crio::RUNTIME_HANDLER].as_str();
        name.filter(|name| !name.is_empty()).map(str::to_owned)
    };
    if container.annotation(crio::CONTAINER_TYPE) == Some("sandbox") {
        return Ok(named(&container.config));
    }
    let unknown = |what: String| format!("container {}: {what}", container.id());
    let sandbox = container
        .annotation(crio::SANDBOX_ID)
        .filter(|id| !id.is_empty() && !id.contains(['/', '.']))
        .ok_or_else(|| unknown("its sandbox is not named".to_owned()))?;
    // The bundle is <storage>/<ID>/userdata, of sandboxes too.
    let storage = container.bundle.ancestors().nth(2);
    let path = storage
        .map(|storage| storage.join(sandbox).join("userdata/config.json"))
        .ok_or_else(|| unknown(format!("its bundle is {}", container.bundle.display())))?;
    match json(node, &path) {
        Ok(Some(config)) => Ok(named(&config)),
        Ok(None) => Err(unknown(format!("there is no {}", path.display()))),
        Err(wrong) => Err(unknown(wrong)),
    }
}
