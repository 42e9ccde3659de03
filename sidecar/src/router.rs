//! Every route of the app's port on one page.

use axum::Router;

use crate::app::App;
use crate::session;

pub fn router(app: App) -> Router {
    Router::new().merge(session::api::router()).merge(session::v1::router()).with_state(app)
}
