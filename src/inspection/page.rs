//! The page of an image: one file, without a script and without a link that leads out of it.
//!
//! Its policy lets the browser load nothing, and apply its own style sheet only. The template escapes all
//! text; characters that would hide or reverse text are shown as escapes ([`crate::progress::shown`]).

use std::path::Path;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::audit::{Report, Severity, by_id};
use crate::progress::{human_size, shown};

use super::changes::Changes;
use super::contents::File;
use super::{Inspection, InspectionError, KINDS, map};

const STYLE: &str = include_str!("page.css");

/// Rows of a table, and characters of a cell: the page stays below some megabytes for every image.
const MAX_ROWS: usize = 1000;
const MAX_FILES: usize = 250;
const MAX_TEXT: usize = 400;

#[derive(Template)]
#[template(path = "page.html")]
struct Page {
    policy: String,
    style: &'static str,
    name: String,
    size: String,
    unpacked: String,
    file_count: usize,
    facts: Vec<(String, String)>,
    kinds: Vec<(&'static str, String)>,
    map_width: u64,
    map_height: u64,
    map: Vec<MapCell>,
    layers: Vec<LayerRow>,
    distributions: Vec<DistributionRow>,
    more_distributions: String,
    because: String,
    plan: Vec<(String, String)>,
    verdict: &'static str,
    findings: Vec<FindingRow>,
    more_findings: String,
    steps: Vec<StepRow>,
    longest: u64,
    phases: Vec<String>,
    files: Vec<Table>,
    changes: Option<ChangesPart>,
    release: &'static str,
}

struct MapCell {
    number: usize,
    kind: &'static str,
    size: String,
    x: u64,
    y: u64,
    width: u64,
    height: u64,
    title: String,
    label: String,
}

struct LayerRow {
    number: usize,
    kind: &'static str,
    size: String,
    made_by: String,
    shared: String,
    digest: String,
}

struct DistributionRow {
    name: String,
    version: String,
    size: String,
    files: usize,
    licence: String,
    layer: usize,
}

struct FindingRow {
    severity: &'static str,
    grave: bool,
    title: &'static str,
    message: String,
    path: String,
    explanation: &'static str,
    remedy: &'static str,
    place: String,
}

struct StepRow {
    name: String,
    time: String,
    milliseconds: u64,
}

struct Table {
    title: String,
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    more: String,
}

struct ChangesPart {
    against: String,
    words: String,
    tables: Vec<Table>,
}

/// The page of an image, with the changes since another image.
pub fn page(of: &Inspection, against: Option<&Inspection>) -> Result<String, InspectionError> {
    let notes = of.notes.clone().unwrap_or_default();
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let page = Page {
        policy: format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'"
        ),
        style: STYLE,
        name: text(&of.name),
        size: human_size(of.layers.iter().map(|layer| layer.size).sum()),
        unpacked: human_size(of.contents.size()),
        file_count: of.contents.files.len(),
        facts: facts(of),
        kinds: kinds(of),
        map_width: map::WIDTH,
        map_height: map::HEIGHT,
        map: cells(of),
        layers: layer_rows(of),
        distributions: distribution_rows(of),
        more_distributions: more(of.distributions.len(), MAX_ROWS),
        because: text(&notes.because),
        plan: clipped_pairs(&of.plan),
        verdict: if of.audit.is_refused() {
            "refused"
        } else {
            "passed"
        },
        findings: finding_rows(&of.audit),
        more_findings: more(of.audit.findings.len(), MAX_ROWS),
        steps: steps(&notes.timings_ms),
        longest: notes.timings_ms.values().copied().max().unwrap_or(0).max(1),
        phases: notes
            .phases
            .iter()
            .map(|phase| {
                let name = text(&phase.phase);
                if phase.hit {
                    format!("{name}: not run, all was as it had been")
                } else {
                    format!("{name}: run, because {}", text(&phase.because.join(", ")))
                }
            })
            .collect(),
        files: files(of),
        changes: against.map(|against| changes(against, of)),
        release: env!("CARGO_PKG_VERSION"),
    };
    page.render().map_err(|error| InspectionError::Page {
        name: of.name.clone(),
        problem: error.to_string(),
    })
}

/// Text that hides nothing, of bounded length. The template escapes it.
fn text(raw: &str) -> String {
    let short: String = raw.chars().take(MAX_TEXT).collect();
    let cut = short.len() < raw.len();
    let mut safe = shown(&short).into_owned();
    if cut {
        safe.push('…');
    }
    safe
}

fn path_text(path: &Path) -> String {
    text(&format!("/{}", path.to_string_lossy()))
}

fn more(all: usize, told: usize) -> String {
    match all.saturating_sub(told) {
        0 => String::new(),
        rest => format!("and {rest} more"),
    }
}

fn clipped_pairs(pairs: &[(String, String)]) -> Vec<(String, String)> {
    let pairs = pairs.iter().take(MAX_ROWS);
    pairs.map(|(key, value)| (text(key), text(value))).collect()
}

fn facts(of: &Inspection) -> Vec<(String, String)> {
    let config = &of.image.config;
    let annotations = of.image.manifest.annotations().as_ref();
    let annotation = |key: &str| {
        let key = format!("org.opencontainers.image.{key}");
        annotations
            .and_then(|all| all.get(&key))
            .cloned()
            .unwrap_or_default()
    };
    [
        ("digest", of.image.descriptor.digest().to_string()),
        (
            "platform",
            format!("{}/{}", config.os(), config.architecture()),
        ),
        ("created", annotation("created")),
        ("base", annotation("base.name")),
        ("source", annotation("source")),
        ("revision", annotation("revision")),
        ("runs as", config.user().to_owned()),
        ("in", config.working_dir().to_owned()),
        ("entry point", config.words("Entrypoint").join(" ")),
        ("command", config.words("Cmd").join(" ")),
        ("ports", config.exposed_ports().join(", ")),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(key, value)| (key.to_owned(), text(&value)))
    .collect()
}

fn kinds(of: &Inspection) -> Vec<(&'static str, String)> {
    let mut kinds = Vec::new();
    for kind in KINDS {
        let own: Vec<u64> = of
            .layers
            .iter()
            .filter(|layer| layer.kind == kind)
            .map(|layer| layer.size)
            .collect();
        if !own.is_empty() {
            kinds.push((kind, human_size(own.iter().sum())));
        }
    }
    kinds
}

fn cells(of: &Inspection) -> Vec<MapCell> {
    let cells = map::cells(&of.layers).into_iter();
    cells
        .map(|cell| {
            let layer = &of.layers[cell.layer];
            let size = human_size(layer.size);
            // Seven units for a letter, roughly.
            let room = usize::try_from(cell.width.saturating_sub(12) / 7).unwrap_or(0);
            let label = if cell.height < 20 || room < 6 {
                String::new()
            } else {
                let line = format!("{size} {}", text(&layer.made_by));
                line.chars().take(room).collect()
            };
            MapCell {
                number: cell.layer + 1,
                kind: layer.kind,
                x: cell.x,
                y: cell.y,
                width: cell.width,
                height: cell.height,
                title: format!(
                    "{}. {}, {size}: {}",
                    cell.layer + 1,
                    layer.kind,
                    text(&layer.made_by)
                ),
                label,
                size,
            }
        })
        .collect()
}

fn layer_rows(of: &Inspection) -> Vec<LayerRow> {
    let layers = of.layers.iter().enumerate();
    layers
        .map(|(index, layer)| LayerRow {
            number: index + 1,
            kind: layer.kind,
            size: human_size(layer.size),
            made_by: text(&layer.made_by),
            shared: text(&match layer.shared.as_slice() {
                [] => String::new(),
                names if names.len() <= 4 => names.join(", "),
                names => format!("{} and {} more", names[..4].join(", "), names.len() - 4),
            }),
            digest: layer.digest.chars().take(19).collect(),
        })
        .collect()
}

fn distribution_rows(of: &Inspection) -> Vec<DistributionRow> {
    let found = of.distributions.iter().take(MAX_ROWS);
    found
        .map(|found| DistributionRow {
            name: text(&found.name),
            version: text(&found.version),
            size: human_size(found.size),
            files: found.files,
            licence: text(&found.licence),
            layer: found.layer + 1,
        })
        .collect()
}

fn finding_rows(report: &Report) -> Vec<FindingRow> {
    let findings = report.findings.iter().take(MAX_ROWS);
    findings
        .map(|finding| {
            let rule = by_id(finding.rule);
            let place = report.layer(finding).map(|(number, _)| {
                let others = match finding.count.saturating_sub(1) {
                    0 => String::new(),
                    rest => format!(", and at {rest} more paths"),
                };
                format!("in layer {number}{others}")
            });
            FindingRow {
                severity: finding.severity.word(),
                grave: finding.severity >= Severity::Medium,
                title: rule.map_or(finding.rule, |rule| rule.title),
                message: text(&finding.message),
                path: text(finding.path.as_deref().unwrap_or_default()),
                explanation: rule.map_or("", |rule| rule.explanation),
                remedy: rule.map_or("", |rule| rule.remedy),
                place: place.unwrap_or_default(),
            }
        })
        .collect()
}

/// In the order of the build, if the step is known.
fn steps(timings: &std::collections::BTreeMap<String, u64>) -> Vec<StepRow> {
    const ORDER: [&str; 9] = [
        "collect",
        "plan",
        "base",
        "dependencies",
        "assets",
        "application",
        "commit",
        "smoke",
        "ship",
    ];
    let place = |name: &str| {
        ORDER
            .iter()
            .position(|known| *known == name)
            .unwrap_or(ORDER.len())
    };
    let mut steps: Vec<(&String, &u64)> = timings.iter().take(MAX_ROWS).collect();
    steps.sort_by_key(|(name, _)| (place(name), (*name).clone()));
    steps
        .into_iter()
        .map(|(name, milliseconds)| StepRow {
            name: text(name),
            time: seconds(*milliseconds),
            milliseconds: *milliseconds,
        })
        .collect()
}

fn seconds(milliseconds: u64) -> String {
    if milliseconds < 1000 {
        format!("{milliseconds} ms")
    } else {
        format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100)
    }
}

fn files(of: &Inspection) -> Vec<Table> {
    let mut all: Vec<(&Path, &File)> = of
        .contents
        .files
        .iter()
        .map(|(path, file)| (path.as_path(), file))
        .collect();
    all.sort_by_key(|(path, file)| (std::cmp::Reverse(file.size), *path));
    let kind = |file: &File| of.layers.get(file.layer).map_or("", |layer| layer.kind);
    let mut tables = Vec::new();
    let mut add = |title: String, found: Vec<(&Path, &File)>| {
        tables.push(Table {
            title,
            header: vec!["Path", "Size", "Kind", "Layer"],
            more: more(found.len(), MAX_FILES),
            rows: found
                .iter()
                .take(MAX_FILES)
                .map(|(path, file)| {
                    vec![
                        path_text(path),
                        human_size(file.size),
                        kind(file).to_owned(),
                        (file.layer + 1).to_string(),
                    ]
                })
                .collect(),
        });
    };
    let own: Vec<_> = all
        .iter()
        .filter(|(_, file)| kind(file) == "application")
        .copied()
        .collect();
    add(format!("Of the application, {} files", own.len()), own);
    add("All, the largest first".to_owned(), all);
    if of.contents.cut
        && let Some(table) = tables.last_mut()
    {
        "and more than are counted".clone_into(&mut table.more);
    }
    tables
}

fn changes(before: &Inspection, after: &Inspection) -> ChangesPart {
    let found = Changes::between(before, after);
    let mut tables = Vec::new();
    let mut add =
        |title: String, header: Vec<&'static str>, count: usize, rows: Vec<Vec<String>>| {
            if count > 0 {
                let more = more(count, rows.len());
                tables.push(Table {
                    title,
                    header,
                    rows,
                    more,
                });
            }
        };
    let rows = found.distributions.iter().take(MAX_ROWS).map(|change| {
        let version = |version: &Option<String>| version.as_deref().map_or("—".to_owned(), text);
        vec![
            text(&change.name),
            version(&change.before),
            version(&change.after),
        ]
    });
    add(
        format!("Distributions, {}", found.distributions.len()),
        vec!["Name", "Before", "Now"],
        found.distributions.len(),
        rows.collect(),
    );
    let rows = found.configuration.iter().take(MAX_ROWS);
    let rows = rows.map(|(key, old, new)| vec![text(key), text(old), text(new)]);
    add(
        format!("Configuration and plan, {}", found.configuration.len()),
        vec!["What", "Before", "Now"],
        found.configuration.len(),
        rows.collect(),
    );
    for (title, paths) in [
        ("Files added", &found.added),
        ("Files changed", &found.changed),
        ("Files removed", &found.removed),
    ] {
        let rows = paths
            .iter()
            .take(MAX_FILES)
            .map(|path| vec![path_text(path)]);
        add(
            format!("{title}, {}", paths.len()),
            vec!["Path"],
            paths.len(),
            rows.collect(),
        );
    }
    ChangesPart {
        against: text(&before.name),
        words: format!(
            "{} layers ({}) are the same, {} ({}) are new, {} went.",
            found.same_layers,
            human_size(found.same_bytes),
            found.new_layers,
            human_size(found.new_bytes),
            found.gone_layers
        ),
        tables,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_short_and_hides_nothing() {
        assert_eq!(text("plain <b>"), "plain <b>");
        assert!(text(&"x".repeat(9000)).chars().count() <= MAX_TEXT + 1);
        assert!(!text("a\u{202e}b").contains('\u{202e}'));
    }

    /// A style sheet that closes its element would escape from the policy, too.
    #[test]
    fn the_style_stays_in_its_element() {
        assert!(!STYLE.contains("</"));
        assert!(!STYLE.contains("url("));
    }
}
