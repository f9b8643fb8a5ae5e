//! Watches of objects that catch up soon after an outage.
//!
//! The watcher of kube's runtime says when a watch has failed, and tries again when it is polled.
//! How long to wait before that is decided here.

use futures::{Stream, StreamExt, stream};
use kube::{
    Api, Resource,
    runtime::watcher::{self, Config, Event, watcher},
};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, hash::BuildHasher, time::Duration};
use tokio::time::sleep;

/// The first delay after a failure.
const FIRST: Duration = Duration::from_millis(250);
/// The longest delay: an outage is over for everyone this soon after the API server answers again.
const LIMIT: Duration = Duration::from_secs(2);
/// Over which time the nodes of a cluster spread their lists.
const SPREAD: Duration = Duration::from_secs(1);

/// How many watch the same objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchers {
    /// One or two controllers.
    Few,
    /// One on each node. They don't list all at the same moment.
    EachNode,
}

/// The delays between failures.
#[derive(Debug)]
struct Delays {
    watchers: Watchers,
    next: Duration,
}

impl Delays {
    const fn new(watchers: Watchers) -> Delays {
        Delays {
            watchers,
            next: FIRST,
        }
    }

    fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait after this failure. `chance` is a random number from 0 to 1.
    fn after(&mut self, error: &watcher::Error, chance: f64) -> Duration {
        if is_expired(error) {
            // The API server answers, and only a list is missing.
            return match self.watchers {
                Watchers::Few => Duration::ZERO,
                Watchers::EachNode => SPREAD.mul_f64(chance),
            };
        }
        let delay = self.next;
        self.next = (delay * 2).min(LIMIT);
        match self.watchers {
            Watchers::Few => delay,
            Watchers::EachNode => delay.mul_f64(0.5 + chance / 2.0),
        }
    }
}

/// Whether the API server no longer has the changes since the last one that was seen: everything
/// has to be listed again.
fn is_expired(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchStartFailed};
    let (WatchError(status)
    | WatchStartFailed(kube::Error::Api(status))
    | InitialListFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    status.code == 410
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    // The standard library's only source of randomness: the keys of a new hasher.
    let random = std::hash::RandomState::new().hash_one(0);
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// The events of a watch on all objects of a kind, listed some at a time. It goes on for ever: after
/// a failure, which is an item too, it waits and resumes, or lists again.
pub fn follow<K>(
    api: Api<K>,
    config: Config,
    watchers: Watchers,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    paced(watcher(api, config), watchers)
}

fn paced<K: Send>(
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    watchers: Watchers,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send {
    let state = (Box::pin(events), Delays::new(watchers), Duration::ZERO);
    stream::unfold(state, |(mut events, mut delays, wait)| async move {
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let event = events.next().await?;
        let wait = match &event {
            // Each attempt to list begins with this, also one that fails.
            Ok(Event::Init) => Duration::ZERO,
            Ok(_) => {
                delays.reset();
                Duration::ZERO
            }
            Err(error) => delays.after(error, chance()),
        };
        Some((event, (events, delays, wait)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use tokio::time::Instant;

    fn refused(code: u16) -> watcher::Error {
        watcher::Error::WatchError(Box::new(Status::failure("no", "No").with_code(code)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_expired_lists_at_once_and_one_that_fails_is_tried_every_two_seconds() {
        let failures = [500, 500, 500, 500, 500, 410]
            .into_iter()
            .flat_map(|code| [Err(refused(code)), Ok(Event::Init)]);
        let after = [
            Ok(Event::InitDone),
            Err(refused(500)),
            Ok(Event::<()>::Init),
        ];
        let events = stream::iter(failures.chain(after));
        let mut events = std::pin::pin!(paced(events, Watchers::Few));
        let mut waited = Vec::new();
        let mut last = Instant::now();
        while let Some(event) = events.next().await {
            if matches!(event, Ok(Event::Init)) {
                waited.push(last.elapsed().as_millis());
            }
            last = Instant::now();
        }
        assert_eq!(waited, [250, 500, 1000, 2000, 2000, 0, 250]);
    }

    #[test]
    fn nodes_do_not_list_all_at_the_same_moment() {
        let mut delays = Delays::new(Watchers::EachNode);
        let expired = refused(410);
        assert_eq!(delays.after(&expired, 0.0), Duration::ZERO);
        assert_eq!(delays.after(&expired, 1.0), SPREAD);
        for _ in 0..9 {
            assert!(delays.after(&refused(500), 1.0) <= LIMIT);
        }
        assert_eq!(delays.after(&refused(500), 0.0), LIMIT / 2);
        delays.reset();
        assert_eq!(delays.after(&refused(500), 1.0), FIRST);
        let random: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(random.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(random.iter().any(|chance| *chance < 0.5));
        assert!(random.iter().any(|chance| *chance > 0.5));
    }
}
