//! Step 7: copies of the finished image go where the user wants them.

use std::time::Duration;

use crate::oci::Descriptor;
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions};
use crate::store::Store;
use crate::transport;

use super::error::BuildError;
use super::request::Request;
use super::transfers::Transfers;

/// By then the kernel has written what was unpacked, and making sure of it costs little.
const SETTLE_AFTER: Duration = Duration::from_mins(5);

/// Writes every `--output` and pushes; gives the references that were pushed. Meanwhile what earlier
/// builds have unpacked is made safe from a power cut.
pub(super) fn ship(
    store: &Store,
    image: &Descriptor,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Vec<String>, BuildError> {
    let (settled, pushed) = rayon::join(
        || store.settle(SETTLE_AFTER),
        || copies(store, image, request, progress),
    );
    let pushed = pushed?;
    settled?;
    Ok(pushed)
}

fn copies(
    store: &Store,
    image: &Descriptor,
    request: &Request,
    progress: &dyn Progress,
) -> Result<Vec<String>, BuildError> {
    for output in &request.outputs {
        progress.step(&format!("---> Writing {output}"));
        transport::export(
            store,
            image,
            request.name.as_given(),
            output,
            &Transfers::new(progress),
        )?;
    }
    let mut pushed = Vec::new();
    if request.push {
        progress.step(&format!("---> Pushing {}", request.name.canonical()));
        let client = Client::new(ClientOptions::default())?;
        client.push(image, store, &request.name, &Transfers::new(progress))?;
        pushed.push(request.name.canonical());
    }
    Ok(pushed)
}
