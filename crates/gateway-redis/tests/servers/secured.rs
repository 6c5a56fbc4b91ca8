//! Passwords, users of an ACL, and TLS.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use gateway_config::Secret;
use gateway_redis::testing::free_port;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_without_showing_it() {
    let server = RedisServer::start_with(free_port(), &["--requirepass", "right"]);
    let mut settings = settings(server.port());
    for wrong in [None, Some("wrong-secret")] {
        settings.password = wrong.map(|wrong| Secret::new(wrong.to_owned()));
        let redis = Redis::new(&settings, Handle::current()).unwrap();
        sleep(Duration::from_millis(300)).await;
        let error = redis.ping().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.contains("wrong user or password") || text.contains("NOAUTH"),
            "{text}"
        );
        assert!(!text.contains("wrong-secret"));
        redis.close().await;
    }
    settings.password = Some(Secret::new("right".to_owned()));
    settings.db = 5;
    let redis = connected(&settings).await;
    speaks(&redis, || ()).await;
    hears(&redis, &mut news(&redis)).await;
    redis.close().await;
}

/// A certificate authority, and a server's certificate for 127.0.0.1 that it signed.
fn certificates(folder: &Path) {
    let openssl = |line: &str| {
        let status = Process::new("openssl")
            .args(line.split(' '))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "openssl {line}");
    };
    std::fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=ca"
    ));
    openssl(&format!(
        "req {key} -keyout server.key -out server.csr -subj /CN=server"
    ));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile server.ext",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_over_tls_and_an_unknown_authority_is_not_trusted() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let port_text = port.to_string();
    let (cert, key, ca) = (file("server.pem"), file("server.key"), file("ca.pem"));
    let tls = [
        "--port",
        "0",
        "--tls-port",
        &port_text,
        "--tls-auth-clients",
        "no",
    ];
    let files = [
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
    ];
    let nobody = ["--user", "default", "off"];
    let user = "--user gateway on >open-sesame ~mychat:* &mychat:* +@all -@admin -role";
    let words = [&tls[..], &files, &nobody, &user.split(' ').collect::<Vec<_>>()].concat();
    let server = RedisServer::start_with(port, &words);
    let mut settings = gateway_config::Redis {
        tls: true,
        tls_ca_file: Some(file("ca.pem").into()),
        username: Some("gateway".to_owned()),
        password: Some(Secret::new("open-sesame".to_owned())),
        ..settings(port)
    };
    let redis = connected(&settings).await;
    speaks(&redis, || ()).await;
    hears(&redis, &mut news(&redis)).await;
    let refused = redis.run(Command::new("GET").arg("elsewhere")).await;
    assert!(matches!(refused, Err(RedisError::Refused(why)) if why.starts_with("NOPERM")));
    redis.close().await;

    settings.tls_ca_file = None;
    let redis = Redis::new(&settings, Handle::current()).unwrap();
    sleep(Duration::from_millis(500)).await;
    let error = redis.ping().await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    redis.close().await;
    drop(server);
}
