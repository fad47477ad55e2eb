//! `warpdrive attach`: puts files that belong to an image beside it in the registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::oci::Reference;
use crate::pipeline::Transfers;
use crate::registry::{Attachment, Client, ClientOptions};

use super::access::RegistryArgs;
use super::context::Context;
use super::error::CommandError;
use super::platform::platform;
use super::progress::Console;
use super::push::{target, tell};

/// Attach files to an image of a registry: a list of parts, a report, a signature
///
/// What is attached is a manifest that refers to the image (an OCI artifact with a subject), in the image's
/// repository. The image stays as it is, and so does its digest. Where the registry keeps no list of what
/// refers to an image, it is kept under the tag `sha256-HEX`, as the specification says. The same files give
/// the same digest.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive attach registry.example.com/team/opal:1.2 sbom.spdx.json \\
    --artifact-type application/spdx+json --media-type application/spdx+json
  warpdrive attach registry.example.com/team/opal:1.2 \\
    report.html:text/html trace.json:application/json \\
    --artifact-type application/vnd.example.test-report
  warpdrive referrers registry.example.com/team/opal:1.2")]
pub(super) struct Args {
    /// Name of the image: REGISTRY/PATH[:TAG][@DIGEST]
    #[arg(value_name = "REF")]
    name: String,
    /// File, with its media type after a colon where it is another than that of --media-type
    #[arg(value_name = "FILE[:TYPE]", required = true)]
    files: Vec<String>,
    /// What is attached, as a media type
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    artifact_type: String,
    /// Media type of the files [default: application/octet-stream]
    #[arg(long, value_name = "TYPE", value_parser = media_type)]
    media_type: Option<String>,
    /// Annotation of the manifest; may be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = annotation)]
    annotation: Vec<(String, String)>,
    /// Attach to the image of this platform, where there are several: OS/ARCH[/VARIANT] [default: to the
    /// index itself]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// RFC 6838, "Naming Requirements".
fn media_type(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
    };
    match text.split_once('/') {
        Some((kind, name)) if is_name(kind) && is_name(name) => Ok(text.to_owned()),
        _ => Err("not a media type, as in application/spdx+json".into()),
    }
}

fn annotation(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".into()),
    }
}

/// `FILE[:TYPE]`; a file whose name has a colon is that file.
fn file(text: &str, default: &str) -> Result<(PathBuf, String), CommandError> {
    if Path::new(text).exists() {
        return Ok((text.into(), default.to_owned()));
    }
    match text.rsplit_once(':') {
        Some((path, given)) if given.contains('/') && Path::new(path).exists() => {
            let given = media_type(given)
                .map_err(|problem| CommandError::usage(format!("`{given}` is {problem}")))?;
            Ok((path.into(), given))
        }
        _ => Err(CommandError::usage(format!("there is no file {text}"))
            .with_hint("name a file, or a file and its media type: `report.html:text/html`")),
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let reference: Reference = target(&args.name, "attach")?;
    let default = args
        .media_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    let files = args
        .files
        .iter()
        .map(|text| file(text, default))
        .collect::<Result<Vec<_>, _>>()?;
    let store = context.open_store()?;
    let scratch = store.scratch("attach")?;
    let console = Console::new(&context.printer);
    let client = Client::new(ClientOptions {
        platform: args.platform.clone(),
        ..args.registry.options()
    })?;
    let attachment = Attachment {
        artifact_type: args.artifact_type.clone(),
        files,
        annotations: args.annotation.iter().cloned().collect::<BTreeMap<_, _>>(),
        directory: scratch.path().to_owned(),
    };
    let attached = client.attach(&reference, &attachment, &Transfers::new(&console))?;
    if args.json {
        context.printer.json(&json!({
            "subject": attached.subject,
            "reference": attached.report.reference,
            "digest": attached.manifest.digest(),
            "artifact_type": args.artifact_type,
            "files": attached.files,
            "uploaded": attached.report.uploaded,
            "uploaded_bytes": attached.report.uploaded_bytes,
            "mounted": attached.report.mounted,
            "existing": attached.report.existing,
        }));
        return Ok(0);
    }
    context
        .printer
        .progress(format!("attached to {}", attached.subject));
    tell(&attached.report, context);
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_a_type() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("a.json"), "{}").unwrap();
        std::fs::write(at("b:c"), "").unwrap();
        let read =
            |text: &str| file(text, "x/y").map(|(path, kind)| (path.display().to_string(), kind));
        assert_eq!(read(&at("a.json")).unwrap(), (at("a.json"), "x/y".into()));
        let typed = format!("{}:text/html", at("a.json"));
        assert_eq!(read(&typed).unwrap(), (at("a.json"), "text/html".into()));
        assert_eq!(read(&at("b:c")).unwrap(), (at("b:c"), "x/y".into()));
        for bad in ["none", "none:text/html", "a.json:te xt/html"] {
            assert!(read(&at(bad)).is_err(), "{bad}");
        }
        for (text, good) in [
            ("application/spdx+json", true),
            ("text", false),
            ("/json", false),
            ("a/b/c", false),
            ("a/b c", false),
        ] {
            assert_eq!(media_type(text).is_ok(), good, "{text}");
        }
    }
}
