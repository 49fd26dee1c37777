//! How far the call is, and whether anybody still waits for it.

use crate::backend;

/// Tells the client, if it asked for progress. `progress` only grows; `total`, if known, is what it grows to.
/// Reports that come too fast are merged.
pub fn report(progress: f64, total: Option<f64>, message: Option<&str>) {
    backend::report(progress, total, message);
}

/// Whether the client gave up on the call. Long work asks now and then, and ends early.
pub fn cancelled() -> bool {
    backend::cancelled()
}
