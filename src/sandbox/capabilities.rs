//! Drops or keeps privileges: bounding set, groups, user, capability sets, `no_new_privs`.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Doing, Failure};
use super::spec::Capability;
use super::sys;

/// The command's user and capabilities.
pub(super) struct Identity<'a> {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: &'a [u32],
    /// For user 0 only.
    pub(super) capabilities: &'a [Capability],
}

/// Becomes the user and group, without any capability (except those of a root command) and without
/// a way to get one.
///
/// The order matters: the bounding set needs `CAP_SETPCAP`, groups and users need their own.
pub(super) fn become_user(who: &Identity<'_>) -> Result<(), Failure> {
    let kept: &[Capability] = if who.uid == 0 { who.capabilities } else { &[] };
    // The programs that a supervisor starts must not inspect it, even as the same user.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    for capability in 0..64 {
        if kept.iter().any(|kept| kept.number() == capability) {
            continue;
        }
        if !sys::drop_bounding(capability).doing("dropping the capability bounding set")? {
            break;
        }
    }
    rustix::thread::clear_ambient_capability_set().doing("clearing ambient capabilities")?;
    change_ids(who)?;
    let kept = kept.iter().fold(CapabilitySet::empty(), |set, capability| {
        set | CapabilitySet::from_bits_retain(1 << capability.number())
    });
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
    .doing("dropping capabilities")?;
    rustix::thread::set_no_new_privs(true).doing("setting no_new_privs")
}

/// The same with every capability: see [`super::spec::Defence::Capabilities`].
pub(super) fn become_user_with_all(who: &Identity<'_>) -> Result<(), Failure> {
    const DOING: &str = "keeping capabilities";
    let all = rustix::thread::capabilities(None).doing(DOING)?.permitted;
    rustix::thread::set_keep_capabilities(true).doing(DOING)?;
    change_ids(who)?;
    let sets = CapabilitySets {
        effective: all,
        permitted: all,
        inheritable: all,
    };
    rustix::thread::set_capabilities(None, sets).doing(DOING)?;
    for capability in all.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true).doing(DOING)?;
    }
    rustix::thread::set_no_new_privs(true).doing("setting no_new_privs")
}

/// A user other than 0 keeps capabilities across execve as ambient ones only.
pub(super) fn keep() -> io::Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            inheritable: sets.permitted,
            ..sets
        },
    )?;
    for capability in sets.permitted.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

fn change_ids(who: &Identity<'_>) -> Result<(), Failure> {
    let (uid, gid) = (who.uid, who.gid);
    // Denied in a namespace with one id. There it is not needed: the remaining groups are outside
    // the map.
    if may_set_groups() {
        let groups: Vec<Gid> = who.groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups)
            .doing("setting the command's supplementary groups")
            .map_err(|failure| {
                failure.remedy(format!(
                    "one of the groups {:?} does not exist in this id map: a range of subordinate \
                     ids in /etc/subgid (or root) is needed",
                    who.groups
                ))
            })?;
    } else if !who.groups.is_empty() {
        return Err(
            Failure::new("setting the command's supplementary groups").remedy(
                "a range of subordinate ids in /etc/subuid and /etc/subgid (or root) is needed",
            ),
        );
    }
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    let unmapped = |failure: Failure| {
        failure.remedy(format!(
            "user {uid} and group {gid} do not exist in this id map: a range of subordinate ids \
             in /etc/subuid and /etc/subgid (or root) is needed"
        ))
    };
    rustix::thread::set_thread_res_gid(group, group, group)
        .doing("becoming the command's group")
        .map_err(unmapped)?;
    rustix::thread::set_thread_res_uid(user, user, user)
        .doing("becoming the command's user")
        .map_err(unmapped)?;
    Ok(())
}

fn may_set_groups() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").map_or(true, |word| word.trim() != "deny")
}
