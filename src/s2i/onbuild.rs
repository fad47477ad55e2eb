//! `OnBuild` triggers of a builder image.
