//! Servers of git repositories: one that speaks HTTPS and asks for a login, and a real `sshd`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::process;

/// `git http-backend` behind TLS, for what asks with `user:s3cretpw`.
///
/// `/mute.git` is answered with 200 and no certificate's fault, `/app.git` with the repository.
const HTTPS: &str = r#"
import base64, http.server, os, ssl, subprocess, sys

root, certificate, key = sys.argv[1:4]
LOGIN = "Basic " + base64.b64encode(b"user:s3cretpw").decode()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if self.headers.get("authorization") != LOGIN:
            self.send_response(401)
            self.send_header("www-authenticate", 'Basic realm="x"')
            self.send_header("content-length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding") or "",
            "GIT_PROTOCOL": self.headers.get("git-protocol") or "",
            "REMOTE_USER": "user",
            "REMOTE_ADDR": "127.0.0.1",
        }
        said = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
        head, _, content = said.stdout.partition(b"\r\n\r\n")
        status = 200
        headers = []
        for line in head.decode().splitlines():
            name, _, value = line.partition(": ")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value))
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// The repositories of a directory over HTTPS, with a certificate for `localhost` of an authority that
/// nobody knows.
pub struct HttpsServer {
    process: Child,
    port: u16,
    place: tempfile::TempDir,
}

impl HttpsServer {
    #[track_caller]
    pub fn start(repositories: &Path) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let openssl = |arguments: &[&str]| {
            process::run(
                Command::new(process::tool("openssl"))
                    .current_dir(place.path())
                    .args(arguments),
            );
        };
        let new = [
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let authority = [
            "-x509",
            "-days",
            "2",
            "-subj",
            "/CN=Test authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        openssl(&[&new[..], &authority].concat());
        let request = [
            "-subj",
            "/CN=localhost",
            "-keyout",
            "server.key",
            "-out",
            "server.csr",
        ];
        openssl(&[&new[..], &request].concat());
        fs::write(at("names"), "subjectAltName=DNS:localhost\n").expect("a file");
        openssl(&[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            "server.csr",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "names",
            "-out",
            "server.pem",
        ]);
        let mut process = Command::new("python3")
            .args(["-c", HTTPS])
            .arg(repositories)
            .arg(at("server.pem"))
            .arg(at("server.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("its port");
        Self {
            port: line.trim().parse().expect("a port"),
            process,
            place,
        }
    }

    /// `https://LOGINlocalhost:PORT/PATH`
    pub fn url(&self, login: &str, path: &str) -> String {
        format!("https://{login}localhost:{}/{path}", self.port)
    }

    /// An address that its certificate does not name.
    pub fn other_name(&self, path: &str) -> String {
        format!("https://user:s3cretpw@127.0.0.1:{}/{path}", self.port)
    }

    /// The certificate of its authority.
    pub fn authority(&self) -> PathBuf {
        self.place.path().join("ca.pem")
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A real `sshd` of the test's own, whose only key is in an agent of the test's own.
pub struct SshServer {
    sshd: Child,
    agent: Child,
    port: u16,
    place: tempfile::TempDir,
}

impl SshServer {
    #[track_caller]
    pub fn start() -> Self {
        let place = tempfile::Builder::new()
            .prefix("wd-ssh-")
            .tempdir_in("/tmp")
            .expect("a directory");
        let at = |name: &str| place.path().join(name);
        for name in ["host", "user"] {
            process::run(
                Command::new(process::tool("ssh-keygen"))
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(at(name)),
            );
        }
        let socket = at("agent");
        let agent = Command::new(process::tool("ssh-agent"))
            .args(["-D", "-a"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ssh-agent");
        let there = process::poll(Duration::from_mins(1), || socket.exists().then_some(()));
        assert!(there.is_some(), "no agent");
        process::run(
            Command::new(process::tool("ssh-add"))
                .arg("-q")
                .arg(at("user"))
                .env("SSH_AUTH_SOCK", &socket),
        );
        fs::copy(at("user.pub"), at("authorized")).expect("a file");
        // The agent alone has the key.
        fs::remove_file(at("user")).expect("a file");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             StrictModes no\nPermitRootLogin yes\n",
            at("host").display(),
            at("authorized").display()
        );
        fs::write(at("config"), configuration).expect("a file");
        // Where it separates privileges; systemd would make it.
        if process::is_root() {
            fs::create_dir_all("/run/sshd").expect("a directory");
        }
        let log = fs::File::create(at("log")).expect("a file");
        let sshd = Command::new(process::tool("sshd"))
            .args(["-D", "-e", "-f"])
            .arg(at("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd");
        let up = process::poll(Duration::from_mins(1), || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        let said = || fs::read_to_string(at("log")).unwrap_or_default();
        assert!(up.is_some(), "{}", said());
        Self {
            sshd,
            agent,
            port,
            place,
        }
    }

    /// `ssh://USER@127.0.0.1:PORT/PATH`
    pub fn url(&self, path: &Path) -> String {
        let user = process::run(Command::new("id").arg("-un"));
        format!(
            "ssh://{}@127.0.0.1:{}{}",
            user.trim(),
            self.port,
            path.display()
        )
    }

    /// `SSH_AUTH_SOCK`
    pub fn agent(&self) -> PathBuf {
        self.place.path().join("agent")
    }

    /// A home directory whose `known_hosts` has this server's key, or another's.
    pub fn home(&self, knows: bool) -> PathBuf {
        let home = self
            .place
            .path()
            .join(if knows { "known" } else { "unknown" });
        fs::create_dir_all(home.join(".ssh")).expect("a directory");
        fs::set_permissions(home.join(".ssh"), fs::Permissions::from_mode(0o700)).expect("a mode");
        let file = if knows { "host.pub" } else { "user.pub" };
        let key = fs::read_to_string(self.place.path().join(file)).expect("a key");
        let line = format!("[127.0.0.1]:{} {key}", self.port);
        fs::write(home.join(".ssh/known_hosts"), line).expect("a file");
        home
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        for process in [&mut self.sshd, &mut self.agent] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
