//! Says in words what an image that a source names is used for.

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Builder,
    Runtime,
    /// The builder of a front end.
    FrontEnd,
}

impl Use {
    /// In words.
    pub fn what(self) -> &'static str {
        match self {
            Self::Builder => "the builder image",
            Self::Runtime => "the runtime image",
            Self::FrontEnd => "the builder image of the front end",
        }
    }

    /// The option by which the caller chooses it for one build.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Self::Builder => Some("--builder"),
            Self::Runtime => Some("--runtime-image"),
            Self::FrontEnd => None,
        }
    }
}
