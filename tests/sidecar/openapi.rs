//! `openapi.json` describes every answer: each test of the app's port holds what it gets to it.

use tests::described::described;
use tests::http::{Answer, Request};

use crate::common::{new_session, pair};

#[tokio::test]
async fn an_answer_that_openapi_json_does_not_describe_is_noticed() {
    let (_redis, sidecar) = pair().await;
    let id = new_session(&sidecar).await;
    let known = format!("/v1/sessions/{id}");
    let (absent, there) = (sidecar.app.get("/v1/sessions/x").await, sidecar.app.get(&known).await);
    let check = |method: &str, answer: &Answer, expect: &str| {
        let answer = described(method, "/v1/sessions/x?a=/b", answer);
        match answer {
            Ok(()) => assert!(expect.is_empty(), "{expect}"),
            Err(error) => {
                assert!(!expect.is_empty() && error.contains(&format!(" this {expect} of ")), "{error}")
            }
        }
    };
    check("GET", &absent, "");
    check("HEAD", &absent, "");
    check("GET", &there, "");
    check("POST", &absent, "method");
    check("GET", &Answer { status: 201, ..there.clone() }, "status");
    check("GET", &Answer { headers: absent.headers.clone(), ..there.clone() }, "content type");
    check("GET", &Answer { body: absent.body.replace("SESSION_NOT_FOUND", "GONE"), ..absent }, "code");
    // The admin port serves the document to whoever asks, and it is the one that the tests hold answers to.
    let served = sidecar.admin.send(Request::new("GET", "/openapi.json")).await.expect(200);
    assert_eq!(served.body, include_str!("../../sidecar/openapi.json"));
    sidecar.stop().await;
}
