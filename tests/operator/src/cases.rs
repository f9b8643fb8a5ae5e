//! The cases, one file for each subject. Each case is listed in its file.

mod admission;
mod artifacts;
mod chaos;
mod config_maps;
mod effects;
mod gate;
mod gate_events;
mod in_use;
mod lease;
mod limits;
mod missed;
mod new_nodes;
mod nodes;
mod outages;
mod profiles;
mod random_order;
mod rights;
mod status;
mod strangers;
mod webhook;

use crate::{
    admission::Carrier,
    api_server::Release,
    stage::{Case, On},
};

/// Lists the cases of a file: functions that take their stage.
macro_rules! cases {
    ($($name:ident),+ $(,)?) => {
        /// The cases of this file.
        pub(super) fn all() -> Vec<(&'static str, crate::stage::Case)> {
            vec![$((stringify!($name), |stage| Box::pin($name(stage)))),+]
        }
    };
}
use cases;

/// The cases of admission that hold whatever carries the rules, on an older API server too.
const BY_WEBHOOK: [&str; 7] = [
    "fields_annotations_and_rules_decide_in_their_order",
    "what_is_refused_says_why_in_one_line",
    "ephemeral_containers_fall_under_the_same_rules",
    "annotations_stay_as_they_were_when_the_pod_was_created",
    "a_restricted_namespace_takes_a_pod_with_only_an_annotation",
    "bindings_say_whether_they_apply_and_how_many_pods_they_changed",
    "the_defaults_of_the_cluster_come_last_or_first",
];

/// Every case with its name, and what it runs on.
pub(crate) fn all() -> Vec<(String, Case, On)> {
    let of = |carrier, release, prefix: &'static str| {
        let on = On { carrier, release };
        move |(name, case): (&str, Case)| (format!("{prefix}{name}"), case, on)
    };
    let whatever_carries = || {
        let all = admission::all().into_iter();
        all.filter(|(name, _)| BY_WEBHOOK.contains(name))
    };
    let (newest, older) = (Release::Newest, Release::Older);
    let usual = usual().into_iter();
    let webhook = webhook::all().into_iter().chain(webhook::more());
    let older_ones = webhook::on_older().into_iter().chain(whatever_carries());
    usual
        .map(of(Carrier::Policies, newest, ""))
        .chain(whatever_carries().map(of(Carrier::Webhook, newest, "by_webhook_")))
        .chain(webhook.map(of(Carrier::Webhook, newest, "")))
        .chain(older_ones.map(of(Carrier::Webhook, older, "on_1_32_")))
        .collect()
}

fn usual() -> Vec<(&'static str, Case)> {
    [
        profiles::all(),
        in_use::all(),
        status::all(),
        admission::all(),
        artifacts::all(),
        effects::all(),
        config_maps::all(),
        gate::all(),
        gate_events::all(),
        rights::all(),
        strangers::all(),
        lease::all(),
        limits::all(),
        missed::all(),
        nodes::all(),
        new_nodes::all(),
        outages::all(),
        random_order::all(),
        chaos::all(),
    ]
    .concat()
}
