//! Rate limits: one token bucket for all objects together, and one for each object.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The size of a token bucket, and how fast it fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many tokens a full bucket has.
    pub burst: u32,
    /// How long it takes to gain a token.
    pub every: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Bucket {
        Bucket {
            tokens: f64::from(rate.burst),
            at: now,
        }
    }

    fn refill(&mut self, rate: Rate, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let more = passed / rate.every.as_secs_f64().max(f64::EPSILON);
        self.tokens = (self.tokens + more).min(f64::from(rate.burst));
        self.at = now;
    }
}

/// A limit for all objects together and for each of them. Its memory is bounded: an object is
/// stored only while its bucket is not full, and only if the common bucket had a token.
#[derive(Debug)]
pub struct Limiter {
    all: Rate,
    each: Rate,
    bucket: Bucket,
    objects: HashMap<String, Bucket>,
}

impl Limiter {
    /// A limiter with full buckets.
    pub fn new(all: Rate, each: Rate, now: Instant) -> Limiter {
        Limiter {
            all,
            each,
            bucket: Bucket::full(all, now),
            objects: HashMap::new(),
        }
    }

    /// Takes tokens for this object. Returns whether the limits allow it.
    pub fn allows(&mut self, object: &str, now: Instant) -> bool {
        self.bucket.refill(self.all, now);
        let each = self.each;
        self.objects.retain(|_, bucket| {
            bucket.refill(each, now);
            bucket.tokens < f64::from(each.burst)
        });
        let full = Bucket::full(each, now);
        let left = self.objects.get(object).copied().unwrap_or(full);
        if self.bucket.tokens < 1.0 || left.tokens < 1.0 {
            return false;
        }
        self.bucket.tokens -= 1.0;
        let tokens = left.tokens - 1.0;
        self.objects
            .insert(object.to_owned(), Bucket { tokens, at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rate(burst: u32, seconds: u64) -> Rate {
        Rate {
            burst,
            every: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn one_object_takes_nothing_from_another_and_all_together_are_limited() {
        let start = Instant::now();
        let mut limiter = Limiter::new(rate(5, 1), rate(2, 10), start);
        assert!(limiter.allows("a", start) && limiter.allows("a", start));
        assert!(!limiter.allows("a", start));
        assert!(limiter.allows("b", start));
        assert!(limiter.allows("c", start) && limiter.allows("d", start));
        assert!(!limiter.allows("e", start), "five in all");
        let later = start + Duration::from_secs(1);
        assert!(!limiter.allows("a", later), "its own bucket is empty yet");
        assert!(limiter.allows("e", later));
        assert!(limiter.allows("a", start + Duration::from_secs(10)));
    }

    #[test]
    fn objects_whose_bucket_is_full_again_are_forgotten() {
        let start = Instant::now();
        let mut limiter = Limiter::new(rate(100, 1), rate(1, 1), start);
        for index in 0..100 {
            assert!(limiter.allows(&index.to_string(), start));
        }
        assert!(limiter.allows("x", start + Duration::from_secs(2)));
        assert_eq!(limiter.objects.len(), 1);
    }
}
