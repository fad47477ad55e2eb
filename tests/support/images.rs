//! A tiny image that owes nothing to warpdrive: busybox, packed by umoci.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{process, skopeo};

/// What the tiny image serves at `/`.
pub const PAGE: &str = "engage\n";

/// An OCI layout with one image, tagged `tiny`, that serves [`PAGE`] on `$PORT` as user 1001.
pub struct Tiny {
    directory: tempfile::TempDir,
}

impl Tiny {
    #[track_caller]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("root");
        for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "www"] {
            fs::create_dir_all(root.join(name)).expect("a directory of the image");
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
        fs::copy(process::tool("busybox"), root.join("bin/busybox")).expect("busybox");
        for applet in ["cat", "grep", "httpd", "id", "sh", "sleep", "touch"] {
            symlink("busybox", root.join("bin").join(applet)).expect("a link to busybox");
        }
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/:/bin/sh\ndefault:x:1001:0::/:/bin/sh\n",
        )
        .expect("passwd");
        fs::write(root.join("www/index.html"), PAGE).expect("a page");

        let layout = directory.path().join("oci");
        let image = format!("{}:tiny", layout.display());
        let umoci = || Command::new(process::tool("umoci"));
        process::run(umoci().arg("init").arg("--layout").arg(&layout));
        process::run(umoci().args(["new", "--image", &image]));
        process::run(
            umoci()
                .args(["insert", "--image", &image])
                .arg(&root)
                .arg("/"),
        );
        // The shell knows $PORT and ends on SIGTERM: the first process of a container ignores it otherwise.
        let server = "trap 'exit 0' TERM; httpd -f -p ${PORT:-8080} -h /www & wait $!";
        process::run(
            umoci()
                .args([
                    "config",
                    "--image",
                    &image,
                    "--config.user",
                    "1001",
                    "--config.workingdir",
                    "/www",
                ])
                .args([
                    "--config.env",
                    "PATH=/bin",
                    "--config.exposedports",
                    "8080/tcp",
                ])
                .args([
                    "--config.cmd",
                    "/bin/sh",
                    "--config.cmd",
                    "-c",
                    "--config.cmd",
                    server,
                ]),
        );
        Self { directory }
    }

    /// The OCI layout.
    pub fn layout(&self) -> PathBuf {
        self.directory.path().join("oci")
    }

    /// As a reference for skopeo and podman.
    pub fn reference(&self) -> String {
        format!("oci:{}:tiny", self.layout().display())
    }

    /// The image as a file for `docker load`, named `tiny:latest`.
    #[track_caller]
    pub fn docker_archive(&self) -> PathBuf {
        self.archive("docker-archive", "tiny:latest", "docker.tar")
    }

    #[track_caller]
    pub fn oci_archive(&self) -> PathBuf {
        self.archive("oci-archive", "tiny:latest", "oci.tar")
    }

    fn archive(&self, transport: &str, name: &str, file: &str) -> PathBuf {
        let path = self.directory.path().join(file);
        skopeo::copy(
            &self.reference(),
            &format!("{transport}:{}:{name}", path.display()),
        );
        path
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Default for Tiny {
    fn default() -> Self {
        Self::new()
    }
}
