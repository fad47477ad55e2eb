//! When to try again, and after how long.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest wait that a server's `Retry-After` can ask for.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// How often and how patiently a request is repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// Tries in all, the first one included.
    pub attempts: u32,
    /// The first wait; each next one is twice as long, with some chance in it.
    pub first_wait: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(500),
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
    /// The wait after the `failed`-th try (from 1), at least what the server asked for.
    pub(crate) fn wait(&self, failed: u32, retry_after: Option<Duration>) -> Duration {
        let backoff = self
            .first_wait
            .saturating_mul(1 << failed.saturating_sub(1).min(6));
        // Between 50 and 100 percent, so that a crowd of clients does not come back at once.
        let dice = u32::try_from(RandomState::new().hash_one(failed) % 512).unwrap_or(0);
        let jittered = backoff / 1024 * (512 + dice);
        jittered.max(retry_after.unwrap_or_default()).min(MAX_WAIT)
    }
}

/// `Retry-After` in seconds. (The form with a date is left to the backoff.)
pub(crate) fn retry_after(value: Option<&str>) -> Option<Duration> {
    let seconds: u64 = value?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
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
            assert!(retry.wait(failed, Some(Duration::from_secs(100_000))) <= MAX_WAIT);
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
    fn retry_after_is_read_with_care() {
        assert_eq!(retry_after(Some(" 3 ")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("99999999999")), Some(MAX_WAIT));
        for bad in ["", "-1", "soon", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(retry_after(Some(bad)), None);
        }
    }
}
