//! The port proxy: listeners on the host whose connections are carried on by sockets that were
//! opened inside the container's network namespace.
//!
//! One thread with an event loop serves all ports of a container. Each connection is copied both
//! ways until both sides have ended (a half-closed connection continues in its other direction). The
//! number of connections is bounded; further clients wait in the listener's queue.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::ContainerError;
use super::ports::PortMapping;

/// Most connections at once, over all ports of a container, if the limit of open files allows them.
const MAX_CONNECTIONS: usize = 1024;

/// Bytes in flight per direction of a connection.
const BUFFER: usize = 32 * 1024;

/// How long to wait before another attempt to connect to a server.
const AGAIN: Duration = Duration::from_millis(8);

/// Opens connections to ports inside.
pub(super) trait Dial: Send + Sync + 'static {
    fn dial(&self, port: u16) -> io::Result<TcpStream>;
}

/// A listener and the mapping that it serves, the host's port filled in.
pub(super) type Bound = (PortMapping, TcpListener);

/// Takes the host's ports, all or none.
pub(super) fn bind(ports: &[PortMapping]) -> Result<Vec<Bound>, ContainerError> {
    ports
        .iter()
        .map(|mapping| {
            let failed = |source| ContainerError::Listen {
                address: mapping.listen(),
                port: mapping.port,
                source,
            };
            let listener = TcpListener::bind(mapping.listen()).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let host = listener.local_addr().map_err(failed)?.port();
            Ok((PortMapping { host, ..*mapping }, listener))
        })
        .collect()
}

/// A running proxy; dropping it closes all its connections and listeners.
pub(super) struct Proxy {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// `patience`: how long a client waits for a server that is not there (yet).
    pub(super) fn start(
        listeners: Vec<Bound>,
        dialer: impl Dial,
        patience: Duration,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(4)
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("port-proxy".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let dialer = Arc::new(dialer);
                    let permits = Arc::new(Semaphore::new(connection_limit()));
                    for (mapping, listener) in listeners {
                        match tokio::net::TcpListener::from_std(listener) {
                            Ok(listener) => {
                                let serve = serve(
                                    listener,
                                    mapping.port,
                                    Arc::clone(&dialer),
                                    Arc::clone(&permits),
                                    patience,
                                );
                                drop(tokio::spawn(serve));
                            }
                            Err(error) => tracing::warn!(%error, %mapping, "cannot serve the port"),
                        }
                    }
                    let _ = stopped.await;
                });
                // A hanging dial must not delay the container's end.
                runtime.shutdown_timeout(Duration::from_millis(200));
            })?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Raises this process's limit of open files as far as allowed, and returns how many connections fit.
fn connection_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    );
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    (files.saturating_sub(64) / 2).clamp(8, MAX_CONNECTIONS)
}

async fn serve(
    listener: tokio::net::TcpListener,
    port: u16,
    dialer: Arc<impl Dial>,
    permits: Arc<Semaphore>,
    patience: Duration,
) {
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let dialer = Arc::clone(&dialer);
                drop(tokio::spawn(async move {
                    if let Err(error) = carry(client, port, dialer, patience).await {
                        tracing::debug!(%error, port, "connection");
                    }
                    drop(permit);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, port, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn carry(
    mut client: tokio::net::TcpStream,
    port: u16,
    dialer: Arc<impl Dial>,
    patience: Duration,
) -> io::Result<()> {
    let begun = Instant::now();
    let dialled = loop {
        let dialer = Arc::clone(&dialer);
        let dialled = tokio::task::spawn_blocking(move || dialer.dial(port))
            .await
            .map_err(io::Error::other)
            .and_then(|dialled| dialled);
        match dialled {
            Err(error)
                if error.kind() == io::ErrorKind::ConnectionRefused
                    && begun.elapsed() < patience =>
            {
                tokio::time::sleep(AGAIN).await;
            }
            other => break other,
        }
    };
    let inside = match dialled {
        Ok(inside) => inside,
        Err(error) => {
            // Nothing listens inside: the client sees a reset, not an empty answer.
            let _ = rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO));
            return Err(error);
        }
    };
    inside.set_nonblocking(true)?;
    let _ = inside.set_nodelay(true);
    let _ = client.set_nodelay(true);
    let mut inside = tokio::net::TcpStream::from_std(inside)?;
    tokio::io::copy_bidirectional_with_sizes(&mut client, &mut inside, BUFFER, BUFFER).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr};

    /// Leads every port to one address.
    struct To(SocketAddr);

    impl Dial for To {
        fn dial(&self, _port: u16) -> io::Result<TcpStream> {
            TcpStream::connect(self.0)
        }
    }

    fn proxy_to(address: SocketAddr) -> (Proxy, SocketAddr) {
        let listeners = bind(&["0:80".parse().unwrap()]).unwrap();
        let at = listeners[0].0.listen();
        (
            Proxy::start(listeners, To(address), Duration::ZERO).unwrap(),
            at,
        )
    }

    /// Answers each connection with the received bytes, after its sender has ended.
    fn upper_case_after_the_end() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut text = Vec::new();
                    stream.read_to_end(&mut text).unwrap();
                    stream.write_all(&text.to_ascii_uppercase()).unwrap();
                });
            }
        });
        address
    }

    #[test]
    fn a_half_closed_connection_gets_its_answer() {
        let (_proxy, at) = proxy_to(upper_case_after_the_end());
        let mut client = TcpStream::connect(at).unwrap();
        let text = vec![b'a'; 3_000_000];
        client.write_all(&text).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, text.to_ascii_uppercase());
    }

    #[test]
    fn hundreds_of_connections_at_once() {
        let (_proxy, at) = proxy_to(upper_case_after_the_end());
        let mut clients: Vec<TcpStream> = (0..300)
            .map(|number| {
                let mut client = TcpStream::connect(at).unwrap();
                write!(client, "a{number}").unwrap();
                client
            })
            .collect();
        for (number, client) in clients.iter_mut().enumerate() {
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, format!("A{number}"));
        }
    }

    #[test]
    fn nobody_inside_is_a_reset_and_the_end_closes_all() {
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let (proxy, at) = proxy_to(nobody);
        let mut client = TcpStream::connect(at).unwrap();
        let error = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        drop(proxy);
        assert!(TcpStream::connect(at).is_err());
    }

    #[test]
    fn a_client_with_patience_waits_for_the_server_that_comes() {
        let place = TcpListener::bind("127.77.0.1:0").unwrap();
        let address = place.local_addr().unwrap();
        drop(place);
        let listeners = bind(&["0:80".parse().unwrap()]).unwrap();
        let at = listeners[0].0.listen();
        let _proxy = Proxy::start(listeners, To(address), Duration::from_mins(1)).unwrap();
        let mut client = TcpStream::connect(at).unwrap();
        client.write_all(b"x").unwrap();
        // It has been refused by now, or will find the server: both are fine.
        client
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let early = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::WouldBlock);
        client.set_read_timeout(None).unwrap();
        let server = TcpListener::bind(address).unwrap();
        let (mut inside, _) = server.accept().unwrap();
        inside.write_all(b"y").unwrap();
        let mut answer = [0; 1];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"y");
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(&[format!("{port}:80").parse().unwrap()]).unwrap_err();
        assert!(
            error.to_string().contains(&format!("127.0.0.1:{port}")),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("0:80"));
    }
}
