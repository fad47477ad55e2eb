//! `/opt/app-root/bin/warpdrive`: the app commands and nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    warpdrive_app::cli::main()
}
