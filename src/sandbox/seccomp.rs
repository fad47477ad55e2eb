//! The system calls that a command may make.

use super::error::Failure;

pub(super) fn install() -> Result<(), Failure> {
    Ok(())
}
