//! Accepts connections, even if the process has no more file descriptors.

use std::{fs::File, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::registry::Registry;

/// How long is waited after an error that has nothing to do with files.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections; holds a file that it lets go of when there are no others.
pub(super) struct Acceptor {
    listener: TcpListener,
    reserve: Option<File>,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            reserve: reserve(),
        }
    }

    /// The next connection. Where there are no more files, the oldest idle unauthenticated connection is closed, and
    /// the one that comes is closed unread.
    pub(super) async fn next(&mut self, registry: &Registry) -> (TcpStream, SocketAddr) {
        loop {
            let error = match self.listener.accept().await {
                Ok(accepted) => {
                    if self.reserve.is_none() {
                        self.reserve = reserve();
                    }
                    return accepted;
                }
                Err(error) => error,
            };
            tracing::warn!(target: "aih", %error, "a connection cannot be accepted");
            let errno = error.raw_os_error().map(nix::errno::Errno::from_raw);
            if matches!(errno, Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE)) {
                registry.close_one();
                if self.reserve.take().is_some() {
                    // Otherwise it would stand in the queue and wake this task without end.
                    let turned_away = tokio::time::timeout(PAUSE, self.listener.accept()).await;
                    drop(turned_away);
                }
                self.reserve = reserve();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
