//! A door in front of a server: it may be shut, lead somewhere else tomorrow, or want TLS with a certificate of its own.
//!
//! What a client sees of it is what it sees of a name whose address changes (DNS flip), of a server that is not up yet
//! (connection refused), and of a certificate that runs out.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// The door, until it is dropped.
pub(crate) struct Front {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    behind: Arc<Behind>,
    shut: Mutex<Option<TcpSocket>>,
    accepting: Mutex<Option<AbortHandle>>,
}

struct Behind {
    target: Mutex<SocketAddr>,
    tls: Mutex<Option<TlsAcceptor>>,
    open: Mutex<JoinSet<()>>,
}

impl Front {
    /// A door that is shut: its port is taken, and connections to it are refused.
    pub(crate) fn shut(target: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            behind: Arc::new(Behind {
                target: Mutex::new(target),
                tls: Mutex::new(None),
                open: Mutex::default(),
            }),
            shut: Mutex::new(Some(socket)),
            accepting: Mutex::new(None),
        }
    }

    /// Begins to accept.
    pub(crate) fn open(&self) {
        let socket = self.shut.lock().unwrap().take().expect("it is shut");
        let accepting = tokio::spawn(accept(socket.listen(128).unwrap(), self.behind.clone()));
        *self.accepting.lock().unwrap() = Some(accepting.abort_handle());
    }

    /// From now on it leads to another server; who was connected is cut off.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.behind.target.lock().unwrap() = target;
        self.behind.open.lock().unwrap().abort_all();
    }

    /// From now on it wants TLS, as `acceptor` does it; who was connected is cut off.
    pub(crate) fn want_tls(&self, acceptor: TlsAcceptor) {
        *self.behind.tls.lock().unwrap() = Some(acceptor);
        self.behind.open.lock().unwrap().abort_all();
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(accepting) = &*self.accepting.lock().unwrap() {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, behind: Arc<Behind>) {
    while let Ok((client, _)) = listener.accept().await {
        let target = *behind.target.lock().unwrap();
        let tls = behind.tls.lock().unwrap().clone();
        let mut open = behind.open.lock().unwrap();
        open.spawn(async move {
            // A connection that breaks is what these tests are about.
            let _ = carry(client, target, tls).await;
        });
    }
}

async fn carry(
    mut client: TcpStream,
    target: SocketAddr,
    tls: Option<TlsAcceptor>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    match tls {
        None => copy_bidirectional(&mut client, &mut server).await?,
        Some(tls) => copy_bidirectional(&mut tls.accept(client).await?, &mut server).await?,
    };
    Ok(())
}
