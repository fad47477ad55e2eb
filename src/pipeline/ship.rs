//! Step 7: copies of the finished image go where the user wants them.

use crate::oci::Descriptor;
use crate::registry::{Client, ClientOptions};
use crate::transport::{self, Shape};

use super::context::Context;
use super::error::BuildError;
use super::transfers::Transfers;

/// Writes every `--output` and pushes; gives the references that were pushed.
pub(super) fn ship(context: Context<'_>, image: &Descriptor) -> Result<Vec<String>, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
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
        let listener = Transfers::new(progress);
        // A base that was imported may have layers without compression.
        let image = transport::shaped(store, image, Shape::default(), &listener)?;
        client.push(&image, store, &request.name, &listener)?;
        pushed.push(request.name.canonical());
    }
    Ok(pushed)
}
