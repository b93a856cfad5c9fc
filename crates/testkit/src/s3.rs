//! A real S3 server, which runs in this process and keeps its objects in a folder.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::sync::oneshot;

/// Access key id and key that it takes.
pub const LOGIN: (&str, &str) = ("AKIDEXAMPLE", "wJalrXUtnFEMI");
/// The bucket that it has.
pub const BUCKET: &str = "mail";

/// A server on a thread of its own, with an empty bucket; it stops when dropped.
pub struct S3Server {
    address: SocketAddr,
    root: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl S3Server {
    /// Starts it; it listens when this returns.
    pub fn start() -> S3Server {
        let root = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let objects = s3s_fs::FileSystem::new(root.path()).expect("a folder that is there");
        let mut service = S3ServiceBuilder::new(objects);
        service.set_auth(SimpleAuth::from_single(LOGIN.0, LOGIN.1));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        listener.set_nonblocking(true).expect("a socket of the runtime's");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                tokio::select! { () = serve(listener, service) => {}, _ = stopped => {} }
            });
        });
        S3Server { address, root, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it is asked.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder of buckets, with a file for each upload that has not ended.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Where objects beneath a prefix are.
    pub fn folder(&self, prefix: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(prefix)
    }
}

async fn serve(listener: TcpListener, service: S3Service) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
    loop {
        let (socket, _) = listener.accept().await.expect("a socket for each");
        let service = service.clone();
        tokio::spawn(async move {
            let server = Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(std::thread::JoinHandle::join);
    }
}
