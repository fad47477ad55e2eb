//! What this program does when it is a child of itself: it chooses among all kinds of children.

use std::ffi::OsString;
use std::fs::File;

use super::error::Doing;
use super::start::MAGIC;
use super::to_parent::Descriptors;
use super::wire::{self, Request};
use super::{child, enter, here_child, join, probe, sys};

/// If this process is a child of this program, does the child's work and never returns.
///
/// To be called first in `main`, before there is any thread.
pub fn dispatch_child() {
    let mut arguments = std::env::args_os();
    if arguments.next().is_none_or(|name| name != MAGIC) {
        #[cfg(debug_assertions)]
        if arguments
            .next()
            .is_some_and(|verb| verb == super::drive::VERB)
        {
            std::process::exit(super::drive::run(arguments));
        }
        return;
    }
    let status = match arguments.next().as_ref().and_then(|verb| verb.to_str()) {
        Some("enter") => enter::inner(arguments),
        Some("run") => run(arguments),
        Some("probe-userns") => probe::try_user_namespace(),
        Some("probe-network") => probe::try_network(),
        _ => 2,
    };
    sys::exit_now(status);
}

/// The monitor. Arguments: numbers of the request, the control socket and the set-up pipe.
fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    let mut descriptors = arguments
        .filter_map(|number| number.to_str()?.parse().ok())
        .filter_map(|number| sys::adopt(number).ok());
    let (Some(request), Some(control), Some(setup)) =
        (descriptors.next(), descriptors.next(), descriptors.next())
    else {
        return 2;
    };
    let mut to_parent = Descriptors {
        control,
        setup: Some(File::from(setup)),
    };
    let result = wire::read_request(request)
        .doing("reading the sandbox's specification")
        .and_then(|request| match request {
            Request::Run(run) => child::monitor(&run, &mut to_parent),
            Request::Join(join) => join::monitor(&join, &mut to_parent),
            Request::Here(here) => here_child::monitor(&here, &mut to_parent),
        });
    match result {
        Ok(()) => 0,
        Err(failure) => {
            to_parent.report(&failure);
            1
        }
    }
}
