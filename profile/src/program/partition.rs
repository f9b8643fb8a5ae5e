//! A program as a partition: sets of calls, each with the same return value for all its calls.

use crate::program::{
    bpf::Program,
    interpret::{ARCH, Call, NUMBER},
    region::Region,
    walk::{Holes, WalkError, Walker},
};

/// All calls, by what a program returns for them.
#[derive(Clone, Debug)]
pub struct Partition(Vec<Part>);

#[derive(Clone, Debug)]
struct Part {
    region: Region,
    holes: Holes,
    returns: u32,
}

impl Partition {
    /// The partition of a program.
    ///
    /// # Errors
    /// It does something that no seccomp library writes, or has too many parts.
    pub fn of(program: &Program) -> Result<Partition, WalkError> {
        let mut parts = Vec::new();
        Walker::default().walk(program, |_, leaf| {
            parts.push(Part {
                region: *leaf.region,
                holes: leaf.holes.clone(),
                returns: leaf.returns,
            });
            Ok::<(), WalkError>(())
        })?;
        Ok(Partition(parts))
    }

    /// What the program returns for a call (`SECCOMP_RET_*` with its data), by each part that the
    /// call is in: of a partition that is right that is one.
    pub fn answers(&self, call: &Call) -> impl Iterator<Item = u32> {
        let call = *call;
        let words = call.words();
        let parts = self.0.iter();
        parts
            .filter(move |part| part.contains(&call, &words))
            .map(|part| part.returns)
    }

    /// A sample call of each part with its return value, if one is at hand.
    pub fn samples(&self) -> impl Iterator<Item = (Call, u32)> {
        self.0.iter().filter_map(|part| {
            let sample = part.region.sample();
            part.contains(&sample, &sample.words())
                .then_some((sample, part.returns))
        })
    }
}

impl Part {
    fn contains(&self, call: &Call, words: &[u32]) -> bool {
        let sets = self.region.words.iter();
        sets.zip(words).all(|(set, word)| set.contains(*word))
            && !self.holes.contains(NUMBER, call.number)
            && !self.holes.contains(ARCH, call.arch)
    }
}
