//! The cases, one file for each subject. Each case is listed in its file.

mod effects;
mod gate;
mod gate_events;
mod in_use;
mod lease;
mod nodes;
mod outages;
mod profiles;
mod random_order;
mod rights;
mod status;
mod strangers;

use crate::stage::Case;

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

/// Every case with its name.
pub(crate) fn all() -> Vec<(&'static str, Case)> {
    [
        profiles::all(),
        in_use::all(),
        status::all(),
        effects::all(),
        gate::all(),
        gate_events::all(),
        rights::all(),
        strangers::all(),
        lease::all(),
        nodes::all(),
        outages::all(),
        random_order::all(),
    ]
    .concat()
}
