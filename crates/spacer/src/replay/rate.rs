//! How many events may begin: a token bucket that holds a second's worth at most.

use std::time::{Duration, Instant};

pub struct Rate {
    /// Tokens a second; `None` is without limit.
    rate: Option<f64>,
    tokens: f64,
    filled: Instant,
}

impl Rate {
    pub fn new(rate: Option<f64>, now: Instant) -> Rate {
        // It begins with one token rather than a burst.
        Rate { rate, tokens: 1.0, filled: now }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let gained = now.duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + gained).min(rate.max(1.0));
        self.filled = now;
        let there = self.tokens >= 1.0;
        if there {
            self.tokens -= 1.0;
        }
        there
    }

    /// How long until there is a token.
    pub fn wait(&self) -> Duration {
        match self.rate {
            Some(rate) => Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / rate),
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_gives_so_many_tokens_and_a_pause_no_more_than_a_second_s_worth() {
        let start = Instant::now();
        let mut rate = Rate::new(Some(4.0), start);
        let mut taken = |at: u64| {
            let now = start + Duration::from_millis(at);
            std::iter::from_fn(|| rate.take(now).then_some(())).count()
        };
        assert_eq!([taken(0), taken(250), taken(260), taken(750), taken(60_000)], [1, 1, 0, 2, 4]);
        rate.tokens = 0.5;
        assert_eq!(rate.wait(), Duration::from_millis(125));
    }

    #[test]
    fn a_rate_below_one_has_its_turn_and_none_is_no_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(Some(0.5), start);
        assert!(rate.take(start) && !rate.take(start + Duration::from_secs(1)));
        assert!(rate.take(start + Duration::from_secs(2)));
        let mut rate = Rate::new(None, start);
        assert!((0..1000).all(|_| rate.take(start)) && rate.wait().is_zero());
    }
}
