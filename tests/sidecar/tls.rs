//! Redis behind TLS: trusted by its certificate, or not at all.

use tests::eventually::{check, eventually};
use tests::redis::{RedisServer, free_port};
use tests::scratch::Scratch;
use tests::sidecar::{Settings, Sidecar};
use tests::tls::Authority;

use crate::common::{PROMPT, RECOVERY, new_session};

/// A Redis with a certificate for `address`, and where it listens with TLS.
async fn behind_tls(authority: &Authority, address: &str) -> (RedisServer, String) {
    let port = free_port();
    let options = authority.redis_options(port, address);
    let options: Vec<_> = ["--save", ""].into_iter().chain(options.iter().map(String::as_str)).collect();
    (RedisServer::with(&options).await, format!("rediss://127.0.0.1:{port}"))
}

/// It runs, and its log says that it will not have the certificate.
async fn refuses(settings: &Settings) -> Sidecar {
    let sidecar = Sidecar::spawn(settings).await;
    eventually("the certificate is refused", RECOVERY, async || {
        check(sidecar.logs().contains("invalid peer certificate"), sidecar.logs())
    })
    .await;
    let answer = sidecar.app.get("/v1/sessions/no-such-session").await.expect(503);
    assert!(answer.elapsed < PROMPT, "{answer:?}");
    sidecar
}

#[tokio::test]
async fn redis_is_trusted_by_the_given_authority_and_by_no_other() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (redis, url) = behind_tls(&authority, "127.0.0.1").await;
    // The machine's own authorities did not sign it.
    refuses(&Settings::redis(&url)).await.stop().await;

    let dir = Scratch::new("ca");
    let url_file = dir.write("url", &format!("{url}\n"));
    let ca_file = dir.write("ca.crt", &other.certificate());
    let settings = Settings::bare()
        .env("HYPERPAGE_REDIS_URL_FILE", url_file.to_str().unwrap())
        .env("HYPERPAGE_REDIS_CA_FILE", ca_file.to_str().unwrap());
    let sidecar = refuses(&settings).await;
    // The file is read again, and several certificates in it are all trusted.
    dir.write("ca.crt", &format!("{}{}", other.certificate(), authority.certificate()));
    sidecar.serving(RECOVERY).await;
    let id = new_session(&sidecar).await;
    assert!(redis.session(&id).await.is_some());
    sidecar.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let authority = Authority::new();
    let (_redis, url) = behind_tls(&authority, "127.0.0.2").await;
    let dir = Scratch::new("ca");
    let ca_file = dir.write("ca.crt", &authority.certificate());
    let settings = Settings::redis(&url).env("HYPERPAGE_REDIS_CA_FILE", ca_file.to_str().unwrap());
    refuses(&settings).await.stop().await;
}

#[tokio::test]
async fn a_file_without_a_certificate_and_a_plain_url_are_named() {
    let dir = Scratch::new("ca");
    let ca_file = dir.write("ca.crt", "nothing of the kind\n");
    let with = |url: &str| Settings::redis(url).env("HYPERPAGE_REDIS_CA_FILE", ca_file.to_str().unwrap());
    let sidecar = Sidecar::spawn(&with("rediss://127.0.0.1:1")).await;
    eventually("the file is named", RECOVERY, async || {
        check(sidecar.logs().contains("ca.crt: it holds no certificate"), sidecar.logs())
    })
    .await;
    sidecar.stop().await;
    let (code, output) = with("redis://127.0.0.1:1").run().await;
    assert!(code == 64 && output.contains("rediss://"), "{code} {output}");
}
