//! A link with latency: every piece of a client's waits a while before it goes on.
//!
//! A client that speaks HTTP/1.1 sends a request in one piece and waits for its answer, so each answer comes that much later.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};

/// Starts a link to `target` on a thread of its own, and answers where it begins. It lives as long as the process.
pub(crate) fn link(target: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target, delay));
            }
        });
    });
    address
}

async fn pass(client: TcpStream, target: SocketAddr, delay: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = from_client.read(&mut piece).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            tokio::time::sleep(delay).await;
            to_server.write_all(&piece[..read]).await?;
        }
    };
    let down = async {
        copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    tokio::try_join!(up, down).map(drop)
}
