//! Admission reviews: whatever the webhook is asked, it answers or says why not, and what it changes
//! fits the object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_operator::{
    admission::{
        evaluate::{Surroundings, mutate, validate},
        review::{Pod, Request},
        rules::{Configuration, RuleSet},
    },
    controller::webhook::answers::{Answers, Ask},
    crd::binding::Mode,
};
use portcullis_profile::program::limits::Limits;
use std::{collections::BTreeMap, sync::Arc};

fuzz_target!(|text: &[u8]| {
    let answers = Answers::new(
        Arc::default(),
        Configuration::default(),
        Vec::new(),
        Limits::default(),
    );
    for ask in [Ask::Mutate, Ask::Validate, Ask::Kinds] {
        if let Err(error) = answers.now(ask, text) {
            assert!(!error.to_string().is_empty());
        }
    }
    let Ok(request) = Request::parse(text) else {
        return;
    };
    let Ok(pod) = request.object::<Pod>() else {
        return;
    };
    let before = request.old_object::<Pod>().ok();
    let _ = validate(&pod, before.as_ref(), &request.sub_resource, false);
    let mut rules = RuleSet::default();
    for mode in [None, Some(Mode::Default), Some(Mode::Enforce)] {
        let profile = "runtime/default".parse().expect("a profile");
        rules.configuration.cluster = mode.map(|mode| (mode, profile));
        let around = Surroundings {
            namespace: "n",
            annotations: &BTreeMap::new(),
            rules: &rules,
        };
        for before in [None, before.as_ref()] {
            let verdict = mutate(&pod, before, around);
            assert!(verdict.refusal.is_none() || verdict.patches.is_empty());
            for patch in &verdict.patches {
                let path = patch["path"].as_str().expect("a path");
                assert!(
                    path.starts_with("/spec/") || path.starts_with("/metadata/annotations"),
                    "{path}"
                );
            }
        }
    }
});
