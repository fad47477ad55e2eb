//! What an S2I image says about itself in labels and, in old images, in variables.

use crate::oci::ImageConfig;

use super::mappings::{Artifact, absolute};
use super::scripts::ScriptsUrl;
use super::{S2iError, shown};

pub const SCRIPTS_URL: &str = "io.openshift.s2i.scripts-url";
pub const SCRIPTS_URL_OLD: &str = "io.s2i.scripts-url";
/// A variable of the image.
pub const SCRIPTS_URL_VARIABLE: &str = "STI_SCRIPTS_URL";
pub const DESTINATION: &str = "io.openshift.s2i.destination";
pub const DESTINATION_OLD: &str = "io.s2i.destination";
/// A variable of the image.
pub const DESTINATION_VARIABLE: &str = "STI_LOCATION";
pub const ASSEMBLE_USER: &str = "io.openshift.s2i.assemble-user";
pub const ASSEMBLE_RUNTIME_USER: &str = "io.openshift.s2i.assemble-runtime-user";
/// Separated by `;`.
pub const ASSEMBLE_INPUT_FILES: &str = "io.openshift.s2i.assemble-input-files";
/// The prefix of the labels that a build writes.
pub const BUILD_PREFIX: &str = "io.openshift.s2i.build.";
pub const DISPLAY_NAME: &str = "io.k8s.display-name";
pub const DESCRIPTION: &str = "io.k8s.description";
/// The default directory for source, scripts and artifacts.
pub const DEFAULT_DESTINATION: &str = "/tmp";
/// Most bytes of names and values of the labels that a build writes.
pub const MAX_LABELS: usize = 10_240;

/// The labels of one image that the protocol knows; empty ones count as missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageLabels {
    /// Where this image's scripts are.
    pub scripts_url: Option<ScriptsUrl>,
    /// Absolute, without `.` and `..`.
    pub destination: Option<String>,
    pub assemble_user: Option<String>,
    pub assemble_runtime_user: Option<String>,
    pub assemble_input_files: Vec<Artifact>,
}

/// Whether an image says where its S2I scripts are.
pub fn has_scripts(config: &ImageConfig) -> bool {
    first(
        config,
        &[SCRIPTS_URL, SCRIPTS_URL_OLD],
        SCRIPTS_URL_VARIABLE,
    )
    .is_some()
}

/// The first that is not empty: labels, then a variable. Also returns where it was found.
fn first(
    config: &ImageConfig,
    labels: &[&'static str],
    variable: &'static str,
) -> Option<(&'static str, String)> {
    labels
        .iter()
        .filter_map(|key| Some((*key, config.label(key)?.trim().to_owned())))
        .chain(
            config
                .env()
                .into_iter()
                .filter(|(name, _)| name == variable)
                .map(|(_, value)| (variable, value.trim().to_owned())),
        )
        .find(|(_, value)| !value.is_empty())
}

impl ImageLabels {
    /// Reads the labels of the image with the name `image`.
    pub fn read(config: &ImageConfig, image: &str) -> Result<Self, S2iError> {
        let wrong = |label: &'static str, value: &str, problem: String| S2iError::Label {
            label,
            image: image.to_owned(),
            value: shown(value),
            problem,
        };
        let scripts = [SCRIPTS_URL, SCRIPTS_URL_OLD];
        let scripts_url = match first(config, &scripts, SCRIPTS_URL_VARIABLE) {
            Some((label, value)) => Some(
                ScriptsUrl::from_image(&value).map_err(|problem| wrong(label, &value, problem))?,
            ),
            None => None,
        };
        let destinations = [DESTINATION, DESTINATION_OLD];
        let destination = match first(config, &destinations, DESTINATION_VARIABLE) {
            Some((label, value)) => {
                Some(absolute(&value).map_err(|problem| wrong(label, &value, problem))?)
            }
            None => None,
        };
        let text = |label| {
            config
                .label(label)
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let mut assemble_input_files = Vec::new();
        if let Some(files) = text(ASSEMBLE_INPUT_FILES) {
            for part in files.split(';').map(str::trim).filter(|p| !p.is_empty()) {
                let artifact = Artifact::parse(part)
                    .map_err(|problem| wrong(ASSEMBLE_INPUT_FILES, &files, problem))?;
                assemble_input_files.push(artifact);
            }
        }
        Ok(Self {
            scripts_url,
            destination,
            assemble_user: text(ASSEMBLE_USER),
            assemble_runtime_user: text(ASSEMBLE_RUNTIME_USER),
            assemble_input_files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(labels: &[(&str, &str)], env: &[(&str, &str)]) -> ImageConfig {
        let mut config = ImageConfig::new("linux", "amd64");
        for (key, value) in labels {
            config.set_label(key, value);
        }
        for (name, value) in env {
            config.set_env(name, value);
        }
        config
    }

    #[test]
    fn the_newest_words_win() {
        let all = image(
            &[
                (SCRIPTS_URL, "image:///new"),
                (SCRIPTS_URL_OLD, "image:///old"),
            ],
            &[(SCRIPTS_URL_VARIABLE, "image:///oldest")],
        );
        let url = |config: &ImageConfig| match ImageLabels::read(config, "b").unwrap().scripts_url {
            Some(ScriptsUrl::Image(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(url(&all), "/new");
        let old = image(
            &[(SCRIPTS_URL, ""), (SCRIPTS_URL_OLD, "image:///old")],
            &[(SCRIPTS_URL_VARIABLE, "image:///oldest")],
        );
        assert_eq!(url(&old), "/old");
        let oldest = image(&[], &[(SCRIPTS_URL_VARIABLE, "image:///oldest")]);
        assert_eq!(url(&oldest), "/oldest");
        assert!(has_scripts(&oldest));
        assert!(!has_scripts(&image(&[(SCRIPTS_URL, " ")], &[])));
    }

    #[test]
    fn an_image_cannot_name_places_outside_of_itself() {
        for (label, value) in [
            (DESTINATION, "/tmp/../../etc"),
            (DESTINATION, "tmp"),
            (DESTINATION, "/"),
            (DESTINATION, "/proc/x"),
            (DESTINATION, "/tmp\n"),
            (DESTINATION, "/tmp/\u{1b}[2J"),
            (SCRIPTS_URL, "file:///etc"),
            (SCRIPTS_URL, "image://../x"),
            (SCRIPTS_URL, "ext::sh -c x"),
            (ASSEMBLE_INPUT_FILES, "relative"),
            (ASSEMBLE_INPUT_FILES, "/a:/abs"),
            (ASSEMBLE_INPUT_FILES, "/a:../up"),
        ] {
            let config = image(&[(label, value)], &[]);
            let read = ImageLabels::read(&config, "b");
            if label == DESTINATION && value.ends_with('\n') {
                // Blanks around it are not a part of it.
                assert_eq!(read.unwrap().destination.as_deref(), Some("/tmp"));
                continue;
            }
            let error = read.unwrap_err().to_string();
            assert!(error.contains(label), "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }
}
