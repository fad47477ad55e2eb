//! What of all that a build is given is secret, word by word; and output without it.

mod fields;
mod forms;
mod logins;
mod redactor;

pub(super) use fields::{LEAST, fields};
pub(super) use forms::{Form, forms};
pub(super) use logins::{credentials_in, is_secret, parameters, passwords, without_credentials};
pub(super) use redactor::Redactor;
