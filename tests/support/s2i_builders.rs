//! S2I builder images like those of the field, written from the protocol and made by hand: a busybox
//! in one layer, scripts in another. Each is in a store in milliseconds.

use std::fs;
use std::path::Path;

use serde_json::json;
use warpdrive::store::Store;

use super::made::{Layer, Made};

/// What the busybox images have in `/bin`. There is no `tar`.
const APPLETS: [&str; 24] = [
    "sh",
    "cat",
    "cp",
    "mv",
    "rm",
    "ls",
    "mkdir",
    "chmod",
    "chown",
    "id",
    "env",
    "echo",
    "touch",
    "find",
    "grep",
    "sed",
    "ln",
    "test",
    "sleep",
    "head",
    "sha256sum",
    "true",
    "stat",
    "wc",
];

/// `run` of every builder here: says what it was given.
pub const RUN: &str = "#!/bin/sh\ncat /opt/app/result\n";

/// `assemble` of most builders here: the source goes to `/opt/app`, as with most builders.
pub const ASSEMBLE: &str = "#!/bin/sh
set -e
cp -R /tmp/src/. /opt/app/
id > /opt/app/result
env | grep -v -e HOSTNAME > /opt/app/environment || true
";

/// A root file system that a script can run in.
pub fn busybox() -> Layer {
    let binary = fs::read("/bin/busybox").expect("busybox-static: run `make test-deps`");
    let passwd = "root:x:0:0:root:/root:/bin/sh\n\
                  builder:x:1001:0::/opt/app:/bin/sh\n\
                  member:x:1002:1002::/home/member:/bin/sh\n";
    let group = "root:x:0:\nstaff:x:50:member,builder2\nmedia:x:44:member\n";
    let mut layer = Layer::new()
        .dir("bin", 0o755, (0, 0))
        .dir("etc", 0o755, (0, 0))
        .dir("opt", 0o755, (0, 0))
        .dir("opt/app", 0o775, (1001, 0))
        .dir("root", 0o700, (0, 0))
        .dir("tmp", 0o1777, (0, 0))
        .dir("usr", 0o755, (0, 0))
        .dir("usr/libexec", 0o755, (0, 0))
        .dir("usr/libexec/s2i", 0o755, (0, 0))
        .file("bin/busybox", 0o755, binary)
        .file("etc/passwd", 0o644, passwd)
        .file("etc/group", 0o644, group);
    for applet in APPLETS {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    layer
}

/// A builder in the making: busybox, scripts in `/usr/libexec/s2i`, user 1001, working directory
/// `/opt/app`.
pub struct Builder {
    made: Made,
    scripts: Layer,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    pub fn new() -> Self {
        let config = json!({
            "User": "1001",
            "WorkingDir": "/opt/app",
            "Env": ["PATH=/bin:/usr/bin", "STACK=box"],
            "Cmd": ["/usr/libexec/s2i/usage"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {
                "io.openshift.s2i.scripts-url": "image:///usr/libexec/s2i",
                "io.k8s.display-name": "Box 1",
                "io.openshift.tags": "builder,box",
            },
        });
        Self {
            made: Made::new(&config).layer(busybox()),
            scripts: Layer::new(),
        }
    }

    /// With `assemble` and `run` as above.
    pub fn plain() -> Self {
        Self::new().script("assemble", ASSEMBLE).script("run", RUN)
    }

    #[must_use]
    pub fn script(mut self, name: &str, text: &str) -> Self {
        let path = format!("usr/libexec/s2i/{name}");
        self.scripts = self.scripts.file(&path, 0o755, text);
        self
    }

    /// More files.
    #[must_use]
    pub fn files(mut self, add: impl FnOnce(Layer) -> Layer) -> Self {
        self.scripts = add(self.scripts);
        self
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.made.config.set_label(key, value);
        self
    }

    #[must_use]
    pub fn without_label(mut self, key: &str) -> Self {
        self.made.config.remove_label(key);
        self
    }

    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        self.made.config.set(key, value.into());
        self
    }

    /// Puts it into the store at `path` under this name.
    pub fn put(self, path: &Path, name: &str) {
        let store = Store::open(Some(path)).expect("a store");
        self.made.layer(self.scripts).put(&store, name);
    }

    /// Writes it as `docker save` does.
    pub fn archive(self, path: &Path, name: &str) {
        let made = self.made.layer(self.scripts);
        fs::write(path, made.docker_archive(name)).expect("an archive");
    }
}

/// A source tree of these files; a path that ends with `*` is executable.
pub fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    for (path, content) in files {
        let (path, mode) = match path.strip_suffix('*') {
            Some(path) => (path, 0o755),
            None => (*path, 0o644),
        };
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    directory
}
