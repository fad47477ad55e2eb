//! The port: one value under two names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::super::super::contract::{DEFAULT_PORT, PORTS};
use super::super::error::RunError;
use super::{Environment, Origin};

impl Environment {
    /// PORT is `$PORT`, else `$WARPDRIVE_HTTP_PORT`, else 8080, and both are set to it. What a file
    /// has changed since `before` comes first.
    pub(super) fn set_port(
        &mut self,
        before: Option<&BTreeMap<OsString, OsString>>,
    ) -> Result<(), RunError> {
        let changed = |name: &&str| match before {
            None => true,
            Some(before) => {
                self.value(name) != before.get(OsStr::new(name)).map(OsString::as_os_str)
            }
        };
        let name = PORTS
            .into_iter()
            .find(|name| changed(name) && self.value(name).is_some())
            .or_else(|| PORTS.into_iter().find(|name| self.value(name).is_some()));
        let (text, name, origin) = match name {
            Some(name) => (
                self.value(name)
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                name,
                self.variables[OsStr::new(name)].origin.clone(),
            ),
            None => (DEFAULT_PORT.to_string(), PORTS[0], Origin::Default),
        };
        self.port = text
            .trim()
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or(RunError::Port { name, value: text })?;
        for name in PORTS {
            self.set(name, self.port.to_string(), origin.clone());
        }
        Ok(())
    }
}
