//! nginx in front of a node: file bytes straight from its store, everything else from the node. So neither contender waits for
//! the other's server.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::node::port;
use super::process::Background;

/// The running server.
#[derive(Debug)]
pub(crate) struct Nginx {
    /// The base URL of the node behind it.
    pub(crate) url: String,
    /// The originals as plain files with an HTML index.
    pub(crate) plain: String,
    process: Background,
}

impl Nginx {
    pub(crate) fn process(&self) -> &Child {
        &self.process.0
    }
}

impl Drop for Nginx {
    /// Killed, it would leave its workers behind.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process.0), Signal::TERM);
        let _ = self.process.0.wait();
    }
}

/// Starts nginx in front of the node at `url` whose files lie in `media`.
pub(crate) fn start(dir: &Path, url: &str, media: &Path) -> Nginx {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    std::fs::create_dir_all(dir).unwrap();
    let media = media.display();
    let text = format!(
        "daemon off; user root; worker_processes 2; pid nginx.pid; error_log stderr crit;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
           access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;\n\
           client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;\n\
           upstream node {{ server 127.0.0.1:{}; keepalive 32; }}\n\
           server {{\n\
             listen 127.0.0.1:{free} backlog=4096;\n\
             location / {{ proxy_pass http://node; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}\n\
             location ~ ^/assets/mediadb/services/module/asset/downloads/originals/(.*)/[^/]+$ {{ alias {media}/originals/$1; }}\n\
             location ~ ^/assets/mediadb/services/module/asset/downloads/generatedpreview/(.*)/[^/]+$ {{ alias {media}/generated/$1; }}\n\
             location /plain/ {{ alias {media}/originals/; autoindex on; }}\n\
           }}\n\
         }}\n",
        port(url)
    );
    let conf = dir.join("nginx.conf");
    std::fs::write(&conf, text).unwrap();
    let process = Command::new("nginx")
        .arg("-p")
        .arg(dir)
        .arg("-c")
        .arg(&conf)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let process = Background(process);
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", free)).is_err() {
        assert!(Instant::now() < deadline, "nginx does not answer");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    Nginx {
        url: format!("http://127.0.0.1:{free}/assets"),
        plain: format!("http://127.0.0.1:{free}/plain/"),
        process,
    }
}
