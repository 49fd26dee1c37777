//! A network that has the loopback interface only.
//!
//! The programs of the zoo belong to others, and some of them ask their vendors for updates or tell them what they do.
//! In a network namespace of its own (network_namespaces(7)) this process and all that it starts reach each other and
//! nothing else.

use std::{
    fs, io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

use anyhow::{Context as _, ensure};
use nix::sched::{CloneFlags, unshare};

/// Moves this process into a network of its own. The process must have one thread.
///
/// # Errors
/// The kernel refuses namespaces to this user. Then the programs have their own switches only; see
/// [`super::clients::Client`].
pub(crate) fn enter() -> anyhow::Result<()> {
    let own = fs::metadata("/proc/self")?;
    let (user, group) = (own.uid(), own.gid());
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        // Without the right to make one, in a user namespace that gives it (user_namespaces(7)).
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)
            .context("the kernel refuses a network namespace")?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    }
    start_loopback().context("the loopback interface does not start")?;
    // An address for documentation (RFC 5737): without a way to it there is none to any other either.
    let elsewhere = std::net::UdpSocket::bind("0.0.0.0:0")?.connect("192.0.2.1:9");
    ensure!(elsewhere.is_err(), "the namespace has a way to other machines");
    Ok(())
}

/// Switches the interface `lo` on (netdevice(7)); the kernel gives it its addresses.
#[expect(
    unsafe_code,
    reason = "no library of the workspace sets the flags of an interface"
)]
fn start_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short,
        },
    };
    // SAFETY: the descriptor is open as long as `socket` lives, and SIOCSIFFLAGS reads one `ifreq`, which `request` is.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
