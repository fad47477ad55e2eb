//! The `warpdrive` executable: it first checks whether it is the sandbox's child, then runs the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    warpdrive::sandbox::dispatch_child();
    warpdrive::cli::main()
}
