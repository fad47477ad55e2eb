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

    /// Writes the settings of pip and npm that it finds in variables to their files, as builders of the
    /// field do.
    pub fn configuring() -> Self {
        Self::new()
            .script(
                "assemble",
                "#!/bin/sh
set -e
cp -R /tmp/src/. /opt/app/
env > /opt/app/environment
[ -z \"$PIP_INDEX_URL\" ] || printf '[global]\\nindex-url = %s\\n' \"$PIP_INDEX_URL\" > /opt/app/pip.ini
[ -z \"$HTTPS_PROXY\" ] || echo \"https-proxy=$HTTPS_PROXY\" > /opt/app/.npmrc
[ -z \"$NPM_TOKEN\" ] || echo \"//registry.example/:_authToken=$NPM_TOKEN\" >> /opt/app/.npmrc
[ -z \"$GREETING\" ] || echo \"$GREETING\" > /opt/app/greeting
rm /opt/app/environment
echo done > /opt/app/result
",
            )
            .script("run", RUN)
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

    pub fn user(&self) -> &str {
        self.made.config.user()
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

/// `assemble` in the manner of the field's Python builders: a virtual environment in
/// `/opt/app-root`, the source beside it, requirements by pip, permissions for any user at the end.
const PYTHON_ASSEMBLE: &str = r#"#!/bin/bash
set -e
shopt -s dotglob
echo "---> Installing application source ..."
mv /tmp/src/* "$HOME/src"
cd "$HOME/src"
if [[ -f requirements.txt ]]; then
  echo "---> Installing dependencies ..."
  python -m pip install --no-cache-dir --quiet -r requirements.txt
fi
if [[ -f manage.py && -z "$DISABLE_COLLECTSTATIC" ]]; then
  echo "---> Collecting Django static files ..."
  python manage.py collectstatic --noinput
fi
fix-permissions "$HOME"
"#;

const PYTHON_RUN: &str = r#"#!/bin/bash
cd "$HOME/src"
if [[ -n "$APP_SCRIPT" ]]; then
  exec "$APP_SCRIPT"
fi
if [[ -n "$APP_MODULE" ]]; then
  exec gunicorn --bind=0.0.0.0:8080 "$APP_MODULE"
fi
exec python -u "${APP_FILE:-app.py}"
"#;

/// Makes what lies in a directory writable for its group.
const FIX_PERMISSIONS: &str = r#"#!/bin/sh
for place in "$@"; do
  find -L "$place" ! -gid 0 -exec chgrp 0 {} + 2> /dev/null
  find -L "$place" -user "$(id -u)" ! -perm -g+rw -exec chmod g+rw {} + 2> /dev/null
  find -L "$place" -user "$(id -u)" -type d ! -perm -g+x -exec chmod g+x {} + 2> /dev/null
done
exit 0
"#;

/// pip as it is unpacked from its wheel, which is fetched once.
fn pip() -> Vec<(String, Vec<u8>)> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pip-24.3.1");
    let lock = fs::File::create(place.with_extension("lock")).expect("a lock");
    lock.lock().expect("a lock");
    if !place.join("pip").is_dir() {
        let _ = fs::remove_dir_all(&place);
        super::process::run(
            std::process::Command::new("python3")
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--no-compile",
                ])
                .args(["--target"])
                .arg(&place)
                .arg("pip==24.3.1"),
        );
    }
    let mut files = Vec::new();
    let mut pending = vec![place.join("pip")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).expect("pip") {
            let path = entry.expect("pip").path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(&place).expect("below").display();
                files.push((name.to_string(), fs::read(&path).expect("pip")));
            }
        }
    }
    files.sort();
    files
}

/// Adds a builder like the field's Python ones to a store that has the Debian image `base`.
pub fn python(store: &Path, base: &str, name: &str) {
    use warpdrive::oci::{
        Descriptor, HistoryEntry, MediaType, descriptor, sha256, to_canonical_json,
    };
    let store = Store::open(Some(store)).expect("a store");
    let image = store.image(base).expect("a store").expect("the base");
    let owner = (1001, 0);
    let mut layer = Layer::new()
        .dir("opt", 0o755, (0, 0))
        .dir("opt/app-root", 0o775, owner)
        .dir("opt/app-root/src", 0o775, owner)
        .dir("opt/app-root/bin", 0o775, owner)
        .dir("opt/app-root/lib", 0o775, owner)
        .dir("opt/app-root/lib/python3.11", 0o775, owner)
        .dir("opt/app-root/lib/python3.11/site-packages", 0o775, owner)
        .owned(
            "opt/app-root/pyvenv.cfg",
            0o664,
            owner,
            "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n",
        )
        .symlink("opt/app-root/bin/python", "/usr/bin/python3.11")
        .symlink("opt/app-root/bin/python3", "python")
        .dir("usr/libexec", 0o755, (0, 0))
        .dir("usr/libexec/s2i", 0o755, (0, 0))
        .file("usr/libexec/s2i/assemble", 0o755, PYTHON_ASSEMBLE)
        .file("usr/libexec/s2i/run", 0o755, PYTHON_RUN)
        .file("usr/bin/fix-permissions", 0o755, FIX_PERMISSIONS);
    let mut directories = std::collections::BTreeSet::new();
    for (path, content) in pip() {
        let path = format!("opt/app-root/lib/python3.11/site-packages/{path}");
        if path.len() > 99 {
            continue;
        }
        let parent = Path::new(&path)
            .parent()
            .expect("a parent")
            .display()
            .to_string();
        if directories.insert(parent.clone()) {
            layer = layer.dir(&parent, 0o775, owner);
        }
        layer = layer.owned(&path, 0o664, owner, content);
    }
    let bytes = layer.bytes();
    let mut config = image.config.clone();
    for key in ["name", "python", "kind"] {
        config.remove_label(&format!("io.warpdrive.builder.{key}"));
    }
    config.set_label("io.openshift.s2i.scripts-url", "image:///usr/libexec/s2i");
    config.set("User", json!("1001"));
    config.set("WorkingDir", json!("/opt/app-root/src"));
    config.set("Cmd", json!(["/usr/libexec/s2i/usage"]));
    config.set_env("HOME", "/opt/app-root");
    config.set_env(
        "PATH",
        "/opt/app-root/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    let history = HistoryEntry {
        created: "1980-01-01T00:00:01Z".into(),
        created_by: "made by hand".into(),
        empty_layer: false,
    };
    config.push_layer(&sha256(&bytes), &history);
    let (digest, size) = store.put_blob(&bytes).expect("a blob");
    let mut layers: Vec<Descriptor> = image.manifest.layers().clone();
    layers.push(descriptor(MediaType::ImageLayer, digest, size));
    let (digest, size) = store.put_blob(&config.to_bytes()).expect("a blob");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = to_canonical_json(&json!({
        "schemaVersion": 2, "mediaType": media_type,
        "config": descriptor(MediaType::ImageConfig, digest, size), "layers": layers,
    }))
    .unwrap();
    let (digest, size) = store.put_blob(&manifest).expect("a blob");
    store
        .tag(name, &descriptor(media_type, digest, size))
        .expect("a name");
}
