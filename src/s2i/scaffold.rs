//! The files that a new S2I builder image begins with (`s2i create`).

/// Path, whether it may be executed, content. `NAME` stands for the image's name.
const FILES: &[(&str, bool, &str)] = &[
    ("Dockerfile", false, include_str!("scaffold/Dockerfile")),
    ("Makefile", false, include_str!("scaffold/Makefile")),
    ("README.md", false, include_str!("scaffold/README.md")),
    ("s2i/bin/assemble", true, include_str!("scaffold/assemble")),
    ("s2i/bin/run", true, include_str!("scaffold/run")),
    (
        "s2i/bin/save-artifacts",
        true,
        include_str!("scaffold/save-artifacts"),
    ),
    ("s2i/bin/usage", true, include_str!("scaffold/usage")),
    ("test/run", true, include_str!("scaffold/test-run")),
    (
        "test/test-app/index.html",
        false,
        include_str!("scaffold/index.html"),
    ),
];

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative.
    pub path: &'static str,
    pub executable: bool,
    pub content: String,
}

/// The files for a builder image of this name.
pub fn files(name: &str) -> Vec<File> {
    FILES
        .iter()
        .map(|(path, executable, content)| File {
            path,
            executable: *executable,
            content: content.replace("NAME", name),
        })
        .collect()
}
