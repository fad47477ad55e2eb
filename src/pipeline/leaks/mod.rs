//! No secret of the build in the image: every new layer is searched while it is written, and the
//! configuration before it is.
//!
//! A secret is looked for whole, and by each of its lines, values and quoted strings
//! ([`super::secrets`]): as they are, with the line ends of another system or of a string literal, in
//! base64 (RFC 4648, both alphabets) wherever in a longer text it may begin and however its lines are
//! wrapped, in hexadecimal, in UTF-16, and with any of its characters percent-encoded (RFC 3986). The same is
//! looked for in what a file holds ([`inside`]): compressed streams and archives ([`packed`]), and text of bytes
//! or with escapes ([`encoded`]), one in the other, up to a bound; what lies behind that is said. What was
//! encrypted or hashed, or compressed or encoded in another way, is not found, nor are secrets of fewer
//! than [`LEAST`] bytes: they would be found everywhere.
//!
//! A find is an error that names the file, never the bytes.

mod encoded;
mod inside;
mod kept;
mod packed;
mod search;
#[cfg(test)]
mod tests;
mod unwrap;

use std::io::Write as _;

use crate::audit::tokens_in;
use crate::oci::{Sha256Writer, sha256_hex};

use super::error::BuildError;
use super::request::Request;
use super::secrets::{
    Form, LEAST, Redactor, credentials_in, fields, forms, is_secret, parameters, passwords,
};
use super::unsearched::Unsearched;
use search::Patterns;
pub(super) use search::Search;

/// A password of an index's or a proxy's URL of the host is searched from this length on: a shorter one
/// may be in a file by chance.
const LEAST_PASSWORD: usize = 12;

/// Text without white space is looked for across the ends of lines from this length on.
const LEAST_WRAPPED: usize = 16;

/// The secrets of a build, ready to be looked for.
pub(super) struct Leaks {
    names: Vec<String>,
    /// The hash of all of them.
    fingerprint: String,
    plain: Option<Patterns>,
    /// Without white space and quotation marks.
    unwrapped: Option<Patterns>,
    /// Without percent-encoding.
    decoded: Option<Patterns>,
    redactor: Redactor,
    unsearched: Unsearched,
}

impl Leaks {
    pub(super) fn new(request: &Request) -> Self {
        Self::of(secrets(request), request.redactor()).noting(request)
    }

    /// What is not looked through is said where the build says it.
    fn noting(self, request: &Request) -> Self {
        Self {
            unsearched: request.unsearched.clone(),
            ..self
        }
    }

    /// What is looked for in what an S2I builder's scripts left: besides the secrets, the credentials
    /// in variables that the caller has passed to them.
    pub(super) fn of_scripts(request: &Request) -> Self {
        let mut all = secrets(request);
        let of_build = ("--build-env", &request.build_env);
        for (option, variables) in [of_build, ("-e or -E", &request.env)] {
            for (name, value) in variables {
                for word in credentials_in(value) {
                    all.push((format!("the login in {option} {name}"), word.into_bytes()));
                }
                for token in tokens_in(value.as_bytes()) {
                    all.push((format!("the token in {option} {name}"), token.to_vec()));
                }
                for word in parameters(value) {
                    all.push((format!("the login in {option} {name}"), word.into_bytes()));
                }
                let value = value.trim();
                if option == of_build.0 && is_secret(name) {
                    all.push((format!("the value of {option} {name}"), value.into()));
                }
            }
        }
        Self::of(all, request.redactor()).noting(request)
    }

    fn of(secrets: Vec<(String, Vec<u8>)>, redactor: Redactor) -> Self {
        let (mut plain, mut unwrapped, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = Vec::new();
        let mut all = Sha256Writer::new(std::io::sink());
        for (name, secret) in secrets {
            if secret.len() < LEAST {
                continue;
            }
            // A sink takes all.
            let _ = all.write_all(sha256_hex(&secret).as_bytes());
            let owner = names.len();
            names.push(name);
            let joined = unwrap::joined(&secret);
            if joined.len() >= LEAST_WRAPPED {
                unwrapped.push((joined, (owner, Form::Plain)));
            }
            for (form, bytes) in forms(&secret) {
                match form {
                    Form::Plain => {
                        if bytes.contains(&b' ') {
                            let pluses = bytes.iter().map(|&b| if b == b' ' { b'+' } else { b });
                            decoded.push((pluses.collect(), (owner, Form::UrlEncoded)));
                        }
                        decoded.push((bytes.clone(), (owner, Form::UrlEncoded)));
                        plain.push((bytes, (owner, form)));
                    }
                    Form::Utf16 => plain.push((bytes, (owner, form))),
                    Form::Base64 | Form::Hex => unwrapped.push((bytes, (owner, form))),
                    // Taken back before it is looked at.
                    Form::UrlEncoded => {}
                }
            }
        }
        Self {
            names,
            fingerprint: all.finish().1.to_string(),
            plain: Patterns::new(plain),
            unwrapped: Patterns::new(unwrapped),
            decoded: Patterns::new(decoded),
            redactor,
            unsearched: Unsearched::default(),
        }
    }

    /// A searcher for a layer that is being written; `None` without secrets.
    pub(super) fn search(&self) -> Option<Search<'_>> {
        (!self.names.is_empty()).then(|| Search::new(self))
    }

    /// Stands for what is looked for, in keys.
    fn fingerprint(&self) -> Option<&str> {
        (!self.names.is_empty()).then_some(self.fingerprint.as_str())
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Looks through a document that is not a layer.
    pub(super) fn check(&self, place: &str, bytes: &[u8]) -> Result<(), BuildError> {
        let Some(mut search) = self.search() else {
            return Ok(());
        };
        search.document(place, bytes);
        self.unsearched.add(search.notes());
        search.verdict()
    }

    /// A word for each secret that is too short to be looked for.
    pub(super) fn too_short(request: &Request) -> Vec<String> {
        request
            .secrets
            .iter()
            .filter(|secret| secret.contents.trim_ascii().len() < LEAST)
            .map(|secret| {
                format!(
                    "the secret `{}` has fewer than {LEAST} bytes: the image is not searched for it",
                    secret.id
                )
            })
            .collect()
    }
}

/// What is looked for in images of all kinds, with its name.
fn secrets(request: &Request) -> Vec<(String, Vec<u8>)> {
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    for secret in &request.secrets {
        let fields = fields(&secret.contents).into_iter();
        secrets.extend(fields.map(|(part, bytes)| (part.of(&secret.id), bytes)));
    }
    for (name, value) in &request.host_env {
        for word in passwords(value) {
            if word.len() >= LEAST_PASSWORD {
                secrets.push((format!("the password in {name}"), word.into_bytes()));
            }
        }
    }
    secrets
}
