//! System calls that a build does not need, refused by the kernel (seccomp(2)).
//!
//! Landlock says nothing of new processes, of UDP and of sockets that are files, and a process that was forked would
//! outlive the build.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// What is refused whatever its arguments are.
const REFUSED: &[i64] = &[
    // Processes and programs.
    libc::SYS_execve,
    libc::SYS_execveat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_tkill,
    // Sockets of all kinds. Pairs are left: they reach nobody.
    libc::SYS_socket,
    // Another view of files and namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    // Large parts of the kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

/// Refuses them for this thread and for those that it starts. Whether the kernel took it.
pub(super) fn refuse() -> bool {
    filters().is_ok_and(|filters| filters.iter().all(|filter| apply_filter(filter).is_ok()))
}

fn filters() -> Result<[BpfProgram; 2], Error> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Err(Error::EmptyFilter);
    };
    let filter = |rules: BTreeMap<i64, Vec<SeccompRule>>, error: i32| -> Result<BpfProgram, Error> {
        let refusal = SeccompAction::Errno(error.unsigned_abs());
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, arch)?;
        Ok(BpfProgram::try_from(filter)?)
    };
    let argument = |number: u8, operator: SeccompCmpOp, value: u64| -> Result<Vec<SeccompRule>, Error> {
        let condition = SeccompCondition::new(number, SeccompCmpArgLen::Dword, operator, value)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let own = u64::from(std::process::id());
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap_or_default();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    // Threads, and nothing else.
    rules.insert(libc::SYS_clone, argument(0, SeccompCmpOp::MaskedEq(thread), 0)?);
    // To itself, as `abort` does, and to nobody else.
    rules.insert(libc::SYS_kill, argument(0, SeccompCmpOp::Ne, own)?);
    rules.insert(libc::SYS_tgkill, argument(0, SeccompCmpOp::Ne, own)?);
    // Its arguments cannot be looked at; without it the C library takes `clone`.
    let newer = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok([filter(rules, libc::EPERM)?, filter(newer, libc::ENOSYS)?])
}
