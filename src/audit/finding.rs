//! A finding of the audit: what it is, how severe it is, and which layer contains it.

use serde::{Deserialize, Serialize};

/// The severity of a finding, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    Low,
    Medium,
    /// A way to root, or a secret that everyone with the image has. An image with one is refused,
    /// unless the policy says otherwise.
    High,
}

impl Severity {
    pub const ALL: [Self; 4] = [Self::High, Self::Medium, Self::Low, Self::Info];

    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One thing that is wrong with the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The id of a rule of [`super::RULES`].
    pub rule: &'static str,
    pub severity: Severity,
    /// The problem, in one sentence without a full stop. Never a secret's bytes.
    pub message: String,
    /// The absolute path in the image, safe to print; `None` if the fault is in the configuration.
    pub path: Option<String>,
    /// Which layer, counted from the lowest; `None` if the fault is in the configuration.
    pub layer: Option<usize>,
    /// Further paths with the same fault in the same layer, some of them.
    pub more: Vec<String>,
    /// How many paths have this fault: 1, or more if findings were combined.
    pub count: u64,
}

impl Finding {
    /// About the configuration.
    pub(super) fn of_config(rule: &'static str, severity: Severity, message: String) -> Self {
        Self {
            rule,
            severity,
            message,
            path: None,
            layer: None,
            more: Vec::new(),
            count: 1,
        }
    }

    /// About a path of a layer.
    pub(super) fn of_path(
        rule: &'static str,
        severity: Severity,
        layer: usize,
        path: &[u8],
        message: String,
    ) -> Self {
        Self {
            path: Some(super::paths::shown(path)),
            layer: Some(layer),
            ..Self::of_config(rule, severity, message)
        }
    }

    /// A file that decides who may be root, and that cannot be read as the programs read it.
    pub(super) fn of_unreadable(layer: usize, path: &[u8], problem: &str) -> Self {
        let message = format!("{} cannot be judged: {problem}", super::paths::shown(path));
        Self::of_path("account-unreadable", Severity::High, layer, path, message)
    }
}
