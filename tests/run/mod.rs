//! `warpdrive run` and `warpdrive container` on a small image of busybox, as root, as a user with
//! subordinate ids and as a user with its own id only. Afterwards no process and no mount is left.

#![allow(clippy::unwrap_used, reason = "a test")]

/// The tests of a file, each as every kind of user.
macro_rules! as_each {
    ($($name:ident)*) => {$(
        mod $name {
            use crate::run::host::Host;

            #[test]
            fn as_root() {
                super::$name(&Host::root());
            }

            #[test]
            fn with_subordinate_ids() {
                super::$name(&Host::subids());
            }

            #[test]
            fn with_a_single_id() {
                super::$name(&Host::single());
            }
        }
    )*};
}

mod busybox;
mod command;
mod detached;
mod exec;
mod files;
mod host;
mod ports;
mod terminal;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
