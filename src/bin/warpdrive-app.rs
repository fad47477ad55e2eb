//! `/opt/app-root/bin/warpdrive`: the app commands and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    warpdrive::cli::app::main()
}
