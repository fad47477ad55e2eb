//! `warpdrive build` and `warpdrive assemble`.

use super::words::Words;
use crate::app::run::Caller;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// Waits for branch `app`, which has `app::assemble`.
pub(super) fn run(_args: &Args, _caller: &Caller) -> Result<u8, Words> {
    Err(Words {
        code: 1,
        message: "this executable was made without `build`".to_owned(),
        hint: None,
    })
}
