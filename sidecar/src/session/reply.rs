//! What `/v1` answers with: headers that say what is known of a session and of a write.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, IntoResponseParts, Response};

use super::Session;
use super::basis::Basis;
use super::durability::Durability;
use super::store::{Earlier, Receipt};
use super::write::Written;

pub(super) fn read(session: &Session) -> Response {
    let headers = (validators(session), session.bound(), [(header::CONTENT_TYPE, "application/json")]);
    session.basis.mark((headers, session.body()).into_response())
}

pub(super) fn not_modified(session: &Session) -> Response {
    session.basis.mark((StatusCode::NOT_MODIFIED, validators(session), session.bound(), ()).into_response())
}

pub(super) fn written(status: StatusCode, written: Written) -> Response {
    let Written { session, base, receipt } = written;
    let base = base.map(|digest| [("x-base-etag", quoted(&digest))]);
    let basis = session.basis;
    let document = match &receipt.earlier {
        // What was written is not there any more, and no other document goes with its ETag.
        Some(Earlier { digest }) if session.text.is_empty() => {
            let etag = digest.as_ref().map(|digest| [(header::ETAG, quoted(digest))]);
            (etag, NO_STORE, ()).into_response()
        }
        Some(_) | None => (base, read(&session)).into_response(),
    };
    basis.mark(done(status, &receipt, document))
}

/// What a journaled change becomes is Redis' to say.
pub(super) fn changed(written: Written) -> Response {
    match written.session.basis {
        basis @ Basis::Journaled => deleted(&written.receipt, basis),
        Basis::Redis | Basis::Stale { .. } => self::written(StatusCode::OK, written),
    }
}

pub(super) fn touched(written: &Written) -> Response {
    let Written { session, base: _, receipt } = written;
    let response = done(StatusCode::NO_CONTENT, receipt, (validators(session), ()).into_response());
    session.basis.mark(response)
}

/// Without a body: what was done, or waits to be.
pub(super) fn deleted(receipt: &Receipt, basis: Basis) -> Response {
    basis.mark(done(StatusCode::NO_CONTENT, receipt, NO_STORE.into_response()))
}

const NO_STORE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

fn quoted(digest: &str) -> String {
    format!("\"{digest}\"")
}

fn validators(session: &Session) -> impl IntoResponseParts + use<> {
    let version = session.text.version().map(|version| [("x-hyperpage-version", version.to_string())]);
    ([(header::ETAG, session.text.etag()), (header::CACHE_CONTROL, "no-store".to_owned())], version)
}

fn done(status: StatusCode, receipt: &Receipt, response: Response) -> Response {
    let Receipt { durability, earlier } = receipt;
    let status = match durability {
        Durability::Redis | Durability::Replicated => status,
        Durability::Unconfirmed { .. } => StatusCode::ACCEPTED,
    };
    let replayed = earlier.as_ref().map(|_| [("idempotency-replayed", "true")]);
    let warning = durability.warning().map(|warning| [(header::WARNING, warning)]);
    (status, [("x-hyperpage-durability", durability.word())], replayed, warning, response).into_response()
}
