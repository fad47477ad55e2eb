//! Published ports.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use crate::run::SOON;
use crate::run::busybox::PAGE;
use crate::run::host::{Host, text};
use crate::support::http;

fn ports(host: &Host) {
    let serve = ["--", "httpd", "-f", "-p", "8080", "-h", "/www"];
    let port = http::free_port();
    let mapping = format!("{port}:8080");
    let run = |mapping: &str, name: &str| {
        let words = [
            &["run", "busy", "-d", "--name", name, "-p", mapping][..],
            &serve,
        ]
        .concat();
        host.warpdrive(&words)
    };
    assert!(run(&mapping, "web").status.success());
    let page = http::wait_until_serving(port, SOON);
    assert_eq!((page.status, page.text().as_str()), (200, PAGE));
    // Many at once.
    let clients: Vec<_> = (0..100)
        .map(|_| std::thread::spawn(move || http::get(port, "/").map(|page| page.text())))
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap().unwrap(), PAGE);
    }
    // A half-closed connection is answered.
    let mut half = TcpStream::connect(("127.0.0.1", port)).unwrap();
    half.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(PAGE), "{answer}");
    // Only on the loopback address.
    let listed = host.listed("web").unwrap();
    assert_eq!(listed["ports"][0]["address"], "127.0.0.1");

    let other = run(&mapping, "other");
    assert_eq!(other.status.code(), Some(125));
    assert!(
        text(&other).contains(&format!("127.0.0.1:{port}")),
        "{}",
        text(&other)
    );
    assert!(host.listed("other").is_none());

    let free = run("0:8080", "free");
    assert!(free.status.success());
    let chosen = host.listed("free").unwrap()["ports"][0]["host"]
        .as_u64()
        .unwrap();
    let chosen = u16::try_from(chosen).unwrap();
    assert!(
        text(&free).contains(&format!("127.0.0.1:{chosen}")),
        "{}",
        text(&free)
    );
    assert_eq!(http::wait_until_serving(chosen, SOON).text(), PAGE);

    host.ok(&["container", "stop", "-t", "0", "web", "free"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    // The host's ports are free again.
    drop(TcpListener::bind(("127.0.0.1", port)).unwrap());
    host.ok(&["container", "rm", "web", "free"]);
    let refused = host.fails(125, &["run", "busy", "--network", "host", "-p", "1234:80"]);
    assert!(refused.contains("--network"), "{refused}");
    host.is_clean();
}

as_each! { ports }
