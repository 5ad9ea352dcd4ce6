//! seccomp: which system calls the process may make.
//!
//! A list of what is allowed, since a list of what is forbidden would not hold against the next kernel. A
//! call that is on neither list fails with ENOSYS, as on a kernel that does not have it: the C library then
//! takes another way. A call that no part of the process has a use for and an attacker has fails with EPERM.
//! Neither ends the process: that would end all connections, which is what an attacker who is that far can do
//! anyway.

mod allowed;

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

use self::allowed::{ALLOWED, FORBIDDEN, IOCTLS, PRCTLS};
use super::policy::Mode;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;
type Built<T> = Result<T, seccompiler::BackendError>;

/// Connects with the first data, past Landlock's rule on connecting (`tcp_sendmsg_fastopen` asks no security
/// module).
const MSG_FASTOPEN: u64 = 0x2000_0000;

/// The calls that take that flag, and which argument has it.
const SENDS: [(c_long, u8); 3] = [
    (libc::SYS_sendto, 3),
    (libc::SYS_sendmsg, 2),
    (libc::SYS_sendmmsg, 3),
];

/// The type of a socket without its flags.
const SOCKET_TYPE: u64 = 0xf;

/// Whether there are lists for this processor.
pub(super) fn is_known_machine() -> bool {
    machine().is_ok()
}

fn machine() -> Built<TargetArch> {
    // The lists were made on these.
    match std::env::consts::ARCH {
        arch @ ("x86_64" | "aarch64") => TargetArch::try_from(arch),
        other => Err(seccompiler::BackendError::InvalidTargetArch(
            other.to_owned(),
        )),
    }
}

/// Filters the system calls of all threads.
///
/// # Errors
///
/// One phrase, if the kernel cannot.
pub(super) fn filter(mode: Mode) -> Result<(), String> {
    let cannot = |why: &dyn std::fmt::Display| format!("system calls cannot be filtered: {why}");
    let allowed = allowed_calls(mode).map_err(|error| cannot(&error))?;
    let forbidden = forbidden_calls().map_err(|error| cannot(&error))?;
    // Of two filters that refuse, the one that was added last chooses the error.
    for program in [allowed, forbidden] {
        apply_filter_all_threads(&program).map_err(|error| cannot(&error))?;
    }
    Ok(())
}

/// Allows what the process needs; anything else does not exist.
fn allowed_calls(mode: Mode) -> Built<BpfProgram> {
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    if mode != Mode::Required {
        // A condition costs the kernel its table of calls that are always allowed.
        rules.extend(SENDS.map(|(call, _)| (call, Vec::new())));
    }
    let pid = u64::from(std::process::id());
    let mut add = |call: c_long, conditions: Vec<Built<SeccompCondition>>| -> Built<()> {
        rules.entry(call).or_default().push(rule(conditions)?);
        Ok(())
    };
    add(libc::SYS_clone, vec![has(0, libc::CLONE_THREAD)])?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        add(call, vec![lacks(2, libc::PROT_EXEC)])?;
    }
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        add(call, vec![is(0, pid)])?;
    }
    for target in [0, pid] {
        add(libc::SYS_prlimit64, vec![is(0, target)])?;
    }
    for request in IOCTLS {
        add(libc::SYS_ioctl, vec![is(1, request)])?;
    }
    for option in PRCTLS {
        add(libc::SYS_prctl, vec![is(0, option)])?;
    }
    add(libc::SYS_socket, vec![is(0, word(libc::AF_UNIX))])?;
    add(libc::SYS_socketpair, vec![is(0, word(libc::AF_UNIX))])?;
    // Landlock's rules on ports are about TCP, and not about MPTCP, SCTP or others that reach the same peers.
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in [
            (libc::SOCK_STREAM, libc::IPPROTO_TCP),
            (libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        ] {
            for protocol in [0, protocol] {
                let kind = masked(1, SOCKET_TYPE, word(kind));
                let conditions = vec![is(0, word(family)), kind, is(2, word(protocol))];
                add(libc::SYS_socket, conditions)?;
            }
        }
    }
    if mode == Mode::Required {
        for (call, flags) in SENDS {
            add(call, vec![masked(flags, MSG_FASTOPEN, 0)])?;
        }
    }
    let unknown = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    SeccompFilter::new(rules, unknown, SeccompAction::Allow, machine()?)?.try_into()
}

/// Refuses what nothing here has a use for.
fn forbidden_calls() -> Built<BpfProgram> {
    let mut rules: Rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let pid = u64::from(std::process::id());
    let mut add = |call: c_long, conditions: Vec<Built<SeccompCondition>>| -> Built<()> {
        rules.entry(call).or_default().push(rule(conditions)?);
        Ok(())
    };
    add(libc::SYS_clone, vec![lacks(0, libc::CLONE_THREAD)])?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        add(call, vec![has(2, libc::PROT_EXEC)])?;
    }
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        add(call, vec![is_not(0, pid)])?;
    }
    add(libc::SYS_prlimit64, vec![is_not(0, 0), is_not(0, pid)])?;
    add(
        libc::SYS_ioctl,
        IOCTLS.iter().map(|request| is_not(1, *request)).collect(),
    )?;
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, machine()?)?.try_into()
}

/// All of these conditions.
fn rule(conditions: Vec<Built<SeccompCondition>>) -> Built<SeccompRule> {
    SeccompRule::new(conditions.into_iter().collect::<Built<_>>()?)
}

/// The kernel reads 32 bits of all arguments that are compared here.
fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Built<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn is(argument: u8, value: u64) -> Built<SeccompCondition> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: u64) -> Built<SeccompCondition> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Built<SeccompCondition> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

fn has(argument: u8, flag: libc::c_int) -> Built<SeccompCondition> {
    masked(argument, word(flag), word(flag))
}

fn lacks(argument: u8, flag: libc::c_int) -> Built<SeccompCondition> {
    masked(argument, word(flag), 0)
}

/// A constant of the C library as the kernel's register holds it.
fn word(constant: libc::c_int) -> u64 {
    u64::from(constant.cast_unsigned())
}
