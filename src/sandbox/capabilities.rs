//! Giving up power: bounding set, groups, user, capability sets, `no_new_privs`.

use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::error::{Doing, Failure};
use super::sys;

/// Becomes the user and group, without any capability and with no way to get one.
///
/// The order matters: the bounding set needs `CAP_SETPCAP`, groups and users need their own.
pub(super) fn become_user(uid: u32, gid: u32) -> Result<(), Failure> {
    // A supervisor must not be looked into by what it starts, even as the same user.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    for capability in 0..64 {
        if !sys::drop_bounding(capability).doing("dropping the capability bounding set")? {
            break;
        }
    }
    rustix::thread::clear_ambient_capability_set().doing("clearing ambient capabilities")?;
    // Denied in a namespace with one id; there are no groups to get rid of by it either: those
    // that are left are outside of the map.
    if may_set_groups() {
        rustix::thread::set_thread_groups(&[]).doing("giving up supplementary groups")?;
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
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
    .doing("dropping capabilities")?;
    rustix::thread::set_no_new_privs(true).doing("setting no_new_privs")
}

fn may_set_groups() -> bool {
    std::fs::read_to_string("/proc/self/setgroups").map_or(true, |word| word.trim() != "deny")
}
