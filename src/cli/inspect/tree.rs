//! An image on a terminal: a tree of its layers, and tables of its parts. Lines fit.

use serde_json::json;

use crate::inspection::{self, KINDS, Layer};
use crate::progress::shown;
use crate::store::{Image, Store};

use super::super::error::CommandError;
use super::super::images::{created, platform, size};
use super::super::printer::{Printer, human_size};
use super::super::progress::meanwhile;
use super::super::width;

/// Layers of a kind that are shown one by one; `--layers` shows all.
const TOLD: usize = 12;

/// The facts about layers that are not here.
pub(super) fn layers_of_registry(image: &Image, history: &[String]) -> Vec<Layer> {
    let layers = image.manifest.layers().iter().enumerate();
    layers
        .map(|(index, layer)| Layer {
            digest: layer.digest().to_string(),
            size: layer.size(),
            kind: KINDS[0],
            made_by: history.get(index).cloned().unwrap_or_default(),
            shared: Vec::new(),
        })
        .collect()
}

/// The image, its layers by kind, and how it is started.
pub(super) fn whole(names: &[String], image: &Image, layers: &[Layer], printer: &Printer) {
    let columns = width::of(std::io::stdout());
    let say = |line: &str| {
        let line = shown(line);
        printer.result(match columns {
            Some(columns) => width::cut(&line, columns),
            None => line.into_owned(),
        });
    };
    say(&names.join(", "));
    say(&format!("├─ {}", image.descriptor.digest()));
    say(&format!(
        "├─ {}, {}, {} layers, made {}",
        human_size(size(image)),
        platform(image),
        layers.len(),
        created(image).map_or_else(
            || "at a time that it does not say".to_owned(),
            |time| time.chars().take(10).collect()
        )
    ));
    for kind in KINDS {
        let own: Vec<&Layer> = layers.iter().filter(|layer| layer.kind == kind).collect();
        if own.is_empty() {
            continue;
        }
        let total: u64 = own.iter().map(|layer| layer.size).sum();
        say(&format!("├─ {kind:<14}{:>9}", human_size(total)));
        let more = own.len().saturating_sub(TOLD);
        for (index, layer) in own.iter().take(TOLD).enumerate() {
            let branch = if index + 1 == own.len() {
                "└─"
            } else {
                "├─"
            };
            say(&format!("│  {branch} {}", layer_line(layer)));
        }
        if more > 0 {
            say(&format!("│  └─ and {more} more: --layers"));
        }
    }
    let config = &image.config;
    let command = [config.words("Entrypoint"), config.words("Cmd")].concat();
    say(&format!(
        "├─ runs as {} in {}",
        user(config.user()),
        config.working_dir()
    ));
    let ports = config.exposed_ports();
    if !ports.is_empty() {
        say(&format!("├─ port {}", ports.join(", ")));
    }
    say(&format!("└─ {}", super::shell_words(&command)));
}

fn user(user: &str) -> &str {
    if user.is_empty() { "root" } else { user }
}

fn layer_line(layer: &Layer) -> String {
    let shared = match layer.shared.len() {
        0 => String::new(),
        1 => format!("  (also in {})", layer.shared[0]),
        number => format!("  (also in {number} images)"),
    };
    format!(
        "{} {:>9}  {}{shared}",
        short(&layer.digest),
        human_size(layer.size),
        layer.made_by
    )
}

fn short(digest: &str) -> String {
    let hex = digest.split_once(':').map_or(digest, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

/// All layers, a line each.
pub(super) fn layers(layers: &[Layer], printer: &Printer) {
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| {
            vec![
                short(&layer.digest),
                human_size(layer.size),
                layer.kind.to_owned(),
                shown(&layer.made_by).into_owned(),
                shown(&layer.shared.join(", ")).into_owned(),
            ]
        })
        .collect();
    printer.table(&["LAYER", "SIZE", "KIND", "MADE BY", "SHARED WITH"], &rows);
}

/// The distributions, a line each.
pub(super) fn packages(
    store: &Store,
    name: &str,
    image: &Image,
    as_json: bool,
    printer: &Printer,
) -> Result<(), CommandError> {
    let found = meanwhile(printer, super::READING, || {
        inspection::packages(store, name, image)
    })?;
    if as_json {
        let objects: Vec<_> = found
            .iter()
            .map(|one| {
                json!({"name": one.name, "version": one.version, "licence": one.licence,
                    "size": one.size, "files": one.files, "layer": one.layer + 1})
            })
            .collect();
        printer.json(&json!({"name": name, "packages": objects}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|one| {
            vec![
                shown(&one.name).into_owned(),
                shown(&one.version).into_owned(),
                human_size(one.size),
                shown(&one.licence).into_owned(),
            ]
        })
        .collect();
    printer.table(&["NAME", "VERSION", "SIZE", "LICENCE"], &rows);
    Ok(())
}

/// The start plan, a line for each thing.
pub(super) fn plan(rows: &[(String, String)], printer: &Printer) {
    let widest = rows.iter().map(|(key, _)| key.chars().count()).max();
    let indent = widest.unwrap_or(0).min(40);
    for (key, value) in rows {
        let line = format!("{key:<indent$}  {value}");
        printer.prose(&shown(&line), indent + 2);
    }
}
