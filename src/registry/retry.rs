//! When to try again, and after how long.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant, SystemTime};

use super::error::RegistryError;
use super::parallel::Stop;

/// Between looks whether another transfer has failed meanwhile.
const SLICE: Duration = Duration::from_millis(50);

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub attempts: u32,
    /// The first wait; each next one is twice as long, with some chance in it.
    pub first_wait: Duration,
    /// How long something is tried in all, waits included, while it makes no headway. A server that
    /// asks for a longer wait is not waited for.
    pub limit: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(500),
            limit: Duration::from_mins(10),
        }
    }
}

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long nothing at all may happen in an exchange, and how long the head of an answer may take.
    pub idle: Duration,
    /// How long a body may take besides what its bytes need at the least pace.
    pub grace: Duration,
    /// Bytes in a second that a body has to bring in the mean.
    pub least_pace: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(90),
            grace: Duration::from_mins(1),
            least_pace: 10_000,
        }
    }
}

impl Patience {
    /// How long a caller may have waited for a body of which so many bytes are here. A server that sends
    /// a byte at a time is never idle: this is what ends it.
    pub(crate) fn until(&self, received: u64) -> Duration {
        let pace = f64::from(self.least_pace.max(1));
        #[expect(clippy::cast_precision_loss, reason = "a time limit")]
        let seconds = received as f64 / pace;
        self.grace
            .saturating_add(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }
}

impl Retry {
    /// The same with at most so many tries.
    pub(crate) fn at_most(self, attempts: u32) -> Self {
        Self {
            attempts: self.attempts.min(attempts),
            ..self
        }
    }

    /// The wait after the `failed`-th try (from 1), at least what the server asked for.
    pub(crate) fn wait(&self, failed: u32, retry_after: Option<Duration>) -> Duration {
        let backoff = self
            .first_wait
            .saturating_mul(1 << failed.saturating_sub(1).min(6));
        // Between 50 and 100 percent, so that a crowd of clients does not come back at once.
        let dice = u32::try_from(RandomState::new().hash_one(failed) % 512).unwrap_or(0);
        let jittered = backoff / 1024 * (512 + dice);
        jittered.max(retry_after.unwrap_or_default())
    }
}

/// Bytes in a second, waits included, that are headway.
const LEAST_PACE: u64 = 1_000;

/// How often something was tried, and since when without headway.
pub(crate) struct Tries {
    retry: Retry,
    failed: u32,
    /// When it last made headway.
    since: Instant,
    /// Bytes since then.
    gained: u64,
}

impl Tries {
    pub(crate) fn new(retry: &Retry) -> Self {
        Self {
            retry: *retry,
            failed: 0,
            since: Instant::now(),
            gained: 0,
        }
    }

    /// So many more bytes were transferred: earlier failures do not count any more. A few bytes in each try are not
    /// enough, or warpdrive would ask such a server for ever.
    pub(crate) fn headway(&mut self, bytes: u64) {
        self.gained = self.gained.saturating_add(bytes);
        if bytes > 0 && self.gained >= self.since.elapsed().as_secs().saturating_mul(LEAST_PACE) {
            self.failed = 0;
            self.gained = 0;
            self.since = Instant::now();
        }
    }

    /// The wait before the next try after one that failed; `None` when it is given up. A wait that `host`
    /// asks for and that is longer than what is left of the limit is an error at once.
    pub(crate) fn next(
        &mut self,
        host: &str,
        asked: Option<Duration>,
    ) -> Result<Option<Duration>, RegistryError> {
        self.failed += 1;
        let left = self.retry.limit.saturating_sub(self.since.elapsed());
        if self.failed >= self.retry.attempts {
            return Ok(None);
        }
        if let Some(asked) = asked
            && asked > left
        {
            return Err(RegistryError::Busy {
                host: host.to_owned(),
                wait: asked,
                limit: self.retry.limit,
            });
        }
        let wait = self.retry.wait(self.failed, asked);
        Ok((wait <= left).then_some(wait))
    }
}

/// Sleeps; no longer than until another transfer has failed.
pub(crate) fn pause(wait: Duration, stop: Option<&Stop>) {
    let end = Instant::now() + wait;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stop.is_some_and(Stop::is_set) {
            return;
        }
        std::thread::sleep(left.min(SLICE));
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, section 10.2.3), which may be in the past.
pub(crate) fn retry_after(value: Option<&str>) -> Option<Duration> {
    after(value?, SystemTime::now())
}

fn after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(u32::MAX.into()));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

/// Statuses that may pass by themselves.
pub(crate) fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_bounded() {
        let retry = Retry::default();
        for failed in 1..40 {
            let wait = retry.wait(failed, None);
            let whole = Duration::from_millis(500) * (1 << (failed - 1).min(6));
            assert!(
                wait <= whole && wait + Duration::from_millis(1) >= whole / 2,
                "{failed}: {wait:?}"
            );
        }
        assert!(retry.wait(1, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
    }

    #[test]
    fn a_body_has_its_time_and_no_more() {
        let patience = Patience::default();
        assert_eq!(patience.until(0), Duration::from_mins(1));
        assert_eq!(patience.until(1_000_000), Duration::from_secs(160));
        let _ = patience.until(u64::MAX);
    }

    #[test]
    fn a_wait_is_read_in_seconds_and_as_a_date() {
        // 1999-12-31T23:59:00Z
        let now = SystemTime::UNIX_EPOCH + Duration::from_mins(15_778_079);
        for (value, expected) in [
            (" 3 ", Some(3)),
            ("0", Some(0)),
            ("99999999999", Some(u64::from(u32::MAX))),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(59)),
            ("Friday, 31-Dec-99 23:59:59 GMT", Some(59)),
            ("Fri, 31 Dec 1999 23:58:00 GMT", Some(0)),
            ("", None),
            ("-1", None),
            ("soon", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(after(value, now), expected, "{value}");
        }
    }

    #[test]
    fn a_few_bytes_in_a_long_time_are_no_headway() {
        let retry = Retry::default();
        let minute = Duration::from_mins(1);
        for (bytes, goes_on) in [(40, false), (60_000, true)] {
            let mut tries = Tries::new(&retry);
            let mut refused = false;
            for _ in 0..retry.attempts {
                tries.since = Instant::now().checked_sub(minute).unwrap();
                tries.headway(bytes);
                refused = tries.next("r", None).unwrap().is_none();
            }
            assert_eq!(!refused, goes_on, "{bytes}");
        }
    }

    #[test]
    fn a_wait_beyond_the_limit_is_refused_at_once() {
        let retry = Retry {
            limit: Duration::from_secs(20),
            ..Retry::default()
        };
        let mut tries = Tries::new(&retry);
        let wait = tries.next("r", Some(Duration::from_secs(7))).unwrap();
        assert_eq!(wait, Some(Duration::from_secs(7)));
        let error = tries.next("r", Some(Duration::from_secs(21))).unwrap_err();
        assert!(matches!(error, RegistryError::Busy { .. }), "{error}");
        tries.headway(1);
        for _ in 1..retry.attempts {
            assert!(tries.next("r", None).unwrap().is_some());
        }
        assert_eq!(tries.next("r", None).unwrap(), None);
    }
}
