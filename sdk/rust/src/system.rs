//! Time and chance. The standard library's `SystemTime` and `Instant` work too; `std::thread` does not.

use std::time::Duration;

use crate::backend;

/// Waits. The call's deadline goes on.
pub fn sleep(duration: Duration) {
    backend::sleep(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
}

/// Bytes from the system's random source, at most 65,536 at a time.
pub fn random(count: u32) -> Vec<u8> {
    backend::random(count)
}
