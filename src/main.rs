//! The `warpdrive` executable: the sandbox's child first, then the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    warpdrive::sandbox::dispatch_child();
    warpdrive::cli::main()
}
