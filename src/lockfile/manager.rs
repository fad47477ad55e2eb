//! The managers of packages, and the files and commands of each.

use crate::app::lock;

use super::{pdm, pipenv, poetry, uv};

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    Uv,
    Poetry,
    Pdm,
    Pipenv,
    Pylock,
    Pip,
}

impl Manager {
    pub(super) const ALL: [Self; 6] = [
        Self::Uv,
        Self::Poetry,
        Self::Pdm,
        Self::Pipenv,
        Self::Pylock,
        Self::Pip,
    ];

    /// As in the setting `dependencies`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uv => "uv",
            Self::Poetry => "poetry",
            Self::Pdm => "pdm",
            Self::Pipenv => "pipenv",
            Self::Pylock => "pylock",
            Self::Pip => "pip",
        }
    }

    /// The manager with this name.
    pub(super) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|manager| manager.name() == name)
            .unwrap_or(Self::Pip)
    }

    /// Its file.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Uv => uv::FILE,
            Self::Poetry => poetry::FILE,
            Self::Pdm => pdm::FILE,
            Self::Pipenv => pipenv::FILE,
            Self::Pylock => lock::FILE,
            Self::Pip => "requirements.txt",
        }
    }

    /// The command that locks these packages again: a lock that fits is otherwise not written again.
    pub(super) fn lock_again(self, packages: &[&str]) -> String {
        match self {
            Self::Uv => format!(
                "uv lock --upgrade-package {}",
                packages.join(" --upgrade-package ")
            ),
            Self::Poetry => format!("poetry update --lock {}", packages.join(" ")),
            Self::Pdm => format!("pdm update --no-sync {}", packages.join(" ")),
            Self::Pipenv | Self::Pylock | Self::Pip => self.mend().to_owned(),
        }
    }

    /// The command that writes the file again.
    pub(super) fn mend(self) -> &'static str {
        match self {
            Self::Uv => "uv lock",
            Self::Poetry => "poetry lock",
            Self::Pdm => "pdm lock",
            Self::Pipenv => "pipenv lock",
            Self::Pylock => "uv pip compile --format pylock.toml -o pylock.toml pyproject.toml",
            Self::Pip => "pip freeze > requirements.txt",
        }
    }
}
