//! TLS: who is spoken to, how long a handshake may take, and files that change.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gateway_net::{Arrival, ClientTls, ServerTls, StreamListener, TlsError, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const NODE: &str = "node.mychat.test";
const PROTOCOLS: &[&str] = &["h2"];

struct Ground {
    folder: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Ground {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ground = Self {
            folder: tempfile::tempdir().unwrap(),
            authority: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        };
        std::fs::write(ground.path("ca.pem"), ground.authority.pem()).unwrap();
        ground
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate with this DNS name.
    fn certify(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn files(&self, file: &str) -> TlsFiles {
        TlsFiles {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            authorities: Some(self.path("ca.pem")),
            demanded: true,
        }
    }

    fn server(&self, file: &str, name: &str) -> Arc<ServerTls> {
        self.certify(file, name);
        Arc::new(ServerTls::load(self.files(file), PROTOCOLS).unwrap())
    }
}

/// A listener that runs; dropped, it ends.
struct Running {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    _tasks: JoinSet<std::io::Result<()>>,
}

fn listen(tls: Arc<ServerTls>, deadline: Duration) -> Running {
    let listener = StreamListener::bind("127.0.0.1:0".parse().unwrap(), 64).unwrap();
    let address = listener.local_addr();
    let (sender, arrivals) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(listener.run(Some(tls), deadline, sender, CancellationToken::new()));
    Running {
        address,
        arrivals,
        _tasks: tasks,
    }
}

fn dial(ground: &Ground, file: &str) -> ClientTls {
    ClientTls::load(ground.files(file), NODE, PROTOCOLS).unwrap()
}

#[tokio::test]
async fn a_server_is_spoken_to_only_under_the_very_name() {
    let ground = Ground::new();
    ground.certify("own", "Client.mychat.test");
    for (name, good) in [
        (NODE, true),
        ("NODE.mychat.test", true),
        ("push.mychat.test", false),
        ("*.mychat.test", false),
    ] {
        let mut running = listen(ground.server("server", name), Duration::from_secs(10));
        let stream = TcpStream::connect(running.address).await.unwrap();
        let connected = dial(&ground, "own").connect(stream).await;
        assert_eq!(connected.is_ok(), good, "{name}");
        if good {
            let arrival = running.arrivals.recv().await.unwrap();
            let names = arrival.stream.client_names().unwrap();
            assert_eq!(*names, ["client.mychat.test".to_owned()]);
        }
    }
}

#[tokio::test]
async fn a_handshake_has_a_deadline_and_holds_up_nobody() {
    let ground = Ground::new();
    ground.certify("own", "client.mychat.test");
    let mut running = listen(ground.server("server", NODE), Duration::from_millis(500));
    // Says nothing, and is hung up on.
    let mut silent = TcpStream::connect(running.address).await.unwrap();
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut stream = dial(&ground, "own").connect(stream).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut arrival = running.arrivals.recv().await.unwrap();
    let mut heard = [0; 5];
    arrival.stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    assert_eq!(silent.read(&mut heard).await.unwrap_or(0), 0);
    // Speaks no TLS, and is hung up on.
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = plain.read_to_end(&mut rest).await;
    assert!(rest.len() < 16, "an alert at most: {rest:?}");
}

#[tokio::test]
async fn files_are_taken_anew_whole_or_not_at_all() {
    let ground = Ground::new();
    ground.certify("own", "client.mychat.test");
    let tls = ground.server("server", NODE);
    let running = listen(Arc::clone(&tls), Duration::from_secs(10));
    let client = dial(&ground, "own");
    let try_it = async || {
        let stream = TcpStream::connect(running.address).await.unwrap();
        client.connect(stream).await.is_ok()
    };
    assert!(!tls.reload().unwrap(), "nothing is new");
    assert!(try_it().await);

    // A certificate without its key is half a change.
    let old_key = std::fs::read(ground.path("server.key")).unwrap();
    ground.certify("server", "other.mychat.test");
    let new_key = std::fs::read(ground.path("server.key")).unwrap();
    std::fs::write(ground.path("server.key"), old_key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unusable { .. })));
    assert!(try_it().await, "the former ones stay");
    std::fs::write(ground.path("server.key"), new_key).unwrap();
    assert!(tls.reload().unwrap());
    assert!(!try_it().await, "it shows the other name");
}

#[test]
fn a_file_that_cannot_be_used_is_named_and_not_quoted() {
    let ground = Ground::new();
    ground.certify("server", NODE);
    let fails = |files: TlsFiles| match ServerTls::load(files, PROTOCOLS) {
        Ok(_) => panic!("a bad file was taken"),
        Err(error) => error.to_string(),
    };
    let mut gone = ground.files("server");
    gone.key = ground.path("gone.key");
    assert!(fails(gone).contains("gone.key"));
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    std::fs::write(ground.path("bad.key"), secret).unwrap();
    let mut bad = ground.files("server");
    bad.key = ground.path("bad.key");
    let told = fails(bad);
    assert!(!told.contains("c2VjcmV0") && !told.contains("secret"), "{told}");
    std::fs::write(ground.path("empty.pem"), "").unwrap();
    for set in [
        |files: &mut TlsFiles, path: &Path| files.certificate = path.to_owned(),
        |files: &mut TlsFiles, path: &Path| files.authorities = Some(path.to_owned()),
        |files: &mut TlsFiles, path: &Path| files.key = path.to_owned(),
    ] {
        let mut files = ground.files("server");
        set(&mut files, &ground.path("empty.pem"));
        assert!(fails(files).contains("empty.pem"));
    }
}
