//! The system calls that a command may make: an allow-list after docker's default profile (moby's
//! `profiles/seccomp/default.json`) for a process without capabilities. It is narrower: `ptrace`,
//! `process_vm_*`, `kcmp` and `chroot` are refused too.
//!
//! Other calls fail with EPERM. Two exceptions fail with ENOSYS, so that C libraries fall back as
//! on an older kernel: `clone3`, whose flags a filter cannot see, and calls that are newer than
//! this list. Calls of another architecture (i386) kill the process; x32's fail.

use std::collections::BTreeMap;

#[allow(clippy::wildcard_imports)]
use libc::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};

use super::error::Failure;

/// Allowed with all arguments, on every architecture.
const ALLOWED: &[c_long] = &[
    SYS_accept,
    SYS_accept4,
    SYS_adjtimex,
    SYS_bind,
    SYS_brk,
    SYS_capget,
    SYS_capset,
    SYS_chdir,
    SYS_clock_adjtime,
    SYS_clock_getres,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_clone3,
    SYS_close,
    SYS_close_range,
    SYS_connect,
    SYS_copy_file_range,
    SYS_dup,
    SYS_dup3,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_execve,
    SYS_execveat,
    SYS_exit,
    SYS_exit_group,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_fadvise64,
    SYS_fallocate,
    SYS_fanotify_mark,
    SYS_fchdir,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchown,
    SYS_fchownat,
    SYS_fcntl,
    SYS_fdatasync,
    SYS_fgetxattr,
    SYS_flistxattr,
    SYS_flock,
    SYS_fremovexattr,
    SYS_fsetxattr,
    SYS_fstat,
    SYS_fstatfs,
    SYS_fsync,
    SYS_ftruncate,
    SYS_futex,
    SYS_futex_waitv,
    SYS_get_robust_list,
    SYS_getcpu,
    SYS_getcwd,
    SYS_getdents64,
    SYS_getegid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getgroups,
    SYS_getitimer,
    SYS_getpeername,
    SYS_getpgid,
    SYS_getpid,
    SYS_getppid,
    SYS_getpriority,
    SYS_getrandom,
    SYS_getresgid,
    SYS_getresuid,
    SYS_getrusage,
    SYS_getsid,
    SYS_getsockname,
    SYS_getsockopt,
    SYS_gettid,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_getxattr,
    SYS_inotify_add_watch,
    SYS_inotify_init1,
    SYS_inotify_rm_watch,
    SYS_io_cancel,
    SYS_io_destroy,
    SYS_io_getevents,
    SYS_io_setup,
    SYS_io_submit,
    SYS_ioprio_get,
    SYS_ioprio_set,
    SYS_kill,
    SYS_landlock_add_rule,
    SYS_landlock_create_ruleset,
    SYS_landlock_restrict_self,
    SYS_lgetxattr,
    SYS_linkat,
    SYS_listen,
    SYS_listxattr,
    SYS_llistxattr,
    SYS_lremovexattr,
    SYS_lseek,
    SYS_lsetxattr,
    SYS_madvise,
    SYS_membarrier,
    SYS_memfd_create,
    SYS_memfd_secret,
    SYS_mincore,
    SYS_mkdirat,
    SYS_mknodat,
    SYS_mlock,
    SYS_mlock2,
    SYS_mlockall,
    SYS_mmap,
    SYS_mprotect,
    SYS_mq_getsetattr,
    SYS_mq_notify,
    SYS_mq_open,
    SYS_mq_timedreceive,
    SYS_mq_timedsend,
    SYS_mq_unlink,
    SYS_mremap,
    SYS_mseal,
    SYS_msgctl,
    SYS_msgget,
    SYS_msgrcv,
    SYS_msgsnd,
    SYS_msync,
    SYS_munlock,
    SYS_munlockall,
    SYS_munmap,
    SYS_name_to_handle_at,
    SYS_nanosleep,
    SYS_newfstatat,
    SYS_openat,
    SYS_openat2,
    SYS_pidfd_open,
    SYS_pidfd_send_signal,
    SYS_pipe2,
    SYS_pkey_alloc,
    SYS_pkey_free,
    SYS_pkey_mprotect,
    SYS_ppoll,
    SYS_prctl,
    SYS_pread64,
    SYS_preadv,
    SYS_preadv2,
    SYS_prlimit64,
    SYS_process_madvise,
    SYS_process_mrelease,
    SYS_pselect6,
    SYS_pwrite64,
    SYS_pwritev,
    SYS_pwritev2,
    SYS_read,
    SYS_readahead,
    SYS_readlinkat,
    SYS_readv,
    SYS_recvfrom,
    SYS_recvmmsg,
    SYS_recvmsg,
    SYS_remap_file_pages,
    SYS_removexattr,
    SYS_renameat2,
    SYS_restart_syscall,
    SYS_rseq,
    SYS_rt_sigaction,
    SYS_rt_sigpending,
    SYS_rt_sigprocmask,
    SYS_rt_sigqueueinfo,
    SYS_rt_sigreturn,
    SYS_rt_sigsuspend,
    SYS_rt_sigtimedwait,
    SYS_rt_tgsigqueueinfo,
    SYS_sched_get_priority_max,
    SYS_sched_get_priority_min,
    SYS_sched_getaffinity,
    SYS_sched_getattr,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_sched_rr_get_interval,
    SYS_sched_setaffinity,
    SYS_sched_setattr,
    SYS_sched_setparam,
    SYS_sched_setscheduler,
    SYS_sched_yield,
    SYS_seccomp,
    SYS_semctl,
    SYS_semget,
    SYS_semop,
    SYS_semtimedop,
    SYS_sendfile,
    SYS_sendmmsg,
    SYS_sendmsg,
    SYS_sendto,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_setfsgid,
    SYS_setfsuid,
    SYS_setgid,
    SYS_setgroups,
    SYS_setitimer,
    SYS_setpgid,
    SYS_setpriority,
    SYS_setregid,
    SYS_setresgid,
    SYS_setresuid,
    SYS_setreuid,
    SYS_setsid,
    SYS_setsockopt,
    SYS_setuid,
    SYS_setxattr,
    SYS_shmat,
    SYS_shmctl,
    SYS_shmdt,
    SYS_shmget,
    SYS_shutdown,
    SYS_sigaltstack,
    SYS_signalfd4,
    SYS_socketpair,
    SYS_splice,
    SYS_statfs,
    SYS_statx,
    SYS_symlinkat,
    SYS_sync,
    SYS_syncfs,
    SYS_sysinfo,
    SYS_tee,
    SYS_tgkill,
    SYS_timer_create,
    SYS_timer_delete,
    SYS_timer_getoverrun,
    SYS_timer_gettime,
    SYS_timer_settime,
    SYS_timerfd_create,
    SYS_timerfd_gettime,
    SYS_timerfd_settime,
    SYS_times,
    SYS_tkill,
    SYS_truncate,
    SYS_umask,
    SYS_uname,
    SYS_unlinkat,
    SYS_utimensat,
    SYS_vmsplice,
    SYS_wait4,
    SYS_waitid,
    SYS_write,
    SYS_writev,
];

/// Also allowed: only x86 has these; most are obsolete.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[c_long] = &[
    SYS_access,
    SYS_alarm,
    SYS_chmod,
    SYS_chown,
    SYS_creat,
    SYS_dup2,
    SYS_epoll_create,
    SYS_epoll_ctl_old,
    SYS_epoll_wait,
    SYS_epoll_wait_old,
    SYS_eventfd,
    SYS_fork,
    SYS_futimesat,
    SYS_getdents,
    SYS_getpgrp,
    SYS_getrlimit,
    SYS_get_thread_area,
    SYS_inotify_init,
    SYS_lchown,
    SYS_link,
    SYS_lstat,
    SYS_mkdir,
    SYS_mknod,
    SYS_modify_ldt,
    SYS_open,
    SYS_pause,
    SYS_pipe,
    SYS_poll,
    SYS_readlink,
    SYS_rename,
    SYS_renameat,
    SYS_rmdir,
    SYS_select,
    SYS_setrlimit,
    SYS_set_thread_area,
    SYS_signalfd,
    SYS_stat,
    SYS_symlink,
    SYS_sync_file_range,
    SYS_time,
    SYS_unlink,
    SYS_utime,
    SYS_utimes,
    SYS_vfork,
    SYS_arch_prctl,
    333, // io_pgetevents
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[c_long] = &[
    292, // io_pgetevents
    84,  // sync_file_range
];

/// Calls that the libc crate does not name yet. From 424 on, numbers are the same everywhere.
const ALLOWED_NEW: &[c_long] = &[
    451, // cachestat
    452, // fchmodat2
    453, // map_shadow_stack
    454, // futex_wake
    455, // futex_wait
    456, // futex_requeue
    463, // setxattrat
    464, // getxattrat
    465, // listxattrat
    466, // removexattrat
];

/// The newest call that this list covers: `removexattrat`, Linux 6.13.
const NEWEST: u32 = 466;

/// Namespaces that `clone` may not make: `CLONE_NEW*` but `CLONE_NEWTIME`, which it cannot.
const NAMESPACES: u64 = 0x7e02_0000;

/// The values that `personality` may set: none, 32 bits, and their `UNAME26` variants; or only a query.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// What separates a command from processes beside it and from their sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// Its own namespaces; or nothing, if the caller says so.
    Apart,
    /// Landlock, which covers files and usual TCP. Calls that it does not cover are not on the list: sockets
    /// with a path, other ways to open a connection, limits and priorities of other processes.
    ByLandlock,
}

/// `linux/resource.h` and `linux/ioprio.h`: the number names a process.
const PRIO_PROCESS: u64 = 0;
const IOPRIO_WHO_PROCESS: u64 = 1;

/// Installs the filters for this thread and what it starts. `no_new_privs` must be set.
pub(super) fn install(kept: Kept) -> Result<(), Failure> {
    let words = |error: seccompiler::Error| {
        Failure::new(format!("installing the system call filter: {error}"))
            .remedy("the kernel needs CONFIG_SECCOMP_FILTER, and so does a container around us")
    };
    seccompiler::apply_filter(&allow_list(kept)?).map_err(words)?;
    // Of two filters' equal actions the later one's errno counts.
    seccompiler::apply_filter(&fall_backs()).map_err(words)
}

fn allow_list(kept: Kept) -> Result<BpfProgram, Failure> {
    compile(kept)
        .map_err(|error| Failure::new(format!("compiling the system call filter: {error}")))
}

fn compile(kept: Kept) -> Result<BpfProgram, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = [ALLOWED, ALLOWED_HERE, ALLOWED_NEW]
        .concat()
        .into_iter()
        .map(|number| (number, Vec::new()))
        .collect();
    let namespaces = SeccompCondition::new(0, SeccompCmpArgLen::Qword, MaskedEq(NAMESPACES), 0)?;
    rules.insert(SYS_clone, vec![SeccompRule::new(vec![namespaces])?]);
    // Sockets to the hypervisor know no network namespace.
    let no_vsock = condition(0, Ne, AF_VSOCK.unsigned_abs().into())?;
    rules.insert(SYS_socket, vec![SeccompRule::new(vec![no_vsock])?]);
    // No typing into the caller's terminal either (CVE-2017-5226).
    let no_typing = vec![condition(1, Ne, 0x5412)?, condition(1, Ne, 0x541c)?];
    rules.insert(SYS_ioctl, vec![SeccompRule::new(no_typing)?]);
    let personalities = PERSONALITIES
        .into_iter()
        .map(|value| SeccompRule::new(vec![condition(0, Eq, value)?]))
        .collect::<Result<_, _>>()?;
    rules.insert(SYS_personality, personalities);
    if kept == Kept::ByLandlock {
        rules.extend(beside_landlock()?);
    }
    SeccompFilter::new(
        rules,
        SeccompAction::Errno(EPERM.unsigned_abs()),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?
    .try_into()
}

/// Of the first 32 bits of an argument.
fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// Narrower rules for calls that Landlock does not fence.
fn beside_landlock() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let number = |value: i32| u64::from(value.unsigned_abs());
    let mut rules = BTreeMap::new();

    // TCP and UDP in their usual forms: MPTCP, SCTP, SMC and DCCP connect past its rules, and so do sockets with
    // a path. Sockets that ask the kernel for its routes stay allowed.
    let netlink = condition(0, Eq, number(AF_NETLINK))?;
    let mut sockets = vec![SeccompRule::new(vec![netlink])?];
    for family in [AF_INET, AF_INET6] {
        for (kind, protocol) in [(SOCK_STREAM, IPPROTO_TCP), (SOCK_DGRAM, IPPROTO_UDP)] {
            for protocol in [0, protocol] {
                sockets.push(SeccompRule::new(vec![
                    condition(0, Eq, number(family))?,
                    condition(1, MaskedEq(0xf), number(kind))?,
                    condition(2, Eq, number(protocol))?,
                ])?);
            }
        }
    }
    rules.insert(SYS_socket, sockets);
    // Pairs that stay pairs: one end of a pair of datagrams sends to any path.
    let mut pairs = Vec::new();
    for kind in [SOCK_STREAM, SOCK_SEQPACKET] {
        let is_connected = condition(1, MaskedEq(0xf), number(kind))?;
        pairs.push(SeccompRule::new(vec![is_connected])?);
    }
    rules.insert(SYS_socketpair, pairs);

    // TCP Fast Open connects by sending.
    for (call, flags) in [(SYS_sendto, 3), (SYS_sendmsg, 2), (SYS_sendmmsg, 3)] {
        let mask = MaskedEq(number(MSG_FASTOPEN));
        let slow = condition(flags, mask, 0)?;
        rules.insert(call, vec![SeccompRule::new(vec![slow])?]);
    }
    let of_another_level = condition(1, Ne, number(IPPROTO_TCP))?;
    // The second one makes a TCP socket one of SMC.
    let slow = condition(2, Ne, number(TCP_FASTOPEN_CONNECT))?;
    let as_it_is = condition(2, Ne, number(TCP_ULP))?;
    rules.insert(
        SYS_setsockopt,
        vec![
            SeccompRule::new(vec![of_another_level])?,
            SeccompRule::new(vec![slow, as_it_is])?,
        ],
    );

    // The command's own limits and priorities, not those of the process that watches it.
    for call in [
        SYS_prlimit64,
        SYS_sched_setattr,
        SYS_sched_setparam,
        SYS_sched_setscheduler,
    ] {
        rules.insert(call, vec![SeccompRule::new(vec![condition(0, Eq, 0)?])?]);
    }
    for (call, process) in [
        (SYS_setpriority, PRIO_PROCESS),
        (SYS_ioprio_set, IOPRIO_WHO_PROCESS),
    ] {
        let own = vec![condition(0, Eq, process)?, condition(1, Eq, 0)?];
        rules.insert(call, vec![SeccompRule::new(own)?]);
    }
    Ok(rules)
}

/// `clone3` and everything newer than the list: ENOSYS.
fn fall_backs() -> Vec<sock_filter> {
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const CLONE3: u32 = 435;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD, 0, 0, 0), // the number is the first field of seccomp_data
        step(JUMP_EQUAL, 2, 0, CLONE3),
        step(JUMP_GREATER, 1, 0, NEWEST),
        step(RETURN, 0, 0, SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, SECCOMP_RET_ERRNO | ENOSYS.unsigned_abs()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_compiles_within_the_kernel_s_limit() {
        for kept in [Kept::Apart, Kept::ByLandlock] {
            let program = compile(kept).unwrap();
            assert!(program.len() < 4096, "{}", program.len());
        }
    }

    #[test]
    fn what_reaches_out_of_a_sandbox_is_not_on_the_list() {
        for refused in [
            SYS_mount,
            SYS_umount2,
            SYS_pivot_root,
            SYS_chroot,
            SYS_setns,
            SYS_unshare,
            SYS_ptrace,
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_keyctl,
            SYS_add_key,
            SYS_request_key,
            SYS_bpf,
            SYS_userfaultfd,
            SYS_perf_event_open,
            SYS_open_by_handle_at,
            SYS_kexec_load,
            SYS_init_module,
            SYS_finit_module,
            SYS_delete_module,
            SYS_reboot,
            SYS_swapon,
            SYS_fsopen,
            SYS_fsmount,
            SYS_move_mount,
            SYS_open_tree,
            SYS_mount_setattr,
            SYS_io_uring_setup,
            SYS_pidfd_getfd,
            SYS_kcmp,
            SYS_syslog,
            SYS_settimeofday,
            SYS_clock_settime,
            SYS_sethostname,
            SYS_setdomainname,
            SYS_quotactl,
            SYS_acct,
        ] {
            let listed = [ALLOWED, ALLOWED_HERE, ALLOWED_NEW]
                .iter()
                .any(|list| list.contains(&refused));
            assert!(!listed, "{refused}");
        }
    }
}
