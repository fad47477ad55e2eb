//! Git servers: HTTP, HTTPS and SSH, with logins, and those that never answer.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::support::repository::{Place, Repository, preview};
use crate::support::secure_git::{HttpsServer, SshServer};
use crate::support::warpdrive::Warpdrive;
use crate::support::{fake_registry, interrupted, plain_server, process};

/// A `git` server over plain HTTP that asks for a login and has files only: shallow fetches are not
/// possible there, and the client has to fetch everything.
#[test]
fn http_with_a_login_that_shows_nowhere() {
    let place = Place::new();
    let repository = Repository::new();
    let published = tempfile::tempdir().unwrap();
    let bare = published.path().join("app.git");
    plain_server::publish(&repository.root(), &bare);
    let files = published.path().to_owned();
    let server = fake_registry::FakeRegistry::start(move |asked| {
        // user:s3cretpw
        if asked.header("authorization") != Some("Basic dXNlcjpzM2NyZXRwdw==") {
            return fake_registry::Reply::new(401).header("www-authenticate", "Basic realm=\"x\"");
        }
        plain_server::file(asked, &files)
    });
    let host = server.address().to_owned();
    let with_login = format!("http://user:s3cretpw@{host}/app.git");
    let id = repository
        .git(&["rev-parse", "v1^{commit}"])
        .trim()
        .to_owned();
    for reference in ["v1", &id] {
        let (files, words) = place.files(&["--git", &with_login, "--ref", reference]);
        assert_eq!(files, 4, "{words}");
        assert!(!words.contains("s3cretpw"), "{words}");
        assert!(
            words.contains(&format!("---> Fetching http://{host}/app.git#{reference}")),
            "{words}"
        );
    }
    // A credential helper of the user's is asked, and an address of the user's own making is known.
    let home = place.directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(
        home.join(".gitconfig"),
        format!(
            "[credential]\n\thelper = \"!f() {{ echo username=user; echo password=s3cretpw; }}; f\"\n[url \"http://{host}/\"]\n\tinsteadOf = https://forge.example/\n"
        ),
    )
    .unwrap();
    for url in [
        &format!("http://{host}/app.git"),
        "https://forge.example/app.git",
    ] {
        let output = preview(
            &place.store(),
            &[("HOME", home.to_str().unwrap())],
            None,
            &["--git", url, "--ref", "v1"],
        );
        assert!(output.status.success(), "{}", process::words(&output));
    }
    let (code, words) = place.refuses(&["--git", &format!("http://user:wr0ng@{host}/app.git")]);
    assert_eq!(code, 5, "{words}");
    assert!(!words.contains("wr0ng"), "{words}");
    let (code, words) = place.refuses(&["--git", &format!("http://{host}/app.git")]);
    assert_eq!(code, 5, "{words}");
    assert!(
        words.contains("nothing asks for a password here"),
        "{words}"
    );
}

/// An `ssh` of the test's own in front of the real one: what it is given, and the repository by it.
#[test]
fn ssh_is_asked_in_batch_mode_with_the_agent() {
    let place = Place::new();
    let repository = Repository::new();
    let bin = place.directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let log = place.directory.path().join("log");
    fs::write(
        bin.join("ssh"),
        format!(
            "#!/bin/sh\nfor word; do last=$word; done\necho \"agent=$SSH_AUTH_SOCK $*\" >> {}\nexec sh -c \"$last\"\n",
            log.display()
        ),
    )
    .unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let env = [
        ("PATH", path.as_str()),
        ("SSH_AUTH_SOCK", "/run/agent.sock"),
    ];
    let root = repository.root();
    for url in [
        format!("git@example.com:{}", root.display()),
        format!("ssh://git@example.com:2222{}", root.display()),
    ] {
        // The submodule is a file of this machine, which a repository from elsewhere has no business with.
        let output = preview(&place.store(), &env, None, &["--git", &url, "--ref", "v1"]);
        assert!(output.status.success(), "{}", process::words(&output));
        let output = preview(&place.store(), &env, None, &["--git", &url]);
        assert_eq!(output.status.code(), Some(5));
        process::says(&output, "transport 'file' not allowed");
    }
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("agent=/run/agent.sock -oBatchMode=yes"),
        "{log}"
    );
    assert!(
        log.contains("-p 2222 git@example.com git-upload-pack"),
        "{log}"
    );
}

/// A server that takes connections and never answers.
fn silent_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    format!("http://{address}/app.git")
}

#[test]
fn a_server_that_never_answers_is_waited_for_no_longer_than_told() {
    let place = Place::new();
    let (code, words) = place.refuses(&["--git", &silent_server(), "--timeout", "1s"]);
    assert_eq!(code, 5, "{words}");
    assert!(words.contains("took longer than 1 s"), "{words}");
}

#[test]
fn an_interrupted_fetch_leaves_nothing() {
    let warpdrive = Warpdrive::new();
    let url = silent_server();
    let child = warpdrive
        .command(&["s2i", "build", &url, "builder", "app"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its git has begun.
    interrupted::wait_for_source(&warpdrive);
    interrupted::interrupt(&warpdrive, child, "-TERM");
}

/// Over TLS, by a server that speaks all of git's protocol.
#[test]
fn https_with_an_authority_that_is_named_and_without() {
    let place = Place::new();
    let repository = Repository::new();
    let repositories = repository.place.path();
    let server = HttpsServer::start(repositories);
    let authority = server.authority();
    let authority = authority.to_str().unwrap();
    let id = repository
        .git(&["rev-parse", "v1^{commit}"])
        .trim()
        .to_owned();
    let fetch = |env: &[(&str, &str)], url: &str, reference: &str| {
        let arguments = ["--git", url, "--ref", reference];
        // Whatever the machine's own variable is.
        let env = [&[("GIT_SSL_CAINFO", ""), ("SSL_CERT_FILE", "")], env].concat();
        let output = preview(&place.store(), &env, None, &arguments);
        let said = process::words(&output);
        assert!(!said.contains("s3cretpw"), "{said}");
        (output.status.code(), said)
    };
    let url = server.url("user:s3cretpw@", "app/.git");
    for variable in ["GIT_SSL_CAINFO", "SSL_CERT_FILE"] {
        for reference in ["v1", "feature/x", &id, &id[..10]] {
            let (code, said) = fetch(&[(variable, authority)], &url, reference);
            assert_eq!(code, Some(0), "{said}");
            // One commit alone, but for the beginning of an id.
            assert_eq!(
                said.contains("all of the history"),
                reference.len() == 10,
                "{said}"
            );
        }
    }
    // By git's own settings of the user.
    let home = place.directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(
        home.join(".gitconfig"),
        format!("[http]\n\tsslCAInfo = {authority}\n"),
    )
    .unwrap();
    let (code, said) = fetch(&[("HOME", home.to_str().unwrap())], &url, "v1");
    assert_eq!(code, Some(0), "{said}");

    // An unknown CA; another host name; a wrong login, no login; a repository that is not there.
    let known = [("GIT_SSL_CAINFO", authority)];
    for (env, url, parts) in [
        (
            &[][..],
            url.clone(),
            ["the server's certificate is not trusted", "GIT_SSL_CAINFO"],
        ),
        (
            &known,
            server.other_name("app/.git"),
            ["the server's certificate is for another name", "127.0.0.1"],
        ),
        (
            &known,
            server.url("user:wr0ng@", "app/.git"),
            ["Authentication failed", "login"],
        ),
        (
            &known,
            server.url("", "app/.git"),
            ["nothing asks for a password here", "login"],
        ),
        (
            &known,
            server.url("user:s3cretpw@", "nothing.git"),
            ["not found", "/nothing.git"],
        ),
    ] {
        let (code, said) = fetch(env, &url, "v1");
        assert_eq!(code, Some(5), "{said}");
        assert!(!said.contains("wr0ng"), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}

/// By a real `sshd`; the key is in an agent only.
#[test]
fn ssh_with_an_agent_and_a_known_host() {
    let place = Place::new();
    let repository = Repository::new();
    let server = SshServer::start();
    let url = server.url(&repository.root());
    let fetch = |agent: bool, knows: bool| {
        // ssh reads its files in the home of the password file, whatever HOME says.
        let command = format!(
            "ssh -oBatchMode=yes -oUserKnownHostsFile={}/.ssh/known_hosts -oGlobalKnownHostsFile=none -oIdentityFile=none",
            server.home(knows).display()
        );
        let socket = server.agent();
        let socket = if agent { socket.to_str().unwrap() } else { "" };
        let env = [
            ("GIT_SSH_COMMAND", command.as_str()),
            ("SSH_AUTH_SOCK", socket),
        ];
        let output = preview(&place.store(), &env, None, &["--git", &url, "--ref", "v1"]);
        (output.status.code(), process::words(&output))
    };
    let (code, said) = fetch(true, true);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = fetch(false, true);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("Permission denied (publickey)") && said.contains("ssh-add"),
        "{said}"
    );
    let (code, said) = fetch(true, false);
    assert_eq!(code, Some(5), "{said}");
    assert!(
        said.contains("Host key verification failed") && said.contains("known_hosts"),
        "{said}"
    );
}
