//! Texts that many objects share, such as the names of profiles; each is stored once.

use std::{collections::BTreeSet, sync::Arc};

/// Texts that many objects share, each stored once.
#[derive(Debug, Default)]
pub(super) struct Texts {
    all: BTreeSet<Arc<str>>,
    tidy_at: usize,
}

impl Texts {
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(shared) = self.all.get(text) {
            return Arc::clone(shared);
        }
        let shared: Arc<str> = text.into();
        self.all.insert(Arc::clone(&shared));
        shared
    }

    /// Drops the texts that no object has any more. To save time, it does so only when there are
    /// twice as many as the last time.
    pub(super) fn tidy(&mut self) {
        if self.all.len() > self.tidy_at {
            self.all.retain(|text| Arc::strong_count(text) > 1);
            self.tidy_at = 2 * self.all.len() + 1000;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_nobody_has_are_forgotten() {
        let mut texts = Texts::default();
        let kept = texts.share("a");
        for index in 0..2000 {
            texts.share(&index.to_string());
        }
        texts.tidy();
        assert_eq!(texts.all.len(), 1);
        assert!(Arc::ptr_eq(&kept, &texts.share("a")));
    }
}
