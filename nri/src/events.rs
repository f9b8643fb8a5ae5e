//! The set of events that a plugin asks for.

use std::ops::BitOr;

use crate::api::Event;

/// A set of events: bit n-1 stands for [`Event`] n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(i32);

impl Events {
    /// No event: the plugin is only synchronized. To a runtime an empty set means all events, so it is asked for a rare
    /// one, which the plugin never sees.
    pub const NONE: Self = Self(0);

    /// The set as the protocol has it.
    pub fn bits(self) -> i32 {
        self.0
    }

    /// Whether `event` is in the set.
    pub fn contains(self, event: Event) -> bool {
        self.0 & Self::from(event).0 != 0
    }

    /// The set without those that `other` has.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl From<Event> for Events {
    fn from(event: Event) -> Self {
        match event as i32 {
            0 => Self::NONE,
            number => Self(1 << (number - 1)),
        }
    }
}

impl BitOr for Events {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Event> for Events {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        events
            .into_iter()
            .fold(Self::NONE, |set, event| set | event.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_protocol() {
        let set: Events = [Event::RunPodSandbox, Event::CreateContainer]
            .into_iter()
            .collect();
        assert_eq!(set.bits(), 0b1001);
        assert_eq!(
            Events::from(Event::ValidateContainerAdjustment).bits(),
            1 << 13
        );
        assert_eq!(Events::from(Event::Unknown), Events::NONE);
        assert!(set.contains(Event::CreateContainer) && !set.contains(Event::StopContainer));
    }
}
