//! Profiles change and the operator's processes die in a random order; the final state has to be
//! right.

use super::cases;
use crate::{
    objects::profile,
    stage::{SHORT_LEASE, Stage},
};
use anyhow::Result;
use serde_json::{Value, json};

cases![whatever_happens_in_between_the_files_end_as_the_profiles_say];

const PROFILES: usize = 5;
const STEPS: usize = 60;

/// A profile that denies `mkdir` with an errno of its own.
fn denying(name: &str, errno: u32) -> Value {
    profile(
        name,
        &json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno }],
        }),
    )
}

async fn whatever_happens_in_between_the_files_end_as_the_profiles_say(
    stage: &mut Stage,
) -> Result<()> {
    stage.lease_seconds = SHORT_LEASE;
    let mut agent = stage.agent().await?;
    let mut controller = stage.controller()?;
    let mut wanted: [Option<u32>; PROFILES] = [None; PROFILES];
    for step in 1_u32.. {
        if step as usize > STEPS {
            break;
        }
        let number = stage.random.usize(..PROFILES);
        let name = format!("p{number}");
        match stage.random.u8(..10) {
            0..6 => {
                // One that is going can't be edited back to life.
                if wanted[number].is_none() {
                    stage.gone(&name).await?;
                }
                stage.apply(&denying(&name, step)).await?;
                wanted[number] = Some(step);
            }
            6..8 => {
                if wanted[number].take().is_some() {
                    stage.delete_profile(&name).await?;
                }
            }
            8 => {
                stage.processes[agent].crash().await?;
                agent = stage.agent().await?;
            }
            _ => {
                stage.processes[controller].crash().await?;
                controller = stage.controller()?;
            }
        }
    }
    for (number, errno) in wanted.into_iter().enumerate() {
        let name = format!("p{number}");
        if let Some(errno) = errno {
            stage
                .file_says(&name, &format!("\"errnoRet\":{errno}}}"))
                .await?;
            stage.is(&name, "Ready", "True").await?;
        } else {
            stage.gone(&name).await?;
            stage.no_file(&name).await?;
        }
    }
    Ok(())
}
