//! The result of phase 2: a layer, and how the application is started.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::{Needs, Record};

use super::titled_layer::TitledLayer;

/// The result of phase 2, as the build cache keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Application {
    pub(super) layer: TitledLayer,
    pub(super) plan: Value,
    /// The build has loaded what a start would load.
    #[serde(default)]
    pub(super) smoked: bool,
}

impl Record for Application {
    const KIND: &'static str = "application";

    fn needs(&self) -> Needs {
        Needs::blobs([&self.layer.layer.descriptor])
    }
}
