//! The protocol's options, as an image's record has them.

use serde::{Deserialize, Serialize};

/// The part of a record that only S2I builds have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// `image://…` or `https://…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scripts_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_scripts_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assemble_user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assemble_runtime_user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_uids: Option<String>,
    /// `SRC:DST` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runtime_artifacts: Vec<String>,
    /// The label's value, unless assemble changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Branch or tag, as it is in the label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// `--exclude`, if it is not the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub split: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// It used artifacts of an earlier image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restored: bool,
    /// Scripts came from a directory of a machine, or by a URL with a login or a query.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scripts_elsewhere: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hosts: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub injections: usize,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub volumes: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
