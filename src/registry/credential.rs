//! One login for a registry, in the form in which it is sent. Where logins are found is in `credentials`.

use std::fmt;

/// Text that shows in no message and no log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for a request's header or body, and nothing else.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// A way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    Basic {
        user: String,
        password: Secret,
    },
    /// An `OAuth2` refresh token, to be exchanged for access tokens.
    IdentityToken(Secret),
    /// A bearer token to be used as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// The user name for messages.
    pub(crate) fn user(&self) -> &str {
        match self {
            Self::Basic { user, .. } => user,
            Self::IdentityToken(_) => "the holder of an identity token",
            Self::RegistryToken(_) => "the holder of a registry token",
        }
    }
}
