//! The limit of open files (`RLIMIT_NOFILE`): raised for the hub, and handed to its children as it was.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More open files than this the hub does not ask for.
const ENOUGH: u64 = 1 << 20;
/// What is assumed where the system does not tell its limit: the usual soft limit.
const USUAL: u64 = 1_024;

/// The soft limit that this process was started with.
static INHERITED: OnceLock<u64> = OnceLock::new();

/// Raises the soft limit to the hard one. A failure is logged: the hub then works with what it has.
pub fn raise() {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            return tracing::warn!(target: "aih", %error, "the limit of open files cannot be read");
        }
    };
    let _ = INHERITED.set(soft);
    let wanted = hard.min(ENOUGH);
    if wanted <= soft {
        return;
    }
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        tracing::warn!(target: "aih", %error, soft, hard, "the limit of open files cannot be raised");
    }
}

/// How many files this process may have open.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(USUAL, |(soft, _)| soft)
}

/// The soft limit that a child has to get back, where [`raise`] changed it: programs that use `select` break with
/// descriptors over 1,023.
#[must_use]
pub fn inherited() -> Option<u64> {
    INHERITED.get().copied().filter(|soft| *soft < limit())
}

/// Gives this process, which is about to become another program, the soft limit `soft`. The hard limit stays.
///
/// # Errors
/// What the system says.
pub fn give_back(soft: u64) -> std::io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard)?)
}
